"""Measure the drawing of addresses beside another tree of this project, both in turn, in processor time.

    python -m benchmarks.bench_draw_speed --baseline TREE     TREE is a checkout, such as `git worktree add TREE COMMIT`
    python -m benchmarks.bench_draw_speed --quick             this tree beside itself, a smoke test

A run writes benchmarks/results/draw_speed.json and draw_speed.md, a quick one outputs/benchmarks/.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import draw_speed
from benchmarks.environment import ROOT
from benchmarks.jobs import Job
from benchmarks.session import COMMITTED, SCRATCH, Benchmark, Quick, Results, Scratch

Baseline = Annotated[Path | None, typer.Option("--baseline", exists=True, file_okay=False, help="The other checkout.")]
BENCHMARK = Benchmark(
    *("draw_speed", "benchmarks.bench_draw_speed", "How fast addresses are drawn, beside an older commit", 1),
    draw_speed.goals,
    draw_speed.tables,
)


def main(quick: Quick = False, baseline: Baseline = None, results: Results = None, scratch: Scratch = None) -> None:
    """Measure both trees."""
    if baseline is None and not quick:
        raise typer.BadParameter("give the other checkout with --baseline TREE.")
    tree = baseline or ROOT
    BENCHMARK.run(
        lambda folder: _plan(folder, tree, quick),
        results or (SCRATCH if quick else COMMITTED),
        command=BENCHMARK.command(quick=quick, data_dir=False, words=[] if quick else ["--baseline", "TREE"]),
        quick=quick,
        data={"store": "made, 20,000 users" if not quick else "made, 100 users", "baseline": _commit(tree)},
        skipped=[],
        scratch=scratch,
    )


def _plan(folder: Path, baseline: Path, quick: bool) -> Iterator[Job]:
    made = {"path": folder / "store", "users": 100 if quick else 20_000}
    yield Job("data", {"make": "store"}, "draws", "make_store", made, recorded=False)
    backends, repeats = (("numpy",), 1) if quick else (draw_speed.BACKENDS, 7)
    yield from draw_speed.jobs(folder / "store", baseline, backends, repeats)


def _commit(tree: Path) -> str:
    command = ["git", "-C", str(tree), "rev-parse", "--short=12", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"commit {done.stdout.strip()}" if done.returncode == 0 else "a tree without a commit"


if __name__ == "__main__":
    typer.run(main)
