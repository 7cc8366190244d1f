"""The rows of a table with their results: means and spreads over the seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from genpas_plugins.analysis.paired_bootstrap import figure_of_ranks
from genpas_plugins.experiments.plan import Row
from genpas_plugins.experiments.results import CellResult, Cells
from genpas_plugins.experiments.table import Point
from genpas_plugins.support.array_types import Float64

PROTOCOLS = ("masked", "unmasked")
REFERENCE = "multi_target"
"""The row that others are compared with, user by user."""

Figure = Callable[[CellResult], float | None]  # reads a figure from a cell's result, None if it has none


class Spread(NamedTuple):
    """Mean and sample standard deviation (n - 1) over the seeds. The latter is None for one value."""

    mean: float
    sd: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of values.

        >>> Spread.of([1.0, 3.0])
        Spread(mean=2.0, sd=1.4142135623730951)
        """
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)


@dataclass(frozen=True)
class RowResult:
    """A row of a table with the results of its cells."""

    method: str  # label of the method
    at: Point  # the row's point of what the table varies
    # Result of every point of the grid with the first seed, None for a point that is not trained.
    tuning: Mapping[Point, CellResult | None]
    # The grid's point with the best validation, the first of equal ones. None before all are trained.
    chosen: Point | None
    trained: Mapping[int, CellResult]  # results of the chosen point by seed
    published: Mapping[str, float]  # published figures by metric, as ndcg@10

    @property
    def tested(self) -> dict[int, CellResult]:
        """The results with test figures by seed. The row's figures are from these."""
        return {seed: result for seed, result in self.trained.items() if result.tested is not None}

    def spread(self, figure: Figure) -> Spread | None:
        """Return the spread of a figure or None if a tested seed lacks it or none is tested."""
        return _spread(figure, self.tested.values())

    def spread_of_training(self, figure: Figure) -> Spread | None:
        """Return the spread of a figure over all trained seeds or None without one. Tests are not needed."""
        return _spread(figure, self.trained.values())

    def of_users(self, protocol: str, metric: str) -> Float64 | None:
        """Return a test figure of every user `float64 [n]` as mean over the seeds, or None without all ranks."""
        ranks = [result.tested.ranks.get(protocol) for result in self.tested.values() if result.tested is not None]
        known = [figure_of_ranks(array, metric) for array in ranks if array is not None]
        alike = len(known) == len(ranks) and len({len(figures) for figures in known}) == 1
        return np.mean(known, axis=0) if alike else None

    @property
    def curve(self) -> list[tuple[int, Spread]]:
        """The spread of the validation figure by pairs seen wherever all seeds have a figure."""
        by_pairs = [{at.pairs: at.validation for at in result.run.curve} for result in self.trained.values()]
        shared = sorted(set.intersection(*map(set, by_pairs))) if by_pairs else []
        return [(pairs, Spread.of([curve[pairs] for curve in by_pairs])) for pairs in shared]

    @property
    def groups(self) -> dict[str, list[str]]:
        """Names of the groups that all tested seeds have by kind."""
        first = next((result.tested for result in self.tested.values() if result.tested is not None), None)
        kinds = {} if first is None else first.groups.get(PROTOCOLS[0], {})
        known = {kind: [name for name in names if self.spread(of_group(kind, name))] for kind, names in kinds.items()}
        return {kind: names for kind, names in known.items() if names}


def _spread(figure: Figure, results: Iterable[CellResult]) -> Spread | None:
    values = [figure(result) for result in results]
    known = [value for value in values if value is not None]
    return Spread.of(known) if known and len(known) == len(values) else None


def of_test(protocol: str, metric: str) -> Figure:
    """Return what reads a test figure of all users."""
    return lambda cell: None if cell.tested is None else cell.tested.test.get(protocol, {}).get(metric.lower())


def of_group(kind: str, name: str, protocol: str = PROTOCOLS[0], metric: str = "n") -> Figure:
    """Return what reads a test figure of a group. "n" is its number of users."""

    def read(cell: CellResult) -> float | None:
        groups = {} if cell.tested is None else cell.tested.groups
        return groups.get(protocol, {}).get(kind, {}).get(name, {}).get(metric.lower())

    return read


def row_result(cells: Cells, row: Row) -> RowResult:
    """Read the results of a row. Raises InputError as `Cells.get` does."""
    plan = cells.plan
    tuning = {point: cells.get(row.cell(plan.seeds[0], point)) for point in plan.table.grid}
    scores = {point: result.run.validation for point, result in tuning.items() if result is not None}
    chosen = max(scores, key=scores.__getitem__) if len(scores) == len(tuning) else None
    trained = {} if chosen is None else {seed: cells.get(row.cell(seed, chosen)) for seed in cells.seeds}
    done = {seed: result for seed, result in trained.items() if result is not None}
    name = plan.table.published_name(row.method.label, row.at)
    published = plan.table.published.get(plan.name, {}).get(name, {})
    of_metric = {metric.lower(): figure for metric, figure in published.items()}
    return RowResult(row.method.label, row.at, tuning, chosen, done, of_metric)


def best_rows(cells: Cells) -> list[Row]:
    """Return the rows to test in the table's order: all or multi_target and the best of every point on validation."""
    best = cells.plan.table.test_best
    if best is None:
        return cells.plan.rows
    tested = set()
    for at in cells.plan.table.points:
        rows = [(number, row) for number, row in enumerate(cells.plan.rows) if row.at == at]
        scores = {number: _validation(row_result(cells, row)) for number, row in rows}
        tested |= {number for number, row in rows if row.method.label == REFERENCE}
        tested |= set(sorted(scores, key=scores.__getitem__, reverse=True)[:best])
    return [row for number, row in enumerate(cells.plan.rows) if number in tested]


def _validation(row: RowResult) -> float:
    result = None if row.chosen is None else row.tuning[row.chosen]
    return -math.inf if result is None else result.run.validation


def row_results(cells: Cells) -> list[RowResult]:
    """Read the results of all rows."""
    return [row_result(cells, row) for row in cells.plan.rows]
