"""Memory of `genpas prepare` on very many interactions: anonymous memory and the resident peak, by step.

    python -m benchmarks.prepare_memory FOLDER [SHARE]

SHARE is the share of 69.38 M users with 22 interactions each. Anonymous memory is what the machine must have; pages of
files are given back to the system when it needs them.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import memory
from benchmarks.memory import anonymous
from genpas_plugins.data.prepare.build import build_store

USERS, ITEMS, EACH = 69_380_000, 42_805, 22
_ROWS = 4_000_000


def write_source(file: Path, n_users: int) -> int:
    """Write interactions in no order of users and return their number."""
    rng = np.random.default_rng(0)
    schema = pa.schema([("user_id", pa.int64()), ("item_id", pa.int64()), ("timestamp", pa.int64())])
    n = n_users * EACH
    with pq.ParquetWriter(file, schema) as writer:
        for first in range(0, n, _ROWS):
            rows = np.arange(first, min(n, first + _ROWS))
            users = rows % n_users * 7 + 13  # ids with gaps
            items = (ITEMS ** rng.random(len(rows))).astype(np.int64)
            writer.write_table(pa.table([users, items, rng.integers(0, 1 << 30, len(rows))], schema=schema))
    return n


def main(folder: Path, share: float) -> None:
    """Write a source, prepare it, and print the figures as JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    n_users = int(USERS * share)
    n = write_source(folder / "source.parquet", n_users)
    memory.reset_peak()
    step, peaks, running = ["start"], defaultdict[str, int](int), True

    def watch() -> None:
        while running:
            peaks[step[0]] = max(peaks[step[0]], anonymous())
            time.sleep(0.02)

    watching = threading.Thread(target=watch)
    watching.start()
    began = time.perf_counter()
    build_store(
        folder / "source.parquet",
        folder / "store",
        user="user_id",
        item="item_id",
        order="timestamp",
        overwrite=True,
        progress=lambda name, done, total: step.__setitem__(0, name),
    )
    running = False
    watching.join()
    figures = {
        "users": n_users,
        "interactions": n,
        "seconds": round(time.perf_counter() - began, 1),
        "anonymous_peak_mb": {name: round(size / 1e6) for name, size in peaks.items()},
        "resident_peak_mb": round(memory.peak() / 1e6),
    }
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 0.1)
