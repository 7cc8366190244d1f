"""The cells of `genpas reproduce`: in which order they are trained and tested, within a budget of time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from genpas_plugins.cli.compare_methods import Method, with_epochs
from genpas_plugins.cli.compare_training import Cell, Comparison
from genpas_plugins.cli.output import Tell
from genpas_plugins.cli.reproduce_report import NOTE, chosen_point, markdown, row
from genpas_plugins.cli.reproduce_settings import Table
from genpas_plugins.json_text import to_json
from genpas_plugins.search.output import write
from genpas_plugins.search.shortlist import require_validation
from genpas_plugins.sequences import SequenceStore


class OutOfTime(Exception):
    """The budget is used up in the middle of a cell."""


class Clock:
    """A budget of minutes from now on, None for no end."""

    def __init__(self, minutes: float | None) -> None:
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
    def methods(self) -> list[Method]:
        """The rows, with epochs as long as this data set's."""
        return [with_epochs(method, self.runs.pairs_per_epoch) for method in self.table.rows]

    def train(self, clock: Clock, tell: Tell, kept: Callable[[], object]) -> bool:
        """Train and test what is missing; False where time ran out.

        Row by row with the first seed, tuned and tested, then seed by seed: a table that ends early has whole rows.
        kept : called whenever a cell's file was written
        """
        first = self.seeds[0]
        tuning = [Cell(method, first, point) for method in self.methods for point in self.table.grid]
        if all(self._is_complete(method) for method in self.methods):
            return True
        self.runs.prepare(tuning, tell)
        for cell in tuning:
            if not self._trained(cell, clock, tell, kept):
                return False
            point = chosen_point(self.runs, self.table, cell.method, first)
            if point is not None and not self._tested(Cell(cell.method, first, point), clock, tell, kept):
                return False
        for seed in self.seeds[1:]:
            for method in self.methods:
                point = chosen_point(self.runs, self.table, method, first)
                assert point is not None
                if not self._tested(Cell(method, seed, point), clock, tell, kept):
                    return False
        return True

    def _is_complete(self, method: Method) -> bool:
        point = chosen_point(self.runs, self.table, method, self.seeds[0])
        return point is not None and all(self.runs.finished(Cell(method, seed, point)) for seed in self.seeds)

    def _trained(self, cell: Cell, clock: Clock, tell: Tell, kept: Callable[[], object], *, anew: bool = False) -> bool:
        if self.runs.trained(cell) is not None and not anew:
            return True
        if not clock.has(self._usual_seconds()):
            return False

        def tell_and_stop(step: str, done: int, total: int | None) -> None:
            tell(f"{self.name} {step}", done, total)
            if done != total and not clock.has(0):
                raise OutOfTime

        try:
            result = self.runs.run(cell, tell_and_stop, test=False)
        except OutOfTime:
            return False
        score, seconds = result["validation"], result["seconds"]
        typer.echo(f"{self.name} {cell.name}: validation {score:.4f} after {seconds:,.0f} s", err=True)
        kept()
        return True

    def _tested(self, cell: Cell, clock: Clock, tell: Tell, kept: Callable[[], object]) -> bool:
        if self.runs.finished(cell) is not None:
            return True
        # Checkpoints are no results: a checkout of the results alone has none.
        if not self._trained(cell, clock, tell, kept, anew=not self.runs.can_be_tested(cell)):
            return False
        self.runs.test(cell)
        kept()
        return True

    def _usual_seconds(self) -> float:
        """Return what the slowest run of this data set took so far."""
        results = [
            self.runs.trained(Cell(method, seed, point))
            for method in self.methods
            for seed in self.seeds
            for point in self.table.grid
        ]
        return max((result["seconds"] for result in results if result is not None), default=0.0)


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


def write_report(parts: Sequence[Part], out: Path) -> dict[str, Any]:
    """Write reproduction.json and reproduction.md from the cells' files, one section a part; return the former."""
    table, seeds = parts[0].table, parts[0].seeds
    sections: dict[str, list[dict[str, Any]]] = {}
    text = f"# {table.file.stem}: {table.model}, seeds {', '.join(map(str, seeds))}\n"
    for part in parts:
        published = table.published.get(part.name, {})
        rows = [row(part.runs, table, method, seeds, published.get(method.label, {})) for method in part.methods]
        text += markdown(part.name, rows, table, part.runs.measured)
        sections[part.name] = rows
    result = {
        "table": table.file.name,
        "model": table.model,
        "metric": table.metric,
        "seeds": list(seeds),
        "pairs": {part.name: part.runs.epochs * part.runs.pairs_per_epoch for part in parts},
        "datasets": sections,
    }
    write(out / "reproduction.json", to_json(result))
    write(out / "reproduction.md", f"{text}\n{NOTE}\n")
    return result
