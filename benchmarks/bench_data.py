"""Measure the data path: RecBole's preparation and iteration, the core sampler, and a store of 100 M interactions.

    python -m benchmarks.bench_data                     everything on synthetic data
    python -m benchmarks.bench_data --data-dir DIR      and the sampler on DIR/beauty/interactions.parquet
    python -m benchmarks.bench_data --only sampler      one measurement
    python -m benchmarks.bench_data --quick             a smoke test on toy sizes

A whole run writes benchmarks/results/data.json and data.md, any other one outputs/benchmarks/.
"""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import environment, iteration, large_store, preparation, report, sampler
from benchmarks.jobs import Job, run
from benchmarks.sizes import FULL, QUICK, Sizes
from genpas_plugins.atomic import replaced_file

COMMITTED = environment.ROOT / "benchmarks" / "results"
SCRATCH = environment.ROOT / "outputs" / "benchmarks"
DATA_DIR = "GENPAS_DATA_DIR"

Section = Enum("Section", {name: name for name in report.SECTIONS}, type=str)  # type: ignore[misc]  # computed members


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Toy sizes: does it run? The figures mean nothing.")] = False,
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", envvar=DATA_DIR, help="Folder with beauty/interactions.parquet."),
    ] = None,
    only: Annotated[list[Section] | None, typer.Option("--only", help="Measure this; may be repeated.")] = None,
    results: Annotated[
        Path | None, typer.Option("--results", help="Folder for data.json and data.md instead of the usual one.")
    ] = None,
    scratch: Annotated[
        Path | None, typer.Option("--scratch", help="Folder for the generated data, about 1 GB; emptied at the end.")
    ] = None,
) -> None:
    """Measure the data path side by side, one thread each, and hold it against its goals."""
    sizes = QUICK if quick else FULL
    chosen = [section.value for section in only] if only else list(report.SECTIONS)
    beauty = data_dir / "beauty" / "interactions.parquet" if data_dir is not None else None
    skipped = []
    if "sampler" in chosen and (beauty is None or not beauty.is_file()):
        skipped.append(f"Beauty is not measured: give its folder with --data-dir or ${DATA_DIR}.")
        beauty = None
    content: dict[str, Any] = {
        "format": 1,
        "quick": quick,
        "command": command(quick=quick, data_dir=data_dir is not None, only=chosen if only else ()),
        **environment.describe(),
        "threads": 1,
        "data": {
            "RecBole .inter file": str(sizes.recbole),
            sampler.ML_20M: str(sizes.ml_20m),
            "small store": str(sizes.small),
            "large store": str(sizes.large),
        },
        "skipped": skipped,
    }
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="genpas-bench-", dir=scratch) as folder:
        sections = run_all(list(plan(chosen, sizes, Path(folder), beauty)))
    goals = report.goals_of(sections)
    content |= {
        "seconds": round(time.perf_counter() - begin, 1),
        "sections": sections,
        "goals": [goal.to_dict() for goal in goals],
    }
    tables = report.grids(sections, goals)
    # A pipe says no width: then as wide as the widest table.
    report.show(Console(width=None if sys.stdout.isatty() else 150), content, tables)
    write(results or (SCRATCH if quick or only else COMMITTED), content, report.markdown(content, tables))


def plan(chosen: Sequence[str], sizes: Sizes, folder: Path, beauty: Path | None) -> Iterator[Job]:
    """Yield the jobs of the chosen sections in order; what two sections need stands in both."""
    planned = {
        preparation.SECTION: preparation.jobs(sizes, folder),
        iteration.SECTION: iteration.jobs(sizes, folder),
        sampler.SECTION: sampler.jobs(sizes, folder, beauty),
        large_store.SECTION: large_store.jobs(sizes, folder),
    }
    for section, jobs in planned.items():
        if section in chosen:
            yield from jobs


def run_all(jobs: Sequence[Job]) -> dict[str, list[dict[str, Any]]]:
    """Run every job once, one after the other, and return the records of each section."""
    sections: dict[str, list[dict[str, Any]]] = {}
    done: list[Job] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=len(jobs))
        for job in jobs:
            progress.update(task, description=job.title)
            if job not in done:
                result = run(job)
                if job.recorded:
                    sections.setdefault(job.section, []).append({**job.label, **result})
                done.append(job)
            progress.advance(task)
        progress.update(task, description="done")
    return sections


def command(*, quick: bool, data_dir: bool, only: Sequence[str]) -> str:
    """Return the command that repeats the run; the data folder as a variable, since its path is nobody's business."""
    words = ["python", "-m", "benchmarks.bench_data"]
    words += ["--quick"] if quick else []
    words += [word for name in only for word in ("--only", name)]
    return shlex.join(words) + (f" --data-dir ${DATA_DIR}" if data_dir else "")


def write(folder: Path, content: dict[str, Any], text: str) -> None:
    """Write data.json and data.md, each complete or not at all."""
    for name, lines in (("data.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n"), ("data.md", text)):
        with replaced_file(folder / name) as temporary:
            temporary.write_text(lines, encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
