"""What a table of `genpas reproduce` is made of: a YAML file with rows, settings, a grid and published figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from genpas_plugins.cli.compare_methods import Method, read_methods
from genpas_plugins.cli.compare_settings import METRICS, check_metric, check_setting, figure_names, measures
from genpas_plugins.cli.train import check_yaml, read_scalar
from genpas_plugins.errors import InputError, nearest, whole_number

Point = tuple[tuple[str, Any], ...]
"""A point of the grid: names and values of settings."""


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


_KEYS = ("model", "rows", "epochs", "grid", "settings", "published", "pairs_per_epoch", "metric", "targets")
_NEEDED = ("model", "rows", "epochs")


def read_table(file: Path) -> Table:
    """Read and check a table. Raises InputError naming the file, the key and what would be valid."""
    check_yaml(file)
    content = read_scalar(file.read_text(encoding="utf-8"))
    content = _mapping(content, f"{file}: a table")
    for key in content:
        if key not in _KEYS:
            raise InputError(f"{file}: a table has no key {key!r}.{nearest(key, _KEYS)}")
    for key in _NEEDED:
        if key not in content:
            raise InputError(f"{file}: a table needs {key}, as in configs/reproduce/sasrec.yaml.")
    for key in ("model", "metric"):
        if not isinstance(content.get(key, ""), str):
            raise InputError(f"{file}: {key} must be a name, not {content[key]!r}.")
    words = content["rows"]
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise InputError(f"{file}: rows must be a list of methods, such as [last_target, '1,0,0'], not {words!r}.")
    try:
        rows = read_methods(words)
        targets = {"targets": content.get("targets", "single")}
        rows = [replace(row, genpas=replace(row.genpas, **targets)) for row in rows]
        epochs = whole_number("epochs", content["epochs"], 1)
        per_epoch = content.get("pairs_per_epoch")
        per_epoch = None if per_epoch is None else whole_number("pairs_per_epoch", per_epoch, 1)
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    settings = _mapping(content.get("settings") or {}, f"{file}: settings")
    for key in settings:
        check_setting(key, f"{file}: settings: {key}")
    metric = check_metric(content.get("metric", "NDCG@10"), f"{file}: metric")
    grid = _grid(content.get("grid"), settings, file)
    figures = _figures(settings, metric, file)
    published = _published(content.get("published") or {}, [row.label for row in rows], figures, file)
    return Table(file, content["model"], tuple(rows), epochs, grid, settings, published, per_epoch, metric)


def _grid(given: Any, settings: Mapping[str, Any], file: Path) -> tuple[Point, ...]:
    if given is None:
        return ((),)
    if not isinstance(given, list) or not given:
        raise InputError(f"{file}: grid must be a list of settings such as [{{learning_rate: 0.001}}], not {given!r}.")
    points: list[Point] = []
    for number, entry in enumerate(given, start=1):
        point = _mapping(entry, f"{file}: point {number} of grid")
        for key, value in point.items():
            if not isinstance(value, str | int | float | bool | None):
                raise InputError(f"{file}: point {number} of grid: {key} must be one value, not {value!r}.")
            check_setting(key, f"{file}: point {number} of grid: {key}")
            if key in settings:
                raise InputError(f"{file}: {key} stands in settings and in grid; keep one of the two.")
        points.append(tuple(point.items()))
        if {key for key, _ in points[0]} != set(point):
            raise InputError(f"{file}: point {number} of grid sets other keys than point 1; set the same in all.")
    if len({tuple(sorted(point, key=str)) for point in points}) < len(points):
        raise InputError(f"{file}: a point of grid is there twice; leave one out.")
    return tuple(points)


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
    for dataset, of_rows in _mapping(given, f"{file}: published").items():
        published[dataset] = {}
        for label, figures in _mapping(of_rows, f"{file}: published: {dataset}").items():
            where = f"{file}: published: {dataset}"
            if label not in labels:
                raise InputError(f"{where}: there is no row {label!r}.{nearest(label, labels)}")
            for metric, figure in _mapping(figures, f"{where}: {label}").items():
                if metric.lower() not in measured:
                    raise InputError(f"{where}: {label}: {metric} is not measured.{nearest(metric.lower(), measured)}")
                if not isinstance(figure, int | float) or isinstance(figure, bool):
                    raise InputError(f"{where}: {label}: {metric} must be a number, not {figure!r}.")
            published[dataset][label] = {metric.lower(): float(figure) for metric, figure in figures.items()}
    return published


def _mapping(given: Any, what: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise InputError(f"{what} must have keys and values, not {given!r}.")
    return {str(key): value for key, value in given.items()}
