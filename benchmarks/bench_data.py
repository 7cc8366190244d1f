"""Measure RecBole's preparation and iteration, the core sampler, and a store of 100 M interactions.

    python -m benchmarks.bench_data                     everything on synthetic data
    python -m benchmarks.bench_data --data-dir DIR      and the sampler on DIR/beauty/interactions.parquet
    python -m benchmarks.bench_data --only sampler      one measurement
    python -m benchmarks.bench_data --quick             a smoke test on toy sizes

A whole run writes benchmarks/results/data.json and data.md, any other one outputs/benchmarks/.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import iteration, large_store, preparation, sampler
from benchmarks.goals import Goal
from benchmarks.jobs import Job
from benchmarks.report import Grid, goals_grid
from benchmarks.session import COMMITTED, DATA_DIR, SCRATCH, Benchmark, DataDir, Quick, Results, Scratch, Sections
from benchmarks.sizes import FULL, QUICK, Sizes

SECTIONS = {module.SECTION: module for module in (preparation, iteration, sampler, large_store)}

Section = Enum("Section", {name: name for name in SECTIONS}, type=str)  # type: ignore[misc]  # computed members


def main(
    quick: Quick = False,
    data_dir: DataDir = None,
    only: Annotated[list[Section] | None, typer.Option("--only", help="Measure this; may be repeated.")] = None,
    results: Results = None,
    scratch: Scratch = None,
) -> None:
    """Measure the data path on one thread and compare it with its goals."""
    sizes = QUICK if quick else FULL
    chosen = [section.value for section in only] if only else list(SECTIONS)
    beauty = data_dir / "beauty" / "interactions.parquet" if data_dir is not None else None
    skipped = []
    if "sampler" in chosen and (beauty is None or not beauty.is_file()):
        skipped.append(f"Beauty is not measured: give its folder with --data-dir or ${DATA_DIR}.")
        beauty = None
    words = [word for name in chosen for word in ("--only", name)] if only else []
    BENCHMARK.run(
        lambda folder: plan(chosen, sizes, folder, beauty),
        results or (SCRATCH if quick or only else COMMITTED),
        command=BENCHMARK.command(quick=quick, data_dir=data_dir is not None, words=words),
        quick=quick,
        data={
            "RecBole .inter file": str(sizes.recbole),
            sampler.ML_20M: str(sizes.ml_20m),
            "small store": str(sizes.small),
            "large store": str(sizes.large),
        },
        skipped=skipped,
        scratch=scratch,
    )


def plan(chosen: Sequence[str], sizes: Sizes, folder: Path, beauty: Path | None) -> Iterator[Job]:
    """Yield the jobs of the chosen sections in order. A job that two sections need is in both."""
    planned = {
        preparation.SECTION: preparation.jobs(sizes, folder),
        iteration.SECTION: iteration.jobs(sizes, folder),
        sampler.SECTION: sampler.jobs(sizes, folder, beauty),
        large_store.SECTION: large_store.jobs(sizes, folder),
    }
    for section, jobs in planned.items():
        if section in chosen:
            yield from jobs


def goals(sections: Sections) -> list[Goal]:
    """Return the goals of every section that was measured."""
    return [goal for name, records in sections.items() for goal in SECTIONS[name].goals(records)]


def tables(sections: Sections, goals: Sequence[Goal]) -> list[Grid]:
    """Return a table for each measured section and the table of the goals."""
    found = [Grid(SECTIONS[name].TITLE, *SECTIONS[name].table(records)) for name, records in sections.items()]
    return [*found, goals_grid(goals)]


BENCHMARK = Benchmark("data", "benchmarks.bench_data", "Data path: what it costs", 1, goals, tables)

if __name__ == "__main__":
    typer.run(main)
