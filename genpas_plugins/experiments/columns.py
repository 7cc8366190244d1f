"""The columns of a table: a new column is one line in `columns`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from genpas_plugins.analysis.paired_bootstrap import Difference, paired_bootstrap
from genpas_plugins.experiments.results import CellResult
from genpas_plugins.experiments.rows import PROTOCOLS, REFERENCE, Figure, RowResult, Spread, of_test
from genpas_plugins.experiments.table import Point, Table
from genpas_plugins.sampling.policy import SAMPLED
from genpas_plugins.settings.genpas import PREFIX

NOT_RUN, NONE = "not run", "–"

BEYOND_ACCURACY = ("coverage", "gini", "novelty", "popularity")
"""Figures of what is recommended, whoever the user is."""


OF_AN_EPOCH = {
    "targets an epoch": "pairs_per_epoch",
    "distinct users": "distinct_users",
    "distinct pairs": "distinct_pairs",
    "effective targets": "effective_targets",
}
"""Columns with counts of an epoch, by their key in `trained_on`."""


class Column(NamedTuple):
    """A column."""

    name: str  # its head, and its key in table.json
    value: Callable[[RowResult], Any]  # reads text, a number or a spread from a row; None for nothing
    digits: int = 4  # decimal places of a number or a spread
    brief: bool = False  # whether the table on the terminal has it
    missing: str = ""  # text without a value; by default, whether the row was run

    def text(self, row: RowResult) -> str:
        """Return a row's entry as text."""
        value = self.value(row)
        if value is None:
            return self.missing or (NONE if row.tested else NOT_RUN)
        if isinstance(value, Difference):
            mean, low, high = (f"{number:+.{self.digits}f}" for number in value[:3])
            return f"{mean} [{low}, {high}], p {value.p:.2g}"
        if isinstance(value, Spread):
            return f"{value.mean:.{self.digits}f} ± {NONE if value.sd is None else f'{value.sd:.{self.digits}f}'}"
        return (
            f"{value:,}"
            if isinstance(value, int)
            else f"{value:.{self.digits}f}"
            if isinstance(value, float)
            else value
        )


def columns(table: Table, rows: Sequence[RowResult]) -> list[Column]:
    """Return the columns to the right of the method's name. Published figures need a row that has one."""
    chosen = f"validation {table.metric}"
    published = [name for name in table.measured if any(name.lower() in row.published for row in rows)]
    masked, unmasked = (
        [Column(f"{p} {name}", spread(of_test(p, name)), brief=name == table.metric) for name in table.measured]
        for p in PROTOCOLS
    )
    return [
        *place_columns(table),
        *([Column("setting", lambda row: row.chosen and point_text(row.chosen))] if table.tuned else []),
        Column("seeds", lambda row: ", ".join(map(str, row.tested)) or None, brief=True, missing=NONE),
        Column(chosen, lambda row: row.spread_of_training(lambda cell: cell.run.validation), brief=True),
        *_equal_budget(table, rows),
        *masked,
        *_difference(table, rows),
        *(Column(f"published {n}", _published(n), brief=n == table.metric, missing=NONE) for n in published),
        *unmasked,
        Column("pairs", of_first_seed(lambda cell: cell.run.pairs_seen)),
        *(Column(head, of_first_seed(_trained_on(key))) for head, key in OF_AN_EPOCH.items()),
        Column("draws", of_first_seed(_draws)),
        Column("seconds", spread(lambda cell: cell.run.seconds), digits=0, brief=True),
        Column("KL", of_first_seed(lambda cell: cell.run.trained_on.get("kl_validation"))),
    ]


def beyond_accuracy(table: Table, rows: Sequence[RowResult]) -> list[Column]:
    """Return the columns of what is recommended in masked lists; none if no row has a figure."""
    _, _, k = table.metric.partition("@")
    figures = {name: of_test(PROTOCOLS[0], f"{name}@{k}") for name in BEYOND_ACCURACY}
    return [
        Column(f"{head}@{k}", spread(figure), digits=1 if head == "popularity" else 3)
        for head, figure in figures.items()
        if any(row.spread(figure) for row in rows)
    ]


def _equal_budget(table: Table, rows: Sequence[RowResult]) -> list[Column]:
    """Return the column of the best validation within the pairs of the shortest run if runs stop early."""
    ends = [result.run.pairs_seen for row in rows for result in row.trained.values()]
    if table.patience is None or not ends:
        return []
    pairs = min(ends)

    def best(cell: CellResult) -> float | None:
        return max((at.validation for at in cell.run.curve if at.pairs <= pairs), default=None)

    return [Column(f"validation within {pairs:,} pairs", lambda row: row.spread_of_training(best))]


def _difference(table: Table, rows: Sequence[RowResult]) -> list[Column]:
    """Return the column of the difference to REFERENCE with its bootstrap interval if any row has one."""
    of_users = {(row.method, row.at): row.of_users(PROTOCOLS[0], table.metric) for row in rows}
    found: dict[tuple[str, Point], Difference] = {}
    for (method, at), figures in of_users.items():
        reference = of_users.get((REFERENCE, at))
        if method != REFERENCE and figures is not None and reference is not None and len(figures) == len(reference):
            found[method, at] = paired_bootstrap(figures - reference)
    head = f"{PROTOCOLS[0]} {table.metric} over {REFERENCE}"
    return [Column(head, lambda row: found.get((row.method, row.at)))] if found else []


def place_columns(table: Table) -> list[Column]:
    """Return the column with the point of what the table varies if it varies anything."""
    along = [] if table.along is None else [table.along.name]
    return [Column(name, lambda row: place_text(row.at, table, named=False), brief=True) for name in along]


def spread(figure: Figure) -> Callable[[RowResult], Spread | None]:
    """Return a column's value: the spread of a figure over the seeds."""
    return lambda row: row.spread(figure)


def of_first_seed(figure: Callable[[CellResult], Any]) -> Callable[[RowResult], Any]:
    """Return a column's value: a figure that does not depend on the seed."""
    return lambda row: next(map(figure, row.tested.values()), None)


def _trained_on(key: str) -> Callable[[CellResult], int | None]:
    def count(cell: CellResult) -> int | None:
        value = cell.run.trained_on.get(key)
        return None if value is None else round(value)

    return count


def _draws(cell: CellResult) -> str | None:
    """Return how the epochs of a sampled policy were drawn. Runs before draws 2 do not record it."""
    return f"draws {cell.run.trained_on.get('draws', 1)}" if cell.run.trained_on.get("strategy") == SAMPLED else None


def _published(name: str) -> Callable[[RowResult], float | None]:
    return lambda row: row.published.get(name.lower())


def point_text(point: Point) -> str:
    """Return the settings of a point in one line.

    >>> point_text((("genpas_train_users", 0.1), ("hidden_size", 64)))
    'train_users 0.1, hidden_size 64'
    """
    return ", ".join(f"{key.removeprefix(PREFIX)} {value}" for key, value in point) or NONE


def place_text(point: Point, table: Table, *, named: bool = True) -> str:
    """Return a point of what is varied with its first value by the axis' name. `named` False omits the name."""
    if table.along is None or not point:
        return point_text(point)
    (_, value), *others = point
    first = f"{table.along.name} {value}" if named else str(value)
    return ", ".join([first, *([point_text(tuple(others))] if others else [])])
