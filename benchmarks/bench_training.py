"""Measure training with stock RecBole, with trimmed batches, and with all targets of a window in one pass.

    python -m benchmarks.bench_training                     on synthetic data of Beauty's size
    python -m benchmarks.bench_training --data-dir DIR      on DIR/beauty/interactions.parquet, time to quality too
    python -m benchmarks.bench_training --steps             steps alone: the time to quality takes an hour, stock's most
    python -m benchmarks.bench_training --quick             a smoke test on toy sizes

A whole run writes benchmarks/results/training.json and training.md, a quick one outputs/benchmarks/.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import training_quality, training_speed
from benchmarks.goals import Goal
from benchmarks.jobs import Job
from benchmarks.report import Grid, goals_grid
from benchmarks.session import COMMITTED, DATA_DIR, SCRATCH, Benchmark, DataDir, Quick, Results, Scratch, Sections
from benchmarks.training_setup import BATCH, MAX_LENGTH

QUALITY, EPOCHS = 0.02, 12
_LIKE_BEAUTY, _TOY = (22_363, 12_101), (400, 200)
_TOY_NETWORK = {"hidden_size": 8, "inner_size": 16, "n_layers": 1, "n_heads": 1}


Steps = Annotated[bool, typer.Option("--steps", help="Steps alone, without the time to equal quality.")]


def main(
    quick: Quick = False,
    steps: Steps = False,
    data_dir: DataDir = None,
    results: Results = None,
    scratch: Scratch = None,
) -> None:
    """Measure training and compare it with its goals."""
    beauty, skipped = find_beauty(data_dir)
    skipped = ["A CUDA device was not measured.", *skipped]
    if steps:
        skipped.append("The time to equal quality was not measured.")
    BENCHMARK.run(
        lambda folder: plan(folder, beauty, quick, steps),
        results or (SCRATCH if quick else COMMITTED),
        command=BENCHMARK.command(quick=quick, data_dir=beauty is not None, words=["--steps"] if steps else []),
        quick=quick,
        data={
            "interactions": interactions(beauty),
            "model": f"SASRec, RecBole's sizes, dropout 0.5, cross-entropy, histories of at most {MAX_LENGTH} items",
            "batch": f"{BATCH} targets, with parallel on average",
        },
        skipped=skipped,
        scratch=scratch,
    )


def find_beauty(data_dir: Path | None) -> tuple[Path | None, list[str]]:
    """Return the interactions of Beauty if they are there, and what is skipped without them."""
    beauty = data_dir / "beauty" / "interactions.parquet" if data_dir is not None else None
    if beauty is not None and beauty.is_file():
        return beauty, []
    reason = f"Synthetic data replace Beauty and show no quality: give its folder with --data-dir or ${DATA_DIR}."
    return None, [reason]


def plan(folder: Path, beauty: Path | None, quick: bool, steps: bool) -> Iterator[Job]:
    """Yield the jobs: data, steps and, on real data, time to equal quality."""
    yield from data_jobs(folder, beauty, quick)
    exported, network = folder / "recbole", _TOY_NETWORK if quick else {}
    yield from training_speed.jobs(exported, network, 1 if quick else 8)
    if (beauty is not None or quick) and not steps:
        yield from training_quality.jobs(exported, network, 0.0 if quick else QUALITY, EPOCHS)


def interactions(beauty: Path | None) -> str:
    """Return what was trained on, in words."""
    return "Amazon Beauty, 5-core" if beauty else "synthetic, 9 a user on average"


def data_jobs(folder: Path, beauty: Path | None, quick: bool) -> Iterator[Job]:
    """Yield the jobs that make a store in `folder`/store and its .inter file in `folder`/recbole."""
    store = folder / "store"
    if beauty is not None:
        read = {"path": store, "source": beauty}
        yield Job("data", {"make": "store of Beauty"}, "sampler", "read_store", read, recorded=False)
    else:
        users, items = _TOY if quick else _LIKE_BEAUTY
        shape = {"path": store, "users": users, "items": items}
        yield Job("data", {"make": "synthetic store"}, "bench_augment", "make_store", shape, recorded=False)
    export = {"store": store, "folder": folder / "recbole"}
    yield Job("data", {"make": ".inter file"}, "training_setup", "export", export, recorded=False)


def goals(sections: Sections) -> list[Goal]:
    """Return all goals."""
    steps, quality = sections.get(training_speed.SECTION, []), sections.get(training_quality.SECTION, [])
    return [*training_speed.goals(steps), *training_quality.goals(quality)]


def tables(sections: Sections, held: Sequence[Goal]) -> list[Grid]:
    """Return the tables of the measurements and the table of the goals."""
    steps, quality = sections.get(training_speed.SECTION, []), sections.get(training_quality.SECTION, [])
    grids = [*training_speed.tables(steps), *(training_quality.tables(quality) if quality else [])]
    return [*grids, goals_grid(held)]


BENCHMARK = Benchmark("training", "benchmarks.bench_training", "Training SASRec: what a target costs", 1, goals, tables)

if __name__ == "__main__":
    typer.run(main)
