"""The cells of `genpas reproduce`: in which order they are trained and tested, within a budget of time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from genpas_plugins.data.sequences import SequenceStore
from genpas_plugins.experiments.cell import Cell
from genpas_plugins.experiments.cell_training import Comparison, finished_line
from genpas_plugins.experiments.methods import with_epochs
from genpas_plugins.experiments.rows import Row
from genpas_plugins.experiments.table import Table
from genpas_plugins.search.shortlist import require_validation
from genpas_plugins.support.console import Tell


class OutOfTime(Exception):
    """The budget is used up: the message says which run did not fit."""


class Clock:
    """A budget of minutes from now on, None for no end."""

    def __init__(self, minutes: float | None) -> None:
        self.minutes = minutes
        self._end = None if minutes is None else time.monotonic() + 60 * minutes

    def has(self, seconds: float) -> bool:
        """Tell whether more than so many seconds are left."""
        return self._end is None or self._end - time.monotonic() > seconds


@dataclass(frozen=True)
class Part:
    """A data set of the table: its cells and the order in which they are trained."""

    table: Table
    seeds: Sequence[int]
    name: str
    runs: Comparison

    @property
    def rows(self) -> list[Row]:
        """The rows, with epochs as long as this data set's: all of one point before the next."""
        methods = [with_epochs(method, self.runs.pairs_per_epoch) for method in self.table.rows]
        return [Row(self.runs, self.table, method, at) for at in self.table.points for method in methods]

    @property
    def complete(self) -> bool:
        """Whether every row is tuned, and tested with every seed."""
        return all(self._is_complete(row) for row in self.rows)

    def train(self, clock: Clock, tell: Tell, kept: Callable[[], object]) -> None:
        """Train and test what is missing. Raises OutOfTime, naming the first run that did not fit.

        Row by row with the first seed, tuned and tested, then seed by seed: a table that ends early has whole rows.
        kept : called whenever a cell's file was written
        """
        first = self.seeds[0]
        if self.complete:
            return
        self.runs.prepare([row.cell(first, point) for row in self.rows for point in self.table.grid], tell)
        for row in self.rows:
            for point in self.table.grid:
                self._train(row.cell(first, point), clock, tell, kept)
            self._test(row, first, clock, tell, kept)
        for seed in self.seeds[1:]:
            for row in self.rows:
                self._test(row, seed, clock, tell, kept)

    def _is_complete(self, row: Row) -> bool:
        point = row.chosen(self.seeds[0])
        return point is not None and all(self.runs.finished(row.cell(seed, point)) for seed in self.seeds)

    def _train(self, cell: Cell, clock: Clock, tell: Tell, kept: Callable[[], object], *, anew: bool = False) -> None:
        if self.runs.trained(cell) is not None and not anew:
            return
        usual = self._usual_seconds(cell)
        if not clock.has(usual):
            raise OutOfTime(not_begun(f"{self.name} {cell.name}", usual, clock.minutes or 0))
        begun = time.monotonic()

        def tell_and_stop(step: str, done: int, total: int | None) -> None:
            tell(f"{self.name} {step}", done, total)
            if done != total and not clock.has(0):
                taken = time.monotonic() - begun
                estimate = max(usual, taken * total / done if done and total else 0)
                raise OutOfTime(cut(f"{self.name} {cell.name}", taken, estimate))

        result = self.runs.run(cell, tell_and_stop, test=False)
        typer.echo(f"{self.name} {finished_line(cell, result, *self._count())}", err=True)
        kept()

    def _count(self) -> tuple[int, int]:
        """Return how many runs are trained, and of how many: all points with the first seed, one with each other."""
        first, done = self.seeds[0], 0
        for row in self.rows:
            done += sum(self.runs.trained(row.cell(first, point)) is not None for point in self.table.grid)
            chosen = row.chosen(first)
            if chosen is not None:
                done += sum(self.runs.trained(row.cell(seed, chosen)) is not None for seed in self.seeds[1:])
        return done, len(self.rows) * (len(self.table.grid) + len(self.seeds) - 1)

    def _test(self, row: Row, seed: int, clock: Clock, tell: Tell, kept: Callable[[], object]) -> None:
        """Train the chosen cell of a row that is tuned if need be, and test it."""
        point = row.chosen(self.seeds[0])
        assert point is not None
        cell = row.cell(seed, point)
        if self.runs.finished(cell) is not None:
            return
        # Checkpoints are no results: a checkout of the results alone has none.
        self._train(cell, clock, tell, kept, anew=not self.runs.can_be_tested(cell))
        self.runs.test(cell)
        kept()

    def _usual_seconds(self, cell: Cell) -> float:
        """Return what the slowest run so far took, of those at the cell's point of what is varied if there are any."""
        cells = [row.cell(seed, point) for row in self.rows for seed in self.seeds for point in self.table.grid]
        results = [(other, self.runs.trained(other)) for other in cells]
        taken = [(other, result["seconds"]) for other, result in results if result is not None]
        own = len(self.table.points[0])
        alike = [seconds for other, seconds in taken if other.settings[:own] == cell.settings[:own]]
        return max(alike or [seconds for _, seconds in taken], default=0.0)


def not_begun(name: str, usual: float, minutes: float) -> str:
    """Return what is said of a run that would not fit; `usual` seconds are what one takes, 0 where none was run."""
    if not usual:
        return f"{name} was not begun."
    told = f"{name} was not begun: a run takes about {_minutes(usual)}"
    if usual >= 60 * minutes:
        return f"{told}, more than --minutes {minutes:g}: give more, as no run would ever fit."
    return f"{told}."


def cut(name: str, taken: float, usual: float) -> str:
    """Return what is said of a run that was ended after so many seconds; `usual` ones are what it takes, 0: unknown."""
    about = f"a run takes about {_minutes(usual)}: give more" if usual else "give more"
    return f"{name} was cut after {taken:,.0f} s and is not kept, as only whole runs are; {about}."


def _minutes(seconds: float) -> str:
    minutes = seconds / 60
    return f"{minutes:,.1f} minutes" if minutes >= 1 else f"{seconds:.1f} s"


def comparison(table: Table, name: str, store: Path, out: Path) -> Comparison:
    """Return what trains a table's cells on a store: their files in out/cells, all else in out/work.

    Raises InputError for a store that has nothing to train or to validate on.
    """
    split = SequenceStore.open(store).leave_last_out()
    require_validation(split.validation)
    split.train.require_pairs()
    return Comparison.checked(
        store,
        out / "work" / name,
        table.model,
        (),
        table.settings,
        metric=table.metric,
        epochs=table.epochs,
        pairs_per_epoch=table.pairs_per_epoch or split.train.n_pairs,
        results=out / "cells" / name,
    )
