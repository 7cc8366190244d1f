"""Measure the memory of `genpas prepare`: a constant, and bytes a user and an item.

    python -m benchmarks.bench_prepare            needs 15 GB of disk for a while
    python -m benchmarks.bench_prepare --quick    a smoke test on toy sizes

Interactions are made up and in no order of users. The memory that counts is anonymous: the system can take pages of
files back, and only slows down. The largest case has the users of an industrial store, under a limit of 4 GB that the
kernel enforces (RLIMIT_DATA). A whole run writes benchmarks/results/prepare.json and prepare.md.
"""

from __future__ import annotations

import resource
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from benchmarks import memory
from benchmarks.goals import Goal
from benchmarks.jobs import Job
from benchmarks.report import Grid, goals_grid
from benchmarks.session import COMMITTED, SCRATCH, Benchmark, Quick, Results, Scratch, Sections

USERS, ITEMS, INTERACTIONS = 69_380_000, 42_805, 1_527_000_000
LIMIT = 4_000_000_000
MEMORY = "memory"
_CASES = {
    "industrial": (USERS, ITEMS, 2, "integers"),
    "base": (2_000_000, ITEMS, 4, "integers"),
    "users": (8_000_000, ITEMS, 2, "integers"),
    "interactions": (2_000_000, ITEMS, 12, "integers"),
    "items": (2_000_000, 2_000_000, 4, "integers"),
    "text": (2_000_000, ITEMS, 4, "text"),
}
"""Users, items, interactions a user and the type of the user ids."""
_STEPS = ("counting", "grouping", "sorting", "saving")
_ROWS = 1_000_000
_SPREAD = 2_654_435_761  # a prime: users in no order, each equally often


def main(quick: Quick = False, results: Results = None, scratch: Scratch = None) -> None:
    """Prepare stores of several shapes, each in a process of its own."""
    BENCHMARK.run(
        lambda folder: plan(folder, 1000 if quick else 1),
        results or (SCRATCH if quick else COMMITTED),
        command=BENCHMARK.command(quick=quick, data_dir=False),
        quick=quick,
        data={"source": "parquet of three columns, row groups of a million, every user equally often"},
        skipped=[],
        scratch=scratch,
    )


def plan(folder: Path, smaller: int) -> Iterator[Job]:
    """Yield a job for each case, with `smaller` times fewer users and items."""
    for name, (users, items, each, kind) in _CASES.items():
        shape = {"users": users // smaller, "items": items // smaller, "interactions": users // smaller * each}
        arguments = {"folder": folder, "ids": kind, "limit": LIMIT if name == "industrial" else None, **shape}
        yield Job(MEMORY, {"case": name, "ids": kind, **shape}, "bench_prepare", "measure", arguments)


def write_source(file: Path, users: int, items: int, interactions: int, ids: str) -> None:
    """Write made-up interactions, a row group at a time."""
    random = np.random.default_rng(0)
    kind = pa.string() if ids == "text" else pa.int64()
    schema = pa.schema([("user_id", kind), ("item_id", pa.int64()), ("timestamp", pa.int64())])
    with pq.ParquetWriter(file, schema) as writer:
        for first in range(0, interactions, _ROWS):
            rows = np.arange(first, min(interactions, first + _ROWS))
            user = pa.array(rows * _SPREAD % users * 7 + 10**9)  # ids with gaps, text of 10 or more bytes
            columns = [
                user.cast(kind),
                random.integers(1, items + 1, len(rows)),
                random.integers(0, 1 << 30, len(rows)),
            ]
            writer.write_table(pa.table(columns, schema=schema))


def measure(  # noqa: PLR0917 – the fields of a case
    folder: str, users: int, items: int, interactions: int, ids: str, limit: int | None
) -> dict[str, Any]:
    """Prepare a store; return seconds, and peaks of anonymous memory by step and of resident memory in bytes."""
    from genpas_plugins.data.prepare.build import build_store

    source, out = Path(folder) / "source.parquet", Path(folder) / "store"
    write_source(source, users, items, interactions, ids)
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    step, peaks, ended = ["imports"], defaultdict[str, int](int), threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            peaks[step[0]] = max(peaks[step[0]], memory.anonymous())

    watching = threading.Thread(target=watch)
    watching.start()
    memory.reset_peak()
    wall, processor = time.perf_counter(), time.process_time()
    try:
        build_store(
            source,
            out,
            user="user_id",
            item="item_id",
            order="timestamp",
            overwrite=True,
            progress=lambda name, done, total: step.__setitem__(0, name),
            note=lambda text: None,
        )
    finally:
        ended.set()
        watching.join()
    return {
        "limit": limit,
        "seconds": round(time.perf_counter() - wall, 1),
        "processor_seconds": round(time.process_time() - processor, 1),
        "anonymous_bytes": dict(peaks),
        "peak_bytes": max(peaks.values()),
        "resident_bytes": memory.peak(),
        "disk_bytes": sum(file.stat().st_size for file in out.iterdir()),
    }


def law(records: Sequence[dict[str, Any]]) -> tuple[float, float, float]:
    """Return the constant, and the bytes a user and an item, of the peaks of anonymous memory by least squares."""
    integers = [record for record in records if record["ids"] == "integers"]
    shapes = [[1, record["users"], record["items"]] for record in integers]
    peaks = [record["peak_bytes"] for record in integers]
    constant, user, item = np.linalg.lstsq(np.array(shapes, float), np.array(peaks, float))[0].tolist()
    return constant, user, item


def goals(sections: Sections) -> list[Goal]:
    """Compare the peaks at the industrial number of users and at its number of interactions with the limit."""
    constant, user, item = law(sections[MEMORY])
    largest = next(record for record in sections[MEMORY] if record["case"] == "industrial")
    what = f"{largest['users']:,} users, {largest['interactions']:,} interactions: anonymous peak"
    by_law = f"{USERS:,} users, {ITEMS:,} items, {INTERACTIONS:,} interactions, by the law: anonymous peak"
    return [
        Goal(MEMORY, what, largest["peak_bytes"] / 1e6, LIMIT / 1e6, False, "MB"),
        Goal(MEMORY, by_law, (constant + user * USERS + item * ITEMS) / 1e6, LIMIT / 1e6, False, "MB"),
    ]


def tables(sections: Sections, held: Sequence[Goal]) -> list[Grid]:
    """Return the peaks by step, the law and the goals."""
    records = sections[MEMORY]
    peaks = [
        [
            *(f"{record[name]:,}" for name in ("users", "items", "interactions")),
            record["ids"],
            *(f"{record['anonymous_bytes'].get(step, 0) / 1e6:,.0f}" for step in _STEPS),
            f"{record['resident_bytes'] / 1e6:,.0f}",
            f"{record['processor_seconds']:,.0f}",
            f"{record['processor_seconds'] / record['interactions'] * 1e6:.2f}",
            f"{record['disk_bytes'] / record['interactions']:.1f}",
        ]
        for record in records
    ]
    constant, user, item = law(records)
    text = next(record for record in records if record["ids"] == "text")
    of_text = (text["peak_bytes"] - constant - item * text["items"]) / text["users"]
    head = ["users", "items", "interactions", "user ids", *(f"{step} MB" for step in _STEPS), "resident MB"]
    head += ["processor s", "µs an interaction", "bytes an interaction on disk"]
    line = [f"{constant / 1e6:,.0f}", f"{user:.1f}", f"{of_text:.1f}", f"{item:.1f}"]
    return [
        Grid("Peaks of anonymous memory by step", head, peaks),
        Grid("The law", ["constant MB", "bytes a user", "bytes a user with text ids", "bytes an item"], [line]),
        goals_grid(held),
    ]


BENCHMARK = Benchmark("prepare", "benchmarks.bench_prepare", "The memory of genpas prepare", 1, goals, tables)

if __name__ == "__main__":
    typer.run(main)
