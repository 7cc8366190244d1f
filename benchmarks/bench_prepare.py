"""Measure the memory of `genpas prepare`: a constant, and bytes a user and an item.

    python -m benchmarks.bench_prepare               the law, of small shapes
    python -m benchmarks.bench_prepare --industrial  the users of an industrial store; needs 10 GB of disk for a while
    python -m benchmarks.bench_prepare --quick       a smoke test on toy sizes

Interactions are made up and in no order of users. The memory that counts is anonymous: the system can take pages of
files back. Whole runs write prepare.json and prepare.md, or prepare_industrial, in benchmarks/results.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import typer

from benchmarks import memory
from benchmarks.goals import Goal
from benchmarks.jobs import Job
from benchmarks.report import Grid, goals_grid
from benchmarks.session import COMMITTED, SCRATCH, Benchmark, Quick, Results, Scratch, Sections

USERS, ITEMS = 69_380_000, 42_805
LIMIT = 4_000_000_000
MEMORY = "memory"
_CASES = {
    "base": (2_000_000, ITEMS, 4, "integers"),
    "users": (8_000_000, ITEMS, 2, "integers"),
    "interactions": (2_000_000, ITEMS, 12, "integers"),
    "items": (2_000_000, 2_000_000, 4, "integers"),
    "text": (2_000_000, ITEMS, 4, "text"),
}
"""Users, items, interactions a user and the type of the user ids."""
_INDUSTRIAL = {"industrial": (USERS, ITEMS, 2, "integers")}
_STEPS = ("counting", "grouping", "sorting", "saving")
_ROWS = 1_000_000
_SPREAD = 2_654_435_761  # a prime: users in no order, each equally often


Industrial = Annotated[bool, typer.Option("--industrial", help="The users of an industrial store, not the law.")]


def main(
    quick: Quick = False, industrial: Industrial = False, results: Results = None, scratch: Scratch = None
) -> None:
    """Prepare stores of several shapes, each in a process of its own."""
    cases, smaller = _INDUSTRIAL if industrial else _CASES, 1000 if quick else 1
    benchmark = replace(BENCHMARK, name="prepare_industrial") if industrial else BENCHMARK
    benchmark.run(
        lambda folder: plan(folder, cases, smaller),
        results or (SCRATCH if quick else COMMITTED),
        command=benchmark.command(quick=quick, data_dir=False, words=["--industrial"] if industrial else []),
        quick=quick,
        data={"source": "parquet of three columns, row groups of a million, every user equally often"},
        skipped=[],
        scratch=scratch,
    )


def plan(folder: Path, cases: Mapping[str, tuple[int, int, int, str]], smaller: int) -> Iterator[Job]:
    """Yield a job for each case, with `smaller` times fewer users and items."""
    for name, (users, items, each, kind) in cases.items():
        shape = {"users": users // smaller, "items": items // smaller, "interactions": users // smaller * each}
        arguments = {"folder": folder, "ids": kind, **shape}
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


def measure(folder: str, users: int, items: int, interactions: int, ids: str) -> dict[str, Any]:
    """Prepare a store; return seconds, and peaks of anonymous memory by step and of resident memory in bytes."""
    from genpas_plugins.data.prepare.build import build_store

    source, out = Path(folder) / "source.parquet", Path(folder) / "store"
    write_source(source, users, items, interactions, ids)
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
    """Compare the peak of the industrial case, or the law at its shape, with the limit."""
    records = sections[MEMORY]
    if len(records) == 1:
        what, peak = f"{USERS:,} users: anonymous peak", records[0]["peak_bytes"]
    else:
        constant, user, item = law(records)
        what = f"{USERS:,} users, {ITEMS:,} items, any interactions, by the law: anonymous peak"
        peak = constant + user * USERS + item * ITEMS
    return [Goal(MEMORY, what, peak / 1e6, LIMIT / 1e6, False, "MB")]


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
    head = ["users", "items", "interactions", "user ids", *(f"{step} MB" for step in _STEPS), "resident MB"]
    head += ["processor s", "µs an interaction", "bytes an interaction on disk"]
    found = [Grid("Peaks of anonymous memory by step", head, peaks)]
    if len(records) > 1:
        constant, user, item = law(records)
        text = next(record for record in records if record["ids"] == "text")
        of_text = (text["peak_bytes"] - constant - item * text["items"]) / text["users"]
        line = [f"{constant / 1e6:,.0f}", f"{user:.1f}", f"{of_text:.1f}", f"{item:.1f}"]
        names = ["constant MB", "bytes a user", "bytes a user with text ids", "bytes an item"]
        found.append(Grid("The law", names, [line]))
    return [*found, goals_grid(held)]


BENCHMARK = Benchmark("prepare", "benchmarks.bench_prepare", "The memory of genpas prepare", 1, goals, tables)

if __name__ == "__main__":
    typer.run(main)
