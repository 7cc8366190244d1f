"""Measure the training-free figures, a grid of 1,000 points, and KL at 100 M interactions.

    python -m benchmarks.bench_analysis                     KL on synthetic stores
    python -m benchmarks.bench_analysis --data-dir DIR      and every figure on DIR/beauty and DIR/ml-1m
    python -m benchmarks.bench_analysis --longest 1000000   every figure of one sequence of 1,000 to so many items
    python -m benchmarks.bench_analysis --quick             a smoke test on toy sizes

A whole run writes analysis.json and analysis.md into benchmarks/results, and with --longest one_sequence.json and
one_sequence.md. A quick one writes into outputs/benchmarks.
"""

from __future__ import annotations

from typing import Annotated

import typer

from benchmarks import analysis, one_sequence
from benchmarks.session import COMMITTED, DATA_DIR, SCRATCH, Benchmark, DataDir, Quick, Results, Scratch

BENCHMARK = Benchmark(
    "analysis",
    "benchmarks.bench_analysis",
    "Training-free figures: what they cost",
    "as many as cores where none are named",
    analysis.goals,
    analysis.tables,
)

ONE_SEQUENCE = Benchmark(
    "one_sequence",
    "benchmarks.bench_analysis",
    "Training-free figures of one long sequence",
    1,
    one_sequence.goals,
    one_sequence.tables,
)
Longest = Annotated[int | None, typer.Option(min=10_000, help="Measure one sequence of 1,000, 10,000 … so many items.")]


def main(
    quick: Quick = False,
    data_dir: DataDir = None,
    results: Results = None,
    scratch: Scratch = None,
    longest: Longest = None,
) -> None:
    """Measure the cost of a figure on one or two threads and compare it with its goals."""
    if longest is not None:
        ONE_SEQUENCE.run(
            lambda folder: one_sequence.jobs(longest, folder),
            results or (SCRATCH if quick else COMMITTED),
            command=ONE_SEQUENCE.command(quick=quick, data_dir=False, words=["--longest", str(longest)]),
            quick=quick,
            data={},
            skipped=[],
            scratch=scratch,
        )
        return
    shapes = analysis.QUICK_SHAPES if quick else analysis.SHAPES
    absent = [
        name
        for name in analysis.DATA_SETS
        if data_dir is None or not (data_dir / name / "interactions.parquet").is_file()
    ]
    BENCHMARK.run(
        lambda folder: analysis.jobs(shapes, 1 if quick else 5, folder, data_dir),
        results or (SCRATCH if quick else COMMITTED),
        command=BENCHMARK.command(quick=quick, data_dir=data_dir is not None),
        quick=quick,
        data={f"synthetic {shape.interactions:,}": str(shape) for shape in shapes},
        skipped=[f"{name} is not measured: give its folder with --data-dir or ${DATA_DIR}." for name in absent],
        scratch=scratch,
    )


if __name__ == "__main__":
    typer.run(main)
