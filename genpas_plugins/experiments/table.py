"""A table of experiments from a YAML file or from the command line."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PlainValidator, model_validator
from typing_extensions import Self

from genpas_plugins.data.temporal import LEAVE_LAST_OUT, parse_split
from genpas_plugins.experiments.allowed_settings import MODEL, check_metric, check_setting, check_varied, measures
from genpas_plugins.experiments.methods import Method, check_different, check_loss, method_of, read_method
from genpas_plugins.settings.base import Settings
from genpas_plugins.settings.genpas import PREFIX, GenPASConfig, Ties
from genpas_plugins.settings.yaml_text import read_yaml
from genpas_plugins.support.errors import InputError, nearest

Point = tuple[tuple[str, Any], ...]  # A point of the grid, or of what is varied: names and values of settings


def _method(given: Any) -> Method:
    if isinstance(given, dict):
        return method_of(given)
    if isinstance(given, str | Method):
        return read_method(given) if isinstance(given, str) else given
    raise InputError(
        f"a row is a word such as multi_target, '1,0,0' in quotes, or {{name: …, genpas: …}}, not {given!r}."
    )


def _point(given: Any) -> Point:
    if isinstance(given, tuple):  # of a table that was checked before
        return given
    if not isinstance(given, dict) or not given:
        raise InputError(f"a point must have settings, as {{hidden_size: 64}}, not {given!r}.")
    for key, value in given.items():
        if not isinstance(value, str | int | float | bool | None):
            raise InputError(f"{key} must be one value, not {value!r}.")
    return tuple((str(key), value) for key, value in given.items())


def _different(points: tuple[Point, ...]) -> tuple[Point, ...]:
    for number, point in enumerate(points):
        if {key for key, _ in point} != set(_keys(points)):
            raise InputError(
                f"all points must set the same keys. Point 1 sets {', '.join(_keys(points))}, point {number + 1} sets "
                f"{', '.join(key for key, _ in point)}."
            )
        if any(dict(point) == dict(other) for other in points[:number]):
            raise InputError(f"point {number + 1} is there twice. Remove one.")
    return points


def _keys_pass(check: Callable[[str], object]) -> AfterValidator:
    def checked(points: tuple[Point, ...]) -> tuple[Point, ...]:
        for key in _keys(points):
            check(key)
        return points

    return AfterValidator(checked)


def _split_word(text: str) -> str:
    parse_split(text)
    return text


def _measured(settings: dict[str, Any]) -> dict[str, Any]:
    given = measures(settings, "NDCG@10")
    for metric, k in itertools.product(given["metrics"], given["topk"]):
        check_metric(f"{metric}@{k}")
    return settings


Row = Annotated[Method, PlainValidator(_method)]
Points = Annotated[
    tuple[Annotated[Point, PlainValidator(_point)], ...], Field(min_length=1), AfterValidator(_different)
]


class Along(Settings):
    """What a table varies."""

    name: str = Field(min_length=1, description="what the axis of a plot is called")
    points: Annotated[Points, _keys_pass(check_varied)] = Field(
        description="settings of RecBole, the model, or flat keys genpas_… for all rows; one point is enough"
    )


class Table(Settings):
    """A checked table of experiments."""

    title: str = Field(description="name of the table; without it, of its file")
    model: str | None = Field(None, description="RecBole's name of the model; a table along models has none")
    rows: tuple[Row, ...] = Field(
        min_length=1,
        description="methods: a strategy or '1,0,0', then +operators, +basrec or +dr4sr_plus, @STORE; or a .yaml file; "
        "or {name: …, genpas: …, mixing: …, store: …}",
    )
    epochs: int | None = Field(None, ge=1, description="the budget of every run, in epochs")
    pairs: int | None = Field(None, ge=1, description="or the budget in pairs, a multiple of the pairs of an epoch")
    pairs_per_epoch: int | None = Field(None, ge=1, description="of all rows; null: as many as multi_target has")
    split: Annotated[str, AfterValidator(_split_word)] = Field(
        LEAVE_LAST_OUT, description="or temporal:TRAIN,VALIDATION,TEST: cuts in time, of stores with a column timestamp"
    )
    patience: int | None = Field(
        None, ge=1, description="a run ends after so many validations without a better one; the budget is then the most"
    )
    test_best: int | None = Field(
        None, ge=1, description="only so many rows, the best on validation, and multi_target are tested; null: all"
    )
    targets: Literal["single", "parallel"] | None = Field(None, description="for the genpas section of all rows")
    trim: bool | None = Field(None, description="for the genpas section of all rows")
    ties: Ties | None = Field(None, description="for the genpas section of all rows, of stores with a column timestamp")
    metric: Annotated[str, AfterValidator(check_metric)] = Field(
        "NDCG@10", description="chooses the epoch and the point of the grid, on validation"
    )
    settings: Annotated[dict[Annotated[str, AfterValidator(check_setting)], Any], AfterValidator(_measured)] = Field(
        {}, description="RecBole's, for all runs"
    )
    grid: Annotated[Points, _keys_pass(check_setting)] = Field(
        ((),), description="points to choose from on validation, row by row"
    )
    along: Along | None = Field(None, description="varies one thing: all rows are trained and tuned at every point")
    datasets: tuple[str, ...] = Field((), description="names of the data sets; empty: the published ones")
    published: dict[str, dict[str, dict[str, float]]] = Field(
        {},
        description="figures to show beside ours, by data set, row and metric; with several points a row is "
        "'POINT ROW', as 'GRU4Rec multi_target'",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.epochs is None) == (self.pairs is None):
            raise InputError("a table needs one budget: epochs or pairs.")
        if (self.model is None) != (MODEL in _keys(self.points)):
            raise InputError("a table has one model, or varies it along points such as {model: GRU4Rec}.")
        self._check_keys()
        check_different(self.methods)
        for method in self.methods:
            if self.epochs is not None:
                check_loss(method, self.epochs)
            self._check_points(method)
        self._check_published()
        return self

    @property
    def _of_rows(self) -> dict[str, Any]:
        given = {"targets": self.targets, "trim": self.trim, "ties": self.ties}
        return {key: value for key, value in given.items() if value is not None}

    @property
    def methods(self) -> list[Method]:
        """The rows' methods with the keys that the table sets for all of them."""
        return [row.with_genpas(**self._of_rows) for row in self.rows]

    @property
    def points(self) -> tuple[Point, ...]:
        """The points of what is varied; one without settings if nothing is."""
        return ((),) if self.along is None else self.along.points

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models in order."""
        return tuple(dict.fromkeys(str(dict(point).get(MODEL, self.model)) for point in self.points))

    def published_name(self, label: str, at: Point) -> str:
        """Return the name of a row among the published figures. Several points add their first value."""
        return f"{at[0][1]} {label}" if len(self.points) > 1 else label

    @property
    def needs_times(self) -> bool:
        """Whether a store needs the column timestamp for a split in time or for the order of ties."""
        return self.split != LEAVE_LAST_OUT or self.ties is not None or f"{PREFIX}ties" in _keys(self.points)

    @property
    def tuned(self) -> bool:
        """Whether there is a choice between points of a grid."""
        return len(self.grid) > 1

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the data sets."""
        return self.datasets or tuple(self.published)

    @property
    def recbole_keys(self) -> list[str]:
        """Names of the settings of RecBole that the table makes."""
        keys = [*self.settings, *_keys(self.grid), *_keys(self.points)]
        return [key for key in keys if key != MODEL and not key.startswith(PREFIX)]

    @property
    def measured(self) -> list[str]:
        """Names of the test figures such as NDCG@10."""
        given = measures(self.settings, self.metric)
        return [check_metric(f"{metric}@{k}") for metric in given["metrics"] for k in given["topk"]]

    def _check_keys(self) -> None:
        places: dict[str, Collection[str]] = {
            "settings": self.settings,
            "grid": _keys(self.grid),
            "the table": [PREFIX + key for key in self._of_rows],
            "along": _keys(self.points),
        }
        for key in [*_keys(self.grid), *_keys(self.points)]:
            first, *others = (place for place, keys in places.items() if key in keys)
            if others:
                raise InputError(f"{key} is in {first} and in {others[0]}. Keep one of the two.")

    def _check_points(self, method: Method) -> None:
        for number, point in enumerate(self.points, start=1):
            flat = {key: value for key, value in point if key.startswith(PREFIX)}
            for key in map(lambda key: key.removeprefix(PREFIX), flat):
                field = GenPASConfig.model_fields.get(key)
                if field is not None and getattr(method.genpas, key) != field.default:
                    raise InputError(f"the row {method.label} sets {PREFIX}{key}, and along varies it. Keep one.")
            if flat:
                GenPASConfig.from_config({**method.settings, **flat}, f"point {number} of along, {method.label}")

    def _check_published(self) -> None:
        labels = [self.published_name(row.label, at) for at in self.points for row in self.rows]
        measured = [name.lower() for name in self.measured]
        others = [name for name in self.datasets if name not in self.published]
        for dataset, of_rows in self.published.items():
            near = difflib.get_close_matches(dataset, others, n=1, cutoff=0.8)
            if near and dataset not in self.datasets:
                raise InputError(f"published has {dataset!r}, datasets {near[0]!r}. Write both in the same way.")
            for label, figures in of_rows.items():
                where = f"published: {dataset}"
                if label not in labels:
                    raise InputError(f"{where}: there is no row {label!r}.{nearest(label, labels)}")
                for metric in (metric for metric in figures if metric.lower() not in measured):
                    raise InputError(f"{where}: {label}: {metric} is not measured.{nearest(metric, self.measured)}")


def _keys(points: Sequence[Point]) -> list[str]:
    return [key for key, _ in points[0]]


def read_table(file: Path) -> Table:
    """Read and check a table. InputError has the file, line, key and what would be valid."""
    yaml = read_yaml(file)
    content = yaml.content
    return Table.read({"title": file.stem, **content} if isinstance(content, dict) else content, yaml.where)
