"""What a table of `genpas reproduce` is made of: a YAML file with rows, settings, a grid and published figures.

model: SASRec
rows: [multi_target, '1,0,0']        # as `genpas compare --methods` writes them
epochs: 10                           # the budget: so many epochs, the same for all rows
pairs_per_epoch: null                # null: as many as multi_target has, of the whole store
targets: single                      # into every row's section, as trim is; left out: what the row says
metric: NDCG@10                      # chooses the epoch and the point of the grid, on validation
settings: {hidden_size: 64}          # RecBole's, for all cells
grid: [{dropout: 0.2}, …]            # settings to choose from on validation, row by row
along:                               # varies one thing: every row is trained, tuned and tested at every point
  name: share of the users           # what a plot writes on its axis
  points: [{genpas_train_users: 0.1}, …]    # RecBole settings, or flat keys of the rows' sections
datasets: [beauty]                   # which ones if nobody says; left out: those with published figures
published: {beauty: {multi_target: {NDCG@10: 0.0372}}}
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from genpas_plugins.experiments.grid_points import (
    ALONG,
    INSTEAD,
    Along,
    Point,
    as_mapping,
    check_rows,
    read_along,
    read_points,
)
from genpas_plugins.experiments.measured_settings import METRICS, check_metric, check_setting, figure_names, measures
from genpas_plugins.experiments.methods import Method, check_mixing, read_methods
from genpas_plugins.settings.genpas import PREFIX
from genpas_plugins.settings.yaml_text import check_yaml, read_scalar
from genpas_plugins.support.errors import InputError, nearest, whole_number


@dataclass(frozen=True)
class Table:
    """A checked table.

    file      : where it stands
    model     : RecBole's name of the model
    rows      : what is compared
    epochs    : the budget, the same for all rows
    pairs_per_epoch : of all rows, None for as many as multi_target has
    metric    : what chooses the epoch and the point of the grid on validation, as NDCG@10
    settings  : RecBole's, for all cells
    grid      : settings to choose from, row by row; at least one
    published : figures to print beside ours, by data set, label of the row and metric in lower case
    along     : what is varied, None for nothing
    datasets  : names of the data sets that the table is about
    """

    file: Path
    model: str
    rows: tuple[Method, ...]
    epochs: int
    grid: tuple[Point, ...]
    settings: Mapping[str, Any]
    published: Mapping[str, Mapping[str, Mapping[str, float]]]
    pairs_per_epoch: int | None = None
    metric: str = "NDCG@10"
    along: Along | None = None
    datasets: tuple[str, ...] = ()

    @property
    def points(self) -> tuple[Point, ...]:
        """The points of what is varied; one without settings where nothing is."""
        return ((),) if self.along is None else self.along.points

    @property
    def recbole_keys(self) -> list[str]:
        """Names of the RecBole settings that the table makes."""
        keys = [*self.settings, *(key for point in (*self.grid, *self.points) for key, _ in point)]
        return [key for key in dict.fromkeys(keys) if not key.startswith(PREFIX)]


_NEEDED = ("model", "rows", "epochs")
_OF_ROWS = ("targets", "trim")
_INSTEAD = {**INSTEAD, **{key: f"{key} at the top of the table" for key in _OF_ROWS}}
_KEYS = (*_NEEDED, "grid", "settings", "published", "pairs_per_epoch", "metric", "along", "datasets", *_OF_ROWS)


def read_table(file: Path) -> Table:
    """Read and check a table. Raises InputError naming the file, the key and what would be valid."""
    if not file.is_file():
        raise InputError(f"{file}: there is no such file; TABLE is a YAML file such as configs/reproduce/sasrec.yaml.")
    check_yaml(file)
    content = read_scalar(file.read_text(encoding="utf-8"))
    content = as_mapping(content, f"{file}: a table")
    for key in content:
        if key not in _KEYS:
            raise InputError(f"{file}: a table has no key {key!r}.{nearest(key, _KEYS)}")
    for key in _NEEDED:
        if key not in content:
            raise InputError(f"{file}: a table needs {key}, as in configs/reproduce/sasrec.yaml.")
    for key in ("model", "metric"):
        if not isinstance(content.get(key, ""), str):
            raise InputError(f"{file}: {key} must be a name, not {content[key]!r}.")
    of_rows = {key: content[key] for key in _OF_ROWS if key in content}
    try:
        rows = _rows(content["rows"], of_rows)
        epochs = whole_number("epochs", content["epochs"], 1)
        for row in rows:
            check_mixing(row, epochs)
        per_epoch = content.get("pairs_per_epoch")
        per_epoch = None if per_epoch is None else whole_number("pairs_per_epoch", per_epoch, 1)
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    settings = as_mapping(content.get("settings") or {}, f"{file}: settings")
    for key in settings:
        check_setting(key, f"{file}: settings: {key}", _INSTEAD, ALONG)
    metric = check_metric(content.get("metric", "NDCG@10"), f"{file}: metric")
    grid = _grid(content.get("grid"), settings, file)
    along = None
    if content.get("along") is not None:
        along = read_along(content["along"], file)
        elsewhere = {"settings": settings, "grid": dict(grid[0]), "the table": [PREFIX + key for key in of_rows]}
        _check_once(along.points[0], "along", elsewhere, file)
        check_rows(along, rows, file)
    figures = _figures(settings, metric, file)
    published = _published(content.get("published") or {}, [row.label for row in rows], figures, file)
    if along is not None and len(along.points) > 1 and any(published.values()):
        raise InputError(f"{file}: published figures are of one point, and along has several; remove one of the two.")
    datasets = _datasets(content.get("datasets"), published, file)
    return Table(
        file, content["model"], tuple(rows), epochs, grid, settings, published, per_epoch, metric, along, datasets
    )


def _rows(words: Any, of_rows: Mapping[str, Any]) -> list[Method]:
    """Return the methods, with these keys in their sections."""
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise InputError(
            f"rows must be a list of methods, such as [last_target, '1,0,0'], a point in quotes, not {words!r}."
        )
    return [replace(row, genpas=row.genpas.replaced(**of_rows)) for row in read_methods(words, "rows:")]


def _grid(given: Any, settings: Mapping[str, Any], file: Path) -> tuple[Point, ...]:
    points = ((),) if given is None else read_points(given, "grid", file)
    for key, _ in points[0]:
        check_setting(key, f"{file}: grid: {key}", _INSTEAD, ALONG)
    _check_once(points[0], "grid", {"settings": settings}, file)
    return points


def _check_once(point: Point, here: str, elsewhere: Mapping[str, Collection[str]], file: Path) -> None:
    for key, _ in point:
        for where, keys in elsewhere.items():
            if key in keys:
                raise InputError(f"{file}: {key} stands in {where} and in {here}; keep one of the two.")


def _datasets(given: Any, published: Mapping[str, Any], file: Path) -> tuple[str, ...]:
    if given is None:
        return tuple(published)
    if not isinstance(given, list) or not given or not all(isinstance(name, str) for name in given):
        raise InputError(f"{file}: datasets must be a list of names such as [beauty, toys], not {given!r}.")
    for name in published:
        near = difflib.get_close_matches(name, [other for other in given if other not in published], n=1, cutoff=0.8)
        if name not in given and near:
            raise InputError(f"{file}: published has {name!r}, datasets {near[0]!r}; write both in the same way.")
    return tuple(given)


def _figures(settings: Mapping[str, Any], metric: str, file: Path) -> list[str]:
    """Return the names of what is measured. Raises InputError for what is no figure of a list of items."""
    measured = measures([settings], metric)
    for name in measured["metrics"]:
        if name not in METRICS:
            raise InputError(f"{file}: settings: metrics: a table has no {name!r}.{nearest(name, METRICS)}")
    for k in measured["topk"]:
        if not isinstance(k, int) or isinstance(k, bool) or k < 1:
            raise InputError(f"{file}: settings: topk must be whole numbers from 1 on, not {k!r}.")
    return figure_names(measured)


def _published(
    given: Any, labels: list[str], measured: list[str], file: Path
) -> dict[str, dict[str, dict[str, float]]]:
    published: dict[str, dict[str, dict[str, float]]] = {}
    for dataset, of_rows in as_mapping(given, f"{file}: published").items():
        published[dataset] = {}
        for label, figures in as_mapping(of_rows, f"{file}: published: {dataset}").items():
            where = f"{file}: published: {dataset}"
            if label not in labels:
                raise InputError(f"{where}: there is no row {label!r}.{nearest(label, labels)}")
            for metric, figure in as_mapping(figures, f"{where}: {label}").items():
                if metric.lower() not in measured:
                    raise InputError(f"{where}: {label}: {metric} is not measured.{nearest(metric.lower(), measured)}")
                if not isinstance(figure, int | float) or isinstance(figure, bool):
                    raise InputError(f"{where}: {label}: {metric} must be a number, not {figure!r}.")
            published[dataset][label] = {metric.lower(): float(figure) for metric, figure in figures.items()}
    return published
