"""Measure training SASRec with other libraries and with this one: same data, same sizes, one thread.

    python -m benchmarks.bench_peers --data-dir DIR                    processor seconds a million targets
    python -m benchmarks.bench_peers --data-dir DIR --to-quality       until validation NDCG@10 is 0.06 too
    python -m benchmarks.bench_peers --way "cornac 3.0.1" --way …      some rows alone
    python -m benchmarks.bench_peers --quick                           a smoke test of one row, which installs nothing

Each library has an environment of its own in build/peers, made once from pins. A row that was measured at this commit
is kept there and not measured again. A run writes benchmarks/results/peers.json and peers.md, a quick one
outputs/benchmarks/. The loss alone is measured too, on catalogues of 10⁴ to 10⁶ items.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import catalogue_size, environment, peer_rows
from benchmarks.bench_training import data_jobs, find_beauty, interactions
from benchmarks.goals import Goal
from benchmarks.jobs import Job
from benchmarks.peer_environments import PINS
from benchmarks.peer_rows import QUALITY, ROWS, STEPS
from benchmarks.peers import Network
from benchmarks.report import Grid, goals_grid
from benchmarks.session import COMMITTED, SCRATCH, Benchmark, DataDir, Quick, Results, Scratch, Sections
from benchmarks.training_setup import PARALLEL

LINE = 0.06
KEPT = environment.ROOT / "build" / "peers"
_ROUNDS = 2
QUICK_ROWS = (PARALLEL,)

ToQuality = Annotated[bool, typer.Option("--to-quality", help="The time to the quality line too: hours.")]
Ways = Annotated[list[str] | None, typer.Option("--way", help="Only this row; can be repeated.")]
Seconds = Annotated[float, typer.Option("--seconds", help="Processor seconds that a row has for the quality line.")]


def main(
    *,
    quick: Quick = False,
    to_quality: ToQuality = False,
    way: Ways = None,
    seconds: Seconds = 3600.0,
    data_dir: DataDir = None,
    results: Results = None,
    scratch: Scratch = None,
) -> None:
    """Measure the rows and compare them with the goals."""
    beauty, skipped = find_beauty(data_dir)
    names = tuple(way) if way else QUICK_ROWS if quick else tuple(ROWS)
    if unknown := [name for name in names if name not in ROWS]:
        raise typer.BadParameter(f"unknown row {unknown[0]!r}: use one of {', '.join(ROWS)}", param_hint="--way")
    left_out = [name for name in ROWS if name not in names]
    if left_out:
        skipped.append(f"Not run: {', '.join(left_out)}.")
    if not to_quality:
        skipped.append("The time to the quality line was not measured: --to-quality.")
    words = [*(["--to-quality", "--seconds", f"{seconds:g}"] if to_quality else [])]
    words += itertools.chain.from_iterable(("--way", name) for name in way or ())
    BENCHMARK.run(
        lambda folder: plan(folder, beauty, quick, names, seconds if to_quality else 0.0),
        results or (SCRATCH if quick else COMMITTED),
        command=BENCHMARK.command(quick=quick, data_dir=beauty is not None, words=words),
        quick=quick,
        data={
            "interactions": interactions(beauty),
            "model": "SASRec, 64 dimensions, 2 blocks, 2 heads, dropout 0.2, histories of at most 50 items",
            "feed-forward": "256 wide in RecBole and fast_transformers, 64 in the others: their own default",
            "a target": "a position with a loss, of the items before each user's last two",
            "measured": "loading, both passes and optimiser step, in the library's own loop, after a warm-up",
            "batch": "RecTools and RePlay 128 sequences, cornac 512 targets, RecBole and ours 2048 targets",
            "peers": "; ".join(", ".join(pins) for pins in PINS.values())
            + ", on this project's torch, numpy and pandas",
        },
        skipped=skipped,
        scratch=scratch,
    )


def plan(folder: Path, beauty: Path | None, quick: bool, names: tuple[str, ...], seconds: float) -> Iterator[Job]:
    """Yield the jobs: data, rounds of steps and, if there are `seconds`, the time to quality."""
    yield from data_jobs(folder, beauty, quick)
    commit = str(environment.describe()["commit"])
    # Rows of a changed tree, or of toys, are not kept.
    kept = folder / "rows" if quick or commit.endswith("+") else KEPT / commit[:12]
    network = Network(8, 1, 1) if quick else Network()
    limits: dict[str, Any] = {"warm_up": 1, "targets": 1 if quick else 12_000, "seconds": 600.0}
    given = {"folder": folder, "environments": KEPT / "environments", "kept": kept, "network": asdict(network)}
    given |= {"fork": quick}
    yield from peer_rows.jobs(STEPS, names, 1 if quick else _ROUNDS, {**given, "limits": limits})
    yield from catalogue_size.jobs(quick)
    if seconds:
        limits = {"warm_up": 0, "targets": 0, "seconds": seconds, "quality": LINE}
        yield from peer_rows.jobs(QUALITY, names, 1, {**given, "limits": limits})


def goals(sections: Sections) -> list[Goal]:
    """Return all goals."""
    return peer_rows.goals(sections.get(STEPS, []), sections.get(QUALITY, []), LINE)


def tables(sections: Sections, held: Sequence[Goal]) -> list[Grid]:
    """Return the tables of the measurements and the table of the goals."""
    reached = sections.get(QUALITY)
    found = [peer_rows.speed_table(sections[STEPS]), *([peer_rows.quality_table(reached, LINE)] if reached else [])]
    return [*found, *catalogue_size.tables(sections[catalogue_size.SECTION]), goals_grid(held)]


BENCHMARK = Benchmark("peers", "benchmarks.bench_peers", "Training SASRec: other libraries", 1, goals, tables)

if __name__ == "__main__":
    typer.run(main)
