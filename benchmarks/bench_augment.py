"""Measure the input operators. The plain stream, without an operator, is the reference.

    python -m benchmarks.bench_augment                     on synthetic data of Beauty's size
    python -m benchmarks.bench_augment --data-dir DIR      on DIR/beauty/interactions.parquet
    python -m benchmarks.bench_augment --quick             a smoke test on toy sizes

A whole run writes benchmarks/results/augment.json and augment.md, a quick one outputs/benchmarks/.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import typer

from benchmarks import timing
from benchmarks.goals import Goal
from benchmarks.jobs import Job
from benchmarks.report import Grid, goals_grid
from benchmarks.sampler import BATCH, BEAUTY, MAX_LENGTH
from benchmarks.session import COMMITTED, DATA_DIR, SCRATCH, Benchmark, DataDir, Quick, Results, Scratch, Sections
from genpas_plugins import PairStream, SamplingPolicy, SequenceStore, gather_padded, pair_stream
from genpas_plugins.augment import OPERATORS, augment_stream
from genpas_plugins.sampling.backend import BACKENDS
from genpas_plugins.support.array_types import Int64

SECTION = "operators"
PLAIN = "plain"
RATE = 0.3
PROBABILITIES = (1.0, 0.5)
BOUND = 2.0

_LIKE_BEAUTY, _TOY = (22_363, 12_101), (400, 200)
"""Users and items."""


def main(quick: Quick = False, data_dir: DataDir = None, results: Results = None, scratch: Scratch = None) -> None:
    """Measure every operator with both backends on one thread and compare it with the plain stream."""
    beauty = data_dir / "beauty" / "interactions.parquet" if data_dir is not None else None
    skipped = []
    if beauty is None or not beauty.is_file():
        skipped.append(f"Synthetic data are used instead of Beauty: give its folder with --data-dir or ${DATA_DIR}.")
        beauty = None
    users, items = _TOY if quick else _LIKE_BEAUTY
    BENCHMARK.run(
        lambda folder: plan(folder, users, items, beauty, quick),
        results or (SCRATCH if quick else COMMITTED),
        command=BENCHMARK.command(quick=quick, data_dir=beauty is not None),
        quick=quick,
        data={
            "store": "Amazon Beauty, 5-core"
            if beauty
            else f"{users:,} users of 5 items and more, 9 on average; {items:,} items",
            "stream": f"multi_target, batches of {BATCH}, histories of at most {MAX_LENGTH} items",
            "operators": f"rate {RATE}",
        },
        skipped=skipped,
        scratch=scratch,
    )


def plan(folder: Path, users: int, items: int, beauty: Path | None, quick: bool) -> Iterator[Job]:
    """Yield the jobs: the store, then one process for each backend."""
    path, name = folder / "store", BEAUTY if beauty else "synthetic"
    if beauty:
        yield Job("data", {"make": name}, "sampler", "read_store", {"path": path, "source": beauty}, recorded=False)
    else:
        shape = {"path": path, "users": users, "items": items}
        yield Job("data", {"make": name}, "bench_augment", "make_store", shape, recorded=False)
    batches, repeats = (1, 1) if quick else (30, 15)
    for backend in BACKENDS:
        arguments = {"path": path, "backend": backend, "batches": batches, "repeats": repeats}
        yield Job(SECTION, {"store": name, "backend": backend}, "bench_augment", "measure", arguments)


def make_store(path: str, users: int, items: int) -> dict[str, Any]:
    """Make a store with short histories: at least 5 items and 9 on average, as in Beauty."""
    random = np.random.default_rng(7)
    lengths = 4 + random.geometric(0.2, users)
    values = random.integers(1, items, lengths.sum(), endpoint=True)
    SequenceStore.from_arrays(values, np.cumsum([0, *lengths]), n_items=items).save(path)
    return {}


def measure(path: str, backend: str, batches: int, repeats: int) -> dict[str, Any]:
    """Return the processor seconds a batch of the plain stream and of every operator, in turns.

    loops : [{"operator", "probability", "cpu"}], the plain stream first; "cpu" is a spread
    """
    store = SequenceStore.open(path)
    stream = pair_stream(store.leave_last_out().train, SamplingPolicy.named("multi_target"), seed=7, backend=backend)
    loops: dict[tuple[str, float], Callable[[int], None]] = {
        (PLAIN, 1.0): lambda step: _draw_plain(store, stream, step)
    }
    for name, operator in OPERATORS.items():
        for probability in PROBABILITIES:
            changed = augment_stream(stream, [operator(RATE, probability)])
            loops[name, probability] = lambda step, changed=changed: _draw_augmented(store, changed, step)  # type: ignore[misc]
    seen: dict[tuple[str, float], list[float]] = {key: [] for key in loops}
    for repeat in range(repeats + 1):
        for key, loop in loops.items():
            begin = time.process_time()
            for number in range(batches):
                loop(number)
            if repeat:
                seen[key].append((time.process_time() - begin) / batches)
    return {
        "loops": [
            {"operator": name, "probability": probability, "cpu": timing.spread(values)}
            for (name, probability), values in seen.items()
        ]
    }


def _indices(stream: PairStream, step: int) -> Int64:
    return np.arange(step * BATCH, (step + 1) * BATCH) % stream.pairs_per_epoch


def _draw_plain(store: SequenceStore, stream: PairStream, step: int) -> None:
    pairs = stream.pairs(0, _indices(stream, step))
    gather_padded(store.values, store.offsets, pairs, MAX_LENGTH, backend=stream.backend)


def _draw_augmented(store: SequenceStore, stream: PairStream, step: int) -> None:
    batch = stream.batch(0, _indices(stream, step), MAX_LENGTH)
    store.values[batch.targets.rows]
    batch.histories.padded(MAX_LENGTH)


def goals(sections: Sections) -> list[Goal]:
    """Compare each operator at its slower probability with twice the plain stream. Fastest repeats count."""
    found = []
    for record in sections.get(SECTION, []):
        worst: dict[str, float] = {}
        for loop in record["loops"][1:]:
            times = loop["cpu"]["min"] / record["loops"][0]["cpu"]["min"]
            worst[loop["operator"]] = max(worst.get(loop["operator"], 0), times)
        found += [
            Goal(
                SECTION,
                f"{record['store']}, {record['backend']}: {name} beside the plain stream",
                times,
                BOUND,
                False,
                "×",
            )
            for name, times in worst.items()
        ]
    return found


def tables(sections: Sections, goals: Sequence[Goal]) -> list[Grid]:
    """Return the table of all loops and the table of the goals."""
    rows = [
        [
            record["backend"],
            loop["operator"],
            f"{loop['probability']:g}",
            timing.text(loop["cpu"], 3, 1e-3),
            f"{BATCH / loop['cpu']['median'] / 1e6:.2f}",
            f"{loop['cpu']['min'] / record['loops'][0]['cpu']['min']:.2f}",
        ]
        for record in sections.get(SECTION, [])
        for loop in record["loops"]
    ]
    head = ["backend", "operator", "probability", "ms a batch", "M pairs/s", "× plain (fastest repeats)"]
    return [Grid("Operators: processor time, batches of 4096", head, rows), goals_grid(goals)]


BENCHMARK = Benchmark("augment", "benchmarks.bench_augment", "Input operators: what they cost", 1, goals, tables)

if __name__ == "__main__":
    typer.run(main)
