"""Measure the training-free figures, a grid of 1,000 points, and KL at 100 M interactions.

    python -m benchmarks.bench_analysis                     KL on synthetic stores
    python -m benchmarks.bench_analysis --data-dir DIR      and every figure on DIR/beauty and DIR/ml-1m
    python -m benchmarks.bench_analysis --quick             a smoke test on toy sizes

A whole run writes benchmarks/results/analysis.json and analysis.md, a quick one outputs/benchmarks/.
"""

from __future__ import annotations

import typer

from benchmarks import analysis
from benchmarks.session import COMMITTED, DATA_DIR, SCRATCH, Benchmark, DataDir, Quick, Results, Scratch

BENCHMARK = Benchmark(
    "analysis",
    "benchmarks.bench_analysis",
    "Training-free figures: what they cost",
    "as many as cores where none are named",
    analysis.goals,
    analysis.tables,
)


def main(quick: Quick = False, data_dir: DataDir = None, results: Results = None, scratch: Scratch = None) -> None:
    """Measure the cost of a figure on one or two threads and compare it with its goals."""
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
