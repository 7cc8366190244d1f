"""Measure the TorchRec input and sharded steps: waiting for data in a step, and pairs/s on a core and on a device.

    python -m benchmarks.bench_torchrec                     on synthetic data of Beauty's shape
    python -m benchmarks.bench_torchrec --data-dir DIR      on DIR/beauty/interactions.parquet
    python -m benchmarks.bench_torchrec --quick             a smoke test on toy sizes

A whole run writes benchmarks/results/torchrec.json and torchrec.md, a quick one outputs/benchmarks/.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import typer

from benchmarks import torchrec_input, torchrec_steps
from benchmarks.goals import Goal
from benchmarks.jobs import Job
from benchmarks.report import Grid, goals_grid
from benchmarks.session import COMMITTED, DATA_DIR, SCRATCH, Benchmark, DataDir, Quick, Results, Scratch, Sections
from benchmarks.torchrec_setup import FULL, MAX_LENGTH, QUICK, SASREC, TorchRecSizes
from torchrec_ext.import_guard import require_torchrec


def main(quick: Quick = False, data_dir: DataDir = None, results: Results = None, scratch: Scratch = None) -> None:
    """Measure the TorchRec input beside its peers and a copy of its bytes, and compare it with its goals."""
    require_torchrec()
    sizes = QUICK if quick else FULL
    source = data_dir / "beauty" / "interactions.parquet" if data_dir is not None else None
    skipped = []
    if source is None or not source.is_file():
        skipped.append(f"Data of Beauty's shape stands in for Beauty: give its folder with --data-dir or ${DATA_DIR}.")
        source = None
    device = cuda_device()
    if device is None:
        skipped.append("The path on a CUDA device was not run: this machine has none.")
    model = ", ".join(f"{name} {SASREC[name]}" for name in ("n_layers", "n_heads", "hidden_size", "inner_size"))
    BENCHMARK.run(
        lambda folder: plan(sizes, folder, source, device),
        results or (SCRATCH if quick else COMMITTED),
        command=BENCHMARK.command(quick=quick, data_dir=source is not None),
        quick=quick,
        data={
            "store": "Beauty, training view" if source else str(sizes.shape),
            "model": f"RecBole's SASRec, {model}, histories of at most {MAX_LENGTH}, {sizes.batch} pairs a step",
        },
        skipped=skipped,
        scratch=scratch,
    )


def cuda_device() -> str | None:
    """Return torch's name of the first CUDA device, or None."""
    import torch

    return "cuda:0" if torch.cuda.is_available() else None


def plan(sizes: TorchRecSizes, folder: Path, source: Path | None, device: str | None) -> Iterator[Job]:
    """Yield the jobs in order: the store first."""
    store = folder / "store"
    arguments: dict[str, Any]
    if source is None:
        arguments = {"path": store, "shape": sizes.shape}
        yield Job("data", {"make": "store"}, "sampler", "make_store", arguments, recorded=False)
    else:
        arguments = {"path": store, "source": source}
        yield Job("data", {"make": "store of Beauty"}, "sampler", "read_store", arguments, recorded=False)
    yield from torchrec_input.jobs(sizes, store, device=device)
    yield from torchrec_steps.jobs(sizes, store)


def tables(sections: Sections, goals: Sequence[Goal]) -> list[Grid]:
    """Return the tables of the measurements and the table of the goals."""
    found = [*torchrec_input.tables(sections), *torchrec_steps.tables(sections)]
    return [*(grid for grid in found if grid.rows), goals_grid(goals)]


BENCHMARK = Benchmark(
    "torchrec",
    "benchmarks.bench_torchrec",
    "TorchRec: what input and a sharded step cost",
    "1, beside the thread or process that reads ahead,",
    torchrec_input.goals,
    tables,
)

if __name__ == "__main__":
    typer.run(main)
