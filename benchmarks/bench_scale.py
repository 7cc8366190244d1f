"""Measure a store of industrial shape: 69.38 M users, 42,805 items, 1.527 billion interactions.

    python -m benchmarks.bench_scale              needs 14 GB of disk for a while; with less, a half, a quarter, …
    python -m benchmarks.bench_scale --quick      a smoke test on toy sizes

The store is made up (benchmarks.synthetic), streamed to disk, and deleted at the end. A whole run writes
benchmarks/results/scale.json and scale.md, a quick one outputs/benchmarks/.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import typer

from benchmarks import large_store, memory
from benchmarks.goals import Goal
from benchmarks.jobs import Job
from benchmarks.report import Grid, goals_grid
from benchmarks.session import COMMITTED, SCRATCH, Benchmark, Quick, Results, Scratch, Sections
from benchmarks.sizes import Shape
from benchmarks.timing import text

INDUSTRIAL = Shape(69_380_000, 42_805, 1_527_000_000)
_TOY = Shape(2_000, 300, 100_000)
_DISK = 9.2
"""Bytes an interaction while the store is made: the numbers twice, a little more for the users."""

BUILD, USE, KL = "build", "use", "divergence"


def main(quick: Quick = False, results: Results = None, scratch: Scratch = None) -> None:
    """Build, open and use the store, and compare a policy with the validation targets."""
    shape, halvings = fitting(_TOY if quick else INDUSTRIAL, shutil.disk_usage(scratch or tempfile.gettempdir()).free)
    skipped = [f"The disk has no room for the whole shape: 1/{2**halvings} of its users."] if halvings else []
    BENCHMARK.run(
        lambda folder: plan(folder, shape, quick),
        results or (SCRATCH if quick else COMMITTED),
        command=BENCHMARK.command(quick=quick, data_dir=False),
        quick=quick,
        data={"store": f"{shape}; lengths from 20 on, items by a power law"},
        skipped=skipped,
        scratch=scratch,
    )


def fitting(shape: Shape, free: int) -> tuple[Shape, int]:
    """Halve users and interactions until the store fits into `free` bytes. Return shape and halvings."""
    halvings = 0
    while (shape.interactions >> halvings) * _DISK > free:
        halvings += 1
    return Shape(shape.users >> halvings, shape.items, shape.interactions >> halvings), halvings


def plan(folder: Path, shape: Shape, quick: bool) -> Iterator[Job]:
    """Yield the jobs: build, use by both backends and divergence."""
    path, toy = folder / "store", folder / "toy"
    yield Job(BUILD, {"store": str(shape)}, "bench_scale", "build", {"path": path, "shape": shape})
    # numba compiles once per machine and source; this run leaves its cache warm for the measured one.
    yield Job("data", {"make": "a toy store"}, "large_store", "build", {"path": toy, "shape": _TOY}, recorded=False)
    warm = {"path": toy, "backend": "numba", "cold": False, "batches": 1, "repeats": 1}
    yield Job("data", {"make": "numba's cache"}, "large_store", "use", warm, recorded=False)
    for backend in large_store.BACKENDS:
        for cold in (True, False):
            label = {"backend": backend, "cache": "cold" if cold else "warm"}
            batches, repeats = (1, 1) if quick else (100, 5)
            arguments = {"path": path, "backend": backend, "cold": cold, "batches": batches, "repeats": repeats}
            yield Job(USE, label, "bench_scale", "use", arguments)
    yield Job(KL, {"policy": "1,0,0"}, "bench_scale", "divergence", {"path": path})


def build(path: str, shape: dict[str, int]) -> dict[str, Any]:
    """Make the store. Return what `large_store.build` does and the peak of resident memory."""
    return {**large_store.build(path, shape), "peak_bytes": memory.peak()}


def use(path: str, backend: str, cold: bool, batches: int, repeats: int) -> dict[str, Any]:
    """Open the store and draw. Return what `large_store.use` does and the resident memory with the file's pages."""
    seen = large_store.use(path, backend, cold, batches, repeats)
    return {**seen, "resident_bytes": memory.peak()}


def divergence(path: str) -> dict[str, Any]:
    """Compare a policy with the validation targets. Return KL in nats, seconds and peak memory."""
    import numpy as np

    from genpas_plugins import SamplingPolicy, SequenceStore
    from genpas_plugins.analysis.divergence import kl_divergence
    from genpas_plugins.analysis.target_distribution import target_distribution

    begin = time.perf_counter()
    store = SequenceStore.open(path)
    split = store.leave_last_out()
    last = split.validation.last_pairs()
    targets = store.values[store.offsets[last.sequence] + last.target]
    validation = np.bincount(targets, minlength=store.n_items + 1) / len(targets)
    kl = kl_divergence(validation, target_distribution(split.train, SamplingPolicy(1, 0, 0)))
    return {
        "kl": float(kl),
        "seconds": time.perf_counter() - begin,
        "peak_bytes": memory.peak(),
        "beyond_file_bytes": memory.beyond_files(Path(path)),
    }


def tables(sections: Sections, held: Sequence[Goal]) -> list[Grid]:
    """Return the tables of the measurements and the table of the goals."""
    built = [
        [
            record["store"],
            f"{record['build_s']:,.0f}",
            f"{record['disk_bytes'] / 1e9:.2f}",
            f"{record['peak_bytes'] / 1e9:.2f}",
        ]
        for record in sections.get(BUILD, [])
    ]
    used = [
        [
            record["backend"],
            record["cache"],
            f"{record['open_s'] * 1e3:.0f}",
            f"{record['first_batch_s'] * 1e3:,.0f}",
            text(record["pairs_per_s"], 2, 1e6),
            f"{record['beyond_file_bytes'] / 1e6:,.0f}",
            f"{record['resident_bytes'] / 1e9:.2f}",
        ]
        for record in sections.get(USE, [])
    ]
    compared = [
        [
            record["policy"],
            f"{record['kl']:.6f}",
            f"{record['seconds']:,.0f}",
            f"{record['beyond_file_bytes'] / 1e9:.2f}",
            f"{record['peak_bytes'] / 1e9:.2f}",
        ]
        for record in sections.get(KL, [])
    ]
    beyond = "GB beyond file pages"
    return [
        Grid("Building it", ["store", "s", "GB on disk", "peak GB"], built),
        Grid(
            "Drawing from it, batches of 4096 padded to 50",
            ["backend", "cache", "open ms", "first batch ms", "M pairs/s", "MB beyond file pages", "peak GB"],
            used,
        ),
        Grid("KL to the validation targets", ["policy", "nats", "s", beyond, "peak GB"], compared),
        goals_grid(held),
    ]


def goals(sections: Sections) -> list[Goal]:
    """Compare memory with 2 GB. Pages of the file do not count: the system takes them back when it needs memory."""
    found = [
        Goal(USE, f"{record['backend']}, {record['cache']}: memory beyond file pages", size, 2000, False, "MB")
        for record in sections.get(USE, [])
        for size in [record["beyond_file_bytes"] / 1e6]
    ]
    return [
        *found,
        *(
            Goal(KL, "memory beyond file pages", record["beyond_file_bytes"] / 1e6, 2000, False, "MB")
            for record in sections.get(KL, [])
        ),
    ]


BENCHMARK = Benchmark("scale", "benchmarks.bench_scale", "A store of 1.5 billion interactions", 1, goals, tables)

if __name__ == "__main__":
    typer.run(main)
