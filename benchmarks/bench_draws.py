"""Count what an epoch of ten policies trains on, and how much its mean gradient varies.

    python -m benchmarks.bench_draws                    on made data
    python -m benchmarks.bench_draws --data-dir DIR     on DIR/beauty
    python -m benchmarks.bench_draws --quick            a smoke test on a few users

A run writes benchmarks/results/draws.json and draws.md, a quick one outputs/benchmarks/.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import typer

from benchmarks import draws
from benchmarks.jobs import Job
from benchmarks.session import COMMITTED, DATA_DIR, SCRATCH, Benchmark, DataDir, Quick, Results, Scratch

BENCHMARK = Benchmark("draws", "benchmarks.bench_draws", "Draws: what an epoch trains on", 1, draws.goals, draws.tables)


def main(quick: Quick = False, data_dir: DataDir = None, results: Results = None, scratch: Scratch = None) -> None:
    """Count an epoch of every policy, drawn independently, drawn as now, and enumerated."""
    beauty = data_dir / "beauty" / "interactions.parquet" if data_dir is not None and not quick else None
    known = beauty is not None and beauty.is_file()
    BENCHMARK.run(
        lambda folder: _plan(folder, beauty if known else None, 300 if quick else 20_000),
        results or (SCRATCH if quick else COMMITTED),
        command=BENCHMARK.command(quick=quick, data_dir=known),
        quick=quick,
        data={"store": "Beauty" if known else "made"},
        skipped=[] if known else [f"Beauty is not measured: give its folder with --data-dir or ${DATA_DIR}."],
        scratch=scratch,
    )


def _plan(folder: Path, beauty: Path | None, users: int) -> Iterator[Job]:
    path = folder / "store"
    if beauty is None:
        arguments = {"path": path, "users": users}
        yield Job("data", {"make": "store"}, "draws", "make_store", arguments, recorded=False)
    else:
        arguments = {"path": path, "source": beauty}
        yield Job("data", {"make": "store of Beauty"}, "draws", "read_store", arguments, recorded=False)
    yield from draws.jobs(path)


if __name__ == "__main__":
    typer.run(main)
