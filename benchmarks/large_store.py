"""Compare a store of 100 million interactions with a small one: opening, first batch, memory and pairs a second.

Every measurement is a fresh process. "Warm": the file's pages are in the system's cache.
"Cold": the pages were dropped from the cache. The first batch then waits for the disk.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import memory, timing
from benchmarks.goals import Goal
from benchmarks.jobs import Job
from benchmarks.sizes import Shape, Sizes

SECTION = "large_store"
TITLE = "A store of 100 M interactions, sampled 1,0,0, batches of 4096 padded to 50"
BACKENDS = ("numpy", "numba")


def jobs(sizes: Sizes, folder: Path) -> Iterator[Job]:
    """Yield the jobs: build both stores, then use each with every backend and state of the cache."""
    stores = {"small": folder / "small", "large": folder / "large"}
    for (name, path), shape in zip(stores.items(), (sizes.small, sizes.large), strict=True):
        arguments: dict[str, Any] = {"path": path, "shape": shape}
        yield Job(SECTION, {"step": "build", "store": name}, "large_store", "build", arguments)
    # numba compiles once per machine and source; this run leaves its cache warm for the measured ones.
    arguments = {"path": stores["small"], "backend": "numba", "cold": False, "batches": 1, "repeats": 1}
    yield Job("data", {"make": "numba's cache"}, "large_store", "use", arguments, recorded=False)
    for backend, (name, cold) in itertools.product(BACKENDS, (("small", False), ("large", False), ("large", True))):
        label = {"step": "use", "store": name, "backend": backend, "cache": "cold" if cold else "warm"}
        arguments = {
            "path": stores[name],
            "backend": backend,
            "cold": cold,
            "batches": sizes.sampler_batches,
            "repeats": sizes.sampler_repeats,
        }
        yield Job(SECTION, label, "large_store", "use", arguments)


def build(path: str, shape: dict[str, int]) -> dict[str, Any]:
    """Make the store and return seconds and bytes on disk."""
    from benchmarks.synthetic import write_store

    seconds = timing.seconds(lambda: write_store(Path(path), Shape(**shape)))
    files = list(Path(path).iterdir())
    for file in files:
        with file.open("rb") as stream:
            os.fsync(stream.fileno())  # pages that are not on disk yet cannot be dropped from the cache
    return {"build_s": seconds, "disk_bytes": sum(file.stat().st_size for file in files)}


def use(path: str, backend: str, cold: bool, batches: int, repeats: int) -> dict[str, Any]:
    """Open the store and draw and gather one batch. Then repeat it.

    open_s        : SequenceStore.open, the package being imported
    first_batch_s : from the open store to its first batch: tables, import of the backend, draw, gather
    pairs_per_s, draws_per_s : spreads, draw and gather, draw alone
    beyond_file_bytes : largest resident memory seen without the store's own pages; of it, `imported_bytes` stood there
        before the store was opened
    """
    from benchmarks.sampler import BATCH, POLICIES, Stages
    from genpas_plugins import SequenceStore, pair_stream

    folder = Path(path)
    if cold:
        _drop_pages(folder)
    imported = memory.beyond_files(folder)
    begin = time.perf_counter()
    store = SequenceStore.open(folder)
    opened = time.perf_counter()
    stream = pair_stream(store.leave_last_out().train, POLICIES["sampled 1,0,0"], seed=7, backend=backend)
    ready = time.perf_counter()
    stages = Stages(store, stream, "padded", batches=1)  # draws and gathers its first batch
    first = time.perf_counter()
    seen = [memory.beyond_files(folder)]
    stages.batches = batches

    def both() -> int:
        done = stages.both()
        seen.append(memory.beyond_files(folder))
        return done

    rates = timing.rates({"draw": stages.draw, "both": both}, repeats)
    return {
        "open_s": opened - begin,
        "tables_s": ready - opened,
        "first_batch_s": first - opened,
        "pairs_per_s": rates["both"],
        "draws_per_s": rates["draw"],
        "imported_bytes": imported,
        "beyond_file_bytes": max(seen),
        "pairs_drawn": 2 * batches * BATCH * (repeats + 1),
    }


def _drop_pages(folder: Path) -> None:
    for file in folder.iterdir():
        with file.open("rb") as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _select_used(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [record for record in records if record["step"] == "use"]


def goals(records: Sequence[dict[str, Any]]) -> list[Goal]:
    """Compare the large store with the bounds, for numpy and numba and a warm cache."""
    by_key = {(record["store"], record["backend"], record["cache"]): record for record in _select_used(records)}
    goals = []
    for backend in BACKENDS:
        large, small = by_key["large", backend, "warm"], by_key["small", backend, "warm"]
        slower = small["pairs_per_s"]["median"] / large["pairs_per_s"]["median"]
        goals += [
            Goal(SECTION, f"{backend}: open", large["open_s"], 1, False, "s"),
            Goal(SECTION, f"{backend}: first batch", large["first_batch_s"], 1, False, "s"),
            Goal(SECTION, f"{backend}: memory beyond file pages", large["beyond_file_bytes"] / 1e6, 500, False, "MB"),
            Goal(SECTION, f"{backend}: pairs/s, small store / large", slower, 3, False, "×"),
        ]
    return goals


def table(records: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows."""
    head = [
        "store",
        "backend",
        "cache",
        "build s",
        "open ms",
        "first batch ms",
        "M pairs/s",
        "M draws/s",
        "MB beyond file pages",
    ]
    built = {record["store"]: record["build_s"] for record in records if record["step"] == "build"}
    rows = [
        [
            record["store"],
            record["backend"],
            record["cache"],
            f"{built[record['store']]:.1f}",
            f"{record['open_s'] * 1e3:.1f}",
            f"{record['first_batch_s'] * 1e3:.0f}",
            timing.text(record["pairs_per_s"], 2, 1e6),
            timing.text(record["draws_per_s"], 2, 1e6),
            f"{record['beyond_file_bytes'] / 1e6:.0f} ({record['imported_bytes'] / 1e6:.0f} before opening)",
        ]
        for record in _select_used(records)
    ]
    return head, rows
