"""Run the jobs of a benchmark in turn, print tables, and write a JSON and a Markdown file."""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import environment, report
from benchmarks.goals import Goal
from benchmarks.jobs import Job, run
from genpas_plugins.support.atomic import replace_file

COMMITTED = environment.ROOT / "benchmarks" / "results"
SCRATCH = environment.ROOT / "outputs" / "benchmarks"
DATA_DIR = "GENPAS_DATA_DIR"

Sections = dict[str, list[dict[str, Any]]]
"""The records of each measurement."""

Quick = Annotated[bool, typer.Option("--quick", help="Toy sizes: does it run? The figures mean nothing.")]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", envvar=DATA_DIR, help="Folder with beauty/interactions.parquet, ml-1m/…")
]
Results = Annotated[
    Path | None, typer.Option("--results", help="Folder for the JSON and the Markdown file instead of the usual one.")
]
Scratch = Annotated[
    Path | None, typer.Option("--scratch", help="Folder for the generated data, about 1 GB; emptied at the end.")
]


@dataclass(frozen=True)
class Benchmark:
    """The common part of all runs of a benchmark.

    Parameters
    ----------
    name : of the result files, without ending
    module : for `python -m`
    title : of the Markdown file
    threads : number of threads of a measuring process, in words
    goals : compares the records with their bounds
    tables : of records and goals; the table of the goals is last
    """

    name: str
    module: str
    title: str
    threads: str | int
    goals: Callable[[Sections], list[Goal]]
    tables: Callable[[Sections, Sequence[Goal]], list[report.Grid]]

    def command(self, *, quick: bool, data_dir: bool, words: Sequence[str] = ()) -> str:
        """Return the command that repeats a run, with a variable in place of the path of the data folder."""
        line = shlex.join(["python", "-m", self.module, *(["--quick"] if quick else []), *words])
        return line + (f" --data-dir ${DATA_DIR}" if data_dir else "")

    def run(
        self,
        plan: Callable[[Path], Iterable[Job]],
        target: Path,
        *,
        command: str,
        quick: bool,
        data: Mapping[str, str],
        skipped: Sequence[str],
        scratch: Path | None,
    ) -> None:
        """Run the jobs of `plan` in a scratch folder, show the tables and write both files to `target`."""
        content: dict[str, Any] = {
            "format": 1,
            "quick": quick,
            "command": command,
            **environment.describe(),
            "threads": self.threads,
            "data": dict(data),
            "skipped": list(skipped),
        }
        begin, busy = time.perf_counter(), environment.busy_elsewhere()
        with tempfile.TemporaryDirectory(prefix="genpas-bench-", dir=scratch) as folder:
            sections = run_all(list(plan(Path(folder))), fork=quick)
        elapsed = time.perf_counter() - begin
        goals = self.goals(sections)
        content |= {
            "seconds": round(elapsed, 1),
            "other_load": round((environment.busy_elsewhere() - busy) / elapsed, 2),
            "sections": sections,
            "goals": [goal.to_dict() for goal in goals],
        }
        tables = self.tables(sections, goals)
        # A pipe says no width: then as wide as the widest table.
        report.show(Console(width=None if sys.stdout.isatty() else 150), content, tables)
        for ending, text in (
            ("json", json.dumps(content, indent=1, ensure_ascii=False) + "\n"),
            ("md", report.markdown(content, tables, module=self.module, title=self.title)),
        ):
            with replace_file(target / f"{self.name}.{ending}") as temporary:
                temporary.write_text(text, encoding="utf-8")


def run_all(jobs: Sequence[Job], *, fork: bool = False) -> Sections:
    """Run every job once and in turn, and return the records of each section."""
    sections: Sections = {}
    done: list[Job] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=len(jobs))
        for job in jobs:
            progress.update(task, description=job.title)
            if job not in done:
                result = run(job, fork=fork)
                if job.recorded:
                    sections.setdefault(job.section, []).append({**job.label, **result})
                done.append(job)
            progress.advance(task)
        progress.update(task, description="done")
    return sections
