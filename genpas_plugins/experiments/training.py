"""Train and test the cells of a plan in order within a budget of time."""

from __future__ import annotations

import filecmp
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import typer

from genpas_plugins.experiments.methods import Method
from genpas_plugins.experiments.plan import Cell, Row, digest
from genpas_plugins.experiments.results import CellResult, Cells
from genpas_plugins.experiments.rows import best_rows, row_result, row_results
from genpas_plugins.experiments.run import RecBoleRun, export
from genpas_plugins.experiments.stores import bring_files
from genpas_plugins.support.console import Tell
from genpas_plugins.support.environment import describe
from genpas_plugins.support.errors import InputError


class OutOfTime(Exception):
    """The time is used up; the message names the run that did not fit."""


class Clock:
    """A budget of minutes from now on. None has no end."""

    def __init__(self, minutes: float | None) -> None:
        self.minutes = minutes
        self._end = None if minutes is None else time.monotonic() + 60 * minutes

    def has(self, seconds: float) -> bool:
        """Return whether more than so many seconds are left."""
        return self._end is None or self._end - time.monotonic() > seconds


@dataclass(frozen=True)
class Training:
    """What trains the cells of a plan on a store."""

    cells: Cells
    store: Path
    work: Path  # directory of exported data, checkpoints and RecBole's logs
    clock: Clock
    tell: Tell  # moves the progress bar
    kept: Callable[[], object]
    source: Path | None = None  # folder of the data set, with files that settings name

    def missing(self) -> Iterator[tuple[Cell, bool]]:
        """Yield every cell to train and whether to test it. The next cell is looked for when it is asked for.

        The order is row by row with the first seed and then seed by seed. A table that ends early thus has whole
        rows. If only the best rows are tested then all rows are trained before.
        """
        plan = self.cells.plan
        if plan.table.test_best is not None:
            yield from self._untuned(plan.rows)
        for seed in plan.seeds:
            for row in best_rows(self.cells):
                if seed == plan.seeds[0]:
                    yield from self._untuned([row])
                chosen = row_result(self.cells, row).chosen
                assert chosen is not None  # all points were trained when they were yielded
                cell = row.cell(seed, chosen)
                result = self.cells.get(cell)
                if result is None or result.tested is None:
                    yield cell, True

    def _untuned(self, rows: Sequence[Row]) -> Iterator[tuple[Cell, bool]]:
        plan = self.cells.plan
        cells = [row.cell(plan.seeds[0], point) for row in rows for point in plan.table.grid]
        yield from ((cell, False) for cell in cells if self.cells.get(cell) is None)

    def is_complete(self) -> bool:
        """Return whether no cell is missing."""
        return next(self.missing(), None) is None

    def run(self) -> None:
        """Train and test what is missing. Raises OutOfTime at the first run that does not fit."""
        if self.is_complete():
            return
        self._prepare()
        for cell, to_test in self.missing():
            result = self.cells.get(cell)
            # A checkout of results alone has no checkpoints.
            if result is None or not (self.work / result.run.checkpoint).is_file():
                result = self._train(cell)
            if to_test:
                self.cells.put(cell, replace(result, tested=self._recbole(cell).test(result.run.checkpoint)))
                self.kept()

    def _prepare(self) -> None:
        """Export the stores. Raises InputError for stores and settings that cannot be compared."""
        describe()  # cached from here on: a later commit is not what the cells ran on
        plan = self.cells.plan
        own = export(self.store, self.work, self.tell)
        for method in {row.method.store: row.method for row in plan.rows if row.method.store is not None}.values():
            assert method.store is not None
            if not filecmp.cmp(own, export(method.store, self._data(method), self.tell), shallow=False):
                raise InputError(
                    f"{method.label}: {method.store} was not regenerated from {self.store}, so its test would be on "
                    "other interactions. Regenerate that store, or compare on the other one."
                )
        for cell in (row.cell(plan.seeds[0], point) for row in plan.rows for point in plan.table.grid):
            try:
                if self.source is not None:
                    bring_files(plan.settings(cell), self.source, self.work)
                self._recbole(cell).check()
            except InputError as error:
                raise InputError(f"{cell.method.label}: {error}") from error

    def _data(self, method: Method) -> Path:
        # By digest: stores of one name in different places are different data.
        return self.work if method.store is None else self.work / "regenerated" / digest(method.store)

    def _recbole(self, cell: Cell) -> RecBoleRun:
        plan, data = self.cells.plan, self._data(cell.method)
        return RecBoleRun(data, self.work, cell.name, plan.model(cell), plan.table.metric, plan.settings(cell))

    def _train(self, cell: Cell) -> CellResult:
        epochs, name = self.cells.plan.epochs, f"{self.cells.plan.name} {cell.name}"
        usual, begun = self._usual_seconds(cell), time.monotonic()
        if not self.clock.has(usual):
            never = usual and usual >= 60 * (self.clock.minutes or 0)
            raise OutOfTime(f"{name} did not start{_takes(usual)}{', so give more --minutes' if never else ''}.")

        def on_epoch(epoch: int, _: float) -> None:
            self.tell(name, epoch + 1, epochs)
            if epoch + 1 < epochs and not self.clock.has(0):
                taken = time.monotonic() - begun
                estimate = max(usual, taken * epochs / (epoch + 1))
                raise OutOfTime(f"{name} was ended after {taken:,.0f} s and is not kept{_takes(estimate)}.")

        self.tell(name, 0, epochs)
        result = CellResult(self._recbole(cell).train(on_epoch), describe())
        self.cells.put(cell, result)
        figures = f"validation {result.run.validation:.4f} after {result.run.seconds:,.0f} s"
        typer.echo(f"{self.cells.plan.name} {self._progress()}: {cell.name}: {figures}", err=True)
        self.kept()
        return result

    def _progress(self) -> str:
        plan, rows = self.cells.plan, row_results(self.cells)
        done = sum(result is not None for row in rows for result in row.tuning.values())
        done += sum(seed in row.trained for row in rows for seed in plan.seeds[1:])
        seeds = len(best_rows(self.cells)) * (len(plan.seeds) - 1)
        return f"{done} of {len(rows) * len(plan.table.grid) + seeds}"

    def _usual_seconds(self, cell: Cell) -> float:
        """Return the time of the slowest run so far. Runs at the same varied point are preferred."""
        taken: dict[bool, list[float]] = {True: [], False: []}
        for row in row_results(self.cells):
            results = [*row.tuning.values(), *row.trained.values()]
            same = row.at == cell.settings[: len(row.at)]
            taken[same] += [result.run.seconds for result in results if result is not None]
        return max(taken[True] or taken[False], default=0.0)


def _takes(seconds: float) -> str:
    return f": a run takes about {seconds / 60:,.2f} minutes" if seconds else ""
