"""The rows of a table of `genpas reproduce`, as plain values made from the cells' files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genpas_plugins.experiments.cell import Cell
from genpas_plugins.experiments.cell_training import Comparison
from genpas_plugins.experiments.grid_points import Point
from genpas_plugins.experiments.methods import Method
from genpas_plugins.experiments.table import Table
from genpas_plugins.experiments.text_table import spread

PROTOCOLS = ("masked", "unmasked")


@dataclass(frozen=True)
class Row:
    """A method at one point of what the table varies; `at` is empty where nothing is varied."""

    runs: Comparison
    table: Table
    method: Method
    at: Point = ()

    def cell(self, seed: int, point: Point) -> Cell:
        """Return the cell of a seed at a point of the grid."""
        return Cell(self.method, seed, (*self.at, *point))

    def chosen(self, seed: int) -> Point | None:
        """Return the grid's point with the best validation, None while one is not trained; the first of equal ones."""
        scores: dict[Point, float] = {}
        for point in self.table.grid:
            result = self.runs.trained(self.cell(seed, point))
            if result is None:
                return None
            scores[point] = result["validation"]
        return max(scores, key=scores.__getitem__)


def row_values(row: Row, seeds: Sequence[int], published: Mapping[str, float]) -> dict[str, Any]:
    """Return a row as plain values: None for what was not run, a spread over the seeds is {"mean", "sd"}.

    seeds : the first one tuned
    """
    runs, grid = row.runs, row.table.grid
    point = row.chosen(seeds[0])
    tuned = [(point, runs.trained(row.cell(seeds[0], point))) for point in grid]
    done = {} if point is None else {seed: runs.finished(row.cell(seed, point)) for seed in seeds}
    results = [result for result in done.values() if result is not None]
    trained = [] if point is None else [runs.trained(row.cell(seed, point)) for seed in seeds]
    return {
        "method": row.method.label,
        "point": dict(row.at),
        "chosen": None if point is None else dict(point),
        "seeds": [seed for seed, result in done.items() if result is not None],
        "validation": spread([result["validation"] for result in results]) if results else None,
        "test": {protocol: _test(results, protocol, runs.measured) for protocol in PROTOCOLS} if results else None,
        "published": dict(published),
        "pairs_seen": results[0]["pairs_seen"] if results else None,
        "seconds": spread([result["seconds"] for result in results]) if results else None,
        "kl_validation": results[0]["trained_on"]["kl_validation"] if results else None,
        "curve": curve([result["curve"] for result in trained if result is not None], row.table.metric),
        "groups": groups([result.get("groups", {}) for result in results]),
        "tuning": [
            {
                "settings": dict(point),
                "validation": None if result is None else result["validation"],
                "seconds": None if result is None else result["seconds"],
            }
            for point, result in tuned
        ],
    }


def curve(curves: Sequence[Sequence[Mapping[str, float]]], metric: str) -> list[dict[str, Any]]:
    """Return the spread of the validation figure wherever all curves have one, by pairs seen."""
    name = f"validation_{metric.lower()}"
    by_pairs = [{point["pairs"]: point[name] for point in one} for one in curves]
    shared = sorted(set.intersection(*map(set, by_pairs))) if by_pairs else []
    return [{"pairs": pairs, "validation": spread([one[pairs] for one in by_pairs])} for pairs in shared]


def groups(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the spreads of test figures by groups: {kind: {group: {protocol: {"n" or a metric: spread}}}}.

    results : of each seed {protocol: {kind: {group: {"n" or a metric: number}}}}; what some seed lacks is left out, so
        that all of a row's figures are of the same seeds
    """
    values: dict[tuple[str, str, str, str], list[float]] = {}
    for result in results:
        for protocol, kinds in result.items():
            for kind, by_group in kinds.items():
                for group, figures in by_group.items():
                    for name, value in figures.items():
                        values.setdefault((kind, group, protocol, name), []).append(value)
    spreads: dict[str, Any] = {}
    for (kind, group, protocol, name), given in values.items():
        if len(given) == len(results):
            spreads.setdefault(kind, {}).setdefault(group, {}).setdefault(protocol, {})[name] = spread(given)
    return spreads


def _test(results: Sequence[Mapping[str, Any]], protocol: str, measured: Sequence[str]) -> dict[str, Any]:
    return {name: spread([result["test"][protocol][name] for result in results]) for name in measured}
