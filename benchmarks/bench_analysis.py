"""Measure the training-free figures: KL, alignment and discrimination, a grid of 1,000 points, KL at 100 M.

    python -m benchmarks.bench_analysis                     KL on synthetic stores
    python -m benchmarks.bench_analysis --data-dir DIR      and every figure on DIR/beauty and DIR/ml-1m
    python -m benchmarks.bench_analysis --quick             a smoke test on toy sizes

A whole run writes benchmarks/results/analysis.json and analysis.md, a quick one outputs/benchmarks/.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks import analysis, environment, report
from benchmarks.bench_data import COMMITTED, DATA_DIR, SCRATCH, run_all
from genpas_plugins.atomic import replaced_file

MODULE = "benchmarks.bench_analysis"


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Toy sizes: does it run? The figures mean nothing.")] = False,
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", envvar=DATA_DIR, help="Folder with beauty/interactions.parquet and ml-1m/…"),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option("--results", help="Folder for analysis.json and analysis.md instead of the usual one."),
    ] = None,
    scratch: Annotated[
        Path | None, typer.Option("--scratch", help="Folder for the generated data, about 1 GB; emptied at the end.")
    ] = None,
) -> None:
    """Measure what a figure costs on one or two threads, and hold it against its goals."""
    shapes = analysis.QUICK_SHAPES if quick else analysis.SHAPES
    absent = [
        name
        for name in analysis.DATA_SETS
        if data_dir is None or not (data_dir / name / "interactions.parquet").is_file()
    ]
    content: dict[str, Any] = {
        "format": 1,
        "quick": quick,
        "command": f"python -m {MODULE}"
        + (" --quick" if quick else "")
        + (f" --data-dir ${DATA_DIR}" if data_dir else ""),
        **environment.describe(),
        "threads": "as many as cores where none are named",
        "data": {f"synthetic {shape.interactions:,}": str(shape) for shape in shapes},
        "skipped": [f"{name} is not measured: give its folder with --data-dir or ${DATA_DIR}." for name in absent],
    }
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="genpas-bench-", dir=scratch) as folder:
        sections = run_all(list(analysis.jobs(shapes, 1 if quick else 5, Path(folder), data_dir)))
    goals = analysis.goals(sections)
    content |= {
        "seconds": round(time.perf_counter() - begin, 1),
        "sections": sections,
        "goals": [goal.to_dict() for goal in goals],
    }
    tables = analysis.tables(sections, goals)
    report.show(Console(width=None if sys.stdout.isatty() else 150), content, tables)
    text = report.markdown(content, tables, module=MODULE, title="Training-free figures: what they cost")
    target = results or (SCRATCH if quick else COMMITTED)
    for name, lines in (
        ("analysis.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n"),
        ("analysis.md", text),
    ):
        with replaced_file(target / name) as temporary:
            temporary.write_text(lines, encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
