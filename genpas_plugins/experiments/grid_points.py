"""Points of settings in a table of `genpas reproduce`: a grid to choose from, and what is varied along an axis."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genpas_plugins.experiments.cell import Cell
from genpas_plugins.experiments.measured_settings import OF_A_METHOD, check_setting
from genpas_plugins.experiments.methods import Method
from genpas_plugins.settings.genpas import EXPONENT_NAMES, PREFIX, GenPASConfig
from genpas_plugins.support.errors import InputError, nearest

Point = tuple[tuple[str, Any], ...]
"""A point of the grid, or of what is varied: names and values of settings."""


@dataclass(frozen=True)
class Along:
    """What a table varies.

    name   : what it is, for the axis of a plot
    points : values of the same settings, at least one point
    """

    name: str
    points: tuple[Point, ...]


INSTEAD: Mapping[str, str] = {
    **{"epochs": "epochs at the top of the table", "pairs_per_epoch": "pairs_per_epoch at the top of the table"},
    **{"valid_metric": "metric at the top of the table", "seed": "--seeds"},
}
"""Where a table takes what is no setting of RecBole's."""

ALONG = f"{OF_A_METHOD}, or give all rows a key {PREFIX}… in along, of which one point is enough"
"""Where a table takes what is trained on."""

_NOT_VARIED = tuple(PREFIX + name for name in ("strategy", *EXPONENT_NAMES, "augment", "pairs_per_epoch"))


def read_points(given: Any, what: str, file: Path) -> tuple[Point, ...]:
    """Return the points of a list of settings: one value each, the same keys in all, no point twice.

    what : which list it is. Raises InputError naming the file, the list and the point.
    """
    if not isinstance(given, list) or not given:
        raise InputError(f"{file}: {what} must be a list of settings such as [{{hidden_size: 64}}], not {given!r}.")
    points: list[Point] = []
    for number, entry in enumerate(given, start=1):
        point = as_mapping(entry, f"{file}: point {number} of {what}")
        for key, value in point.items():
            if not isinstance(value, str | int | float | bool | None):
                raise InputError(f"{file}: point {number} of {what}: {key} must be one value, not {value!r}.")
        points.append(tuple(point.items()))
    _check_keys(points, what, file)
    if len({tuple(sorted(point, key=str)) for point in points}) < len(points):
        raise InputError(f"{file}: a point of {what} is there twice; leave one out.")
    return tuple(points)


def _check_keys(points: Sequence[Point], what: str, file: Path) -> None:
    """Raise InputError for a point that sets other keys than most do, naming them."""
    keys = [frozenset(key for key, _ in point) for point in points]
    usual = Counter(keys).most_common(1)[0][0]
    for number, own in enumerate(keys, start=1):
        where = f"{file}: point {number} of {what}"
        for key in sorted(own - usual):
            near = difflib.get_close_matches(key, sorted(usual - own), n=1, cutoff=0.7)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise InputError(f"{where} sets {key!r}, which the other points do not.{hint} Set the same in all.")
        for key in sorted(usual - own):
            raise InputError(f"{where} does not set {key!r}, which the other points do. Set the same in all.")


def read_along(given: Any, file: Path) -> Along:
    """Return what a table varies. Raises InputError naming the file, the key or the point."""
    content = as_mapping(given, f"{file}: along")
    for key in content:
        if key not in ("name", "points"):
            raise InputError(f"{file}: along has no key {key!r}.{nearest(key, ('name', 'points'))}")
    name = content.get("name")
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"{file}: along needs a name for the axis, such as 'share of the users', not {name!r}.")
    points = read_points(content.get("points"), "along", file)
    if not points[0]:
        raise InputError(f"{file}: the points of along set nothing; give each a setting, as {{hidden_size: 64}}.")
    for key, _ in points[0]:
        if key in _NOT_VARIED:
            raise InputError(f"{file}: along: {key} is the rows' or the budget's to say, the same at every point.")
        if not key.startswith(PREFIX):
            check_setting(key, f"{file}: along: {key}", INSTEAD, ALONG)
    return Along(name.strip(), points)


def check_rows(along: Along, rows: Sequence[Method], file: Path) -> None:
    """Raise InputError for a row that cannot stand at every point, or says itself what is varied."""
    defaults = {PREFIX + name: field.default for name, field in GenPASConfig.model_fields.items()}
    for row in rows:
        for key, _ in along.points[0]:
            if key in defaults and getattr(row.genpas, key.removeprefix(PREFIX)) != defaults[key]:
                raise InputError(f"{file}: the row {row.label} sets {key}, and along varies it; keep one of the two.")
    for number, point in enumerate(along.points, start=1):
        try:
            for row in rows:
                Cell(row, 0, point).check()
        except InputError as error:
            raise InputError(f"{file}: point {number} of along: {error}") from None


def as_mapping(given: Any, what: str) -> dict[str, Any]:
    """Return a copy of keys and values. Raises InputError, saying `what` it is, for anything else."""
    if not isinstance(given, dict):
        raise InputError(f"{what} must have keys and values, not {given!r}.")
    return {str(key): value for key, value in given.items()}
