"""Measure the samples a second of RecBole's training loader, stock and ours. Batches of 2048 are padded to 50."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import recbole_setup, timing
from benchmarks.goals import Goal
from benchmarks.jobs import Job
from benchmarks.sizes import Sizes

SECTION = "iteration"
TITLE = "RecBole training loader: thousand samples/s, batches of 2048 padded to 50"
STRATEGIES: dict[str, dict[str, Any]] = {
    "multi_target": {"strategy": "multi_target"},
    "slide_window": {"strategy": "slide_window"},
    "sampled 1,0,0": {"strategy": "sampled", "alpha": 1.0, "beta": 0.0, "gamma": 0.0},
}
BACKENDS = ("numpy", "numba")


def jobs(sizes: Sizes, folder: Path) -> Iterator[Job]:
    """Yield one job, in which all loaders take turns. A disturbance then affects all of them."""
    yield recbole_setup.data_job(sizes, folder)
    arguments = {
        "folder": folder / "recbole",
        "batches": sizes.iteration_batches,
        "repeats": sizes.iteration_repeats,
    }
    yield Job(SECTION, {"loaders": "stock and ours"}, "iteration", "measure", arguments)


def measure(folder: str, batches: int, repeats: int) -> dict[str, Any]:
    """Return the samples a second of every loader: [{"loader", "backend", "samples_per_s": spread}]."""
    stages: dict[tuple[str, str | None], Callable[[], int]] = {}
    stages["stock", None] = epoch_start(training_loader(folder, None), None, batches)
    for name, section in STRATEGIES.items():
        loader = training_loader(folder, section)
        stages |= {(name, backend): epoch_start(loader, backend, batches) for backend in BACKENDS}
    return {
        "loaders": [
            {"loader": name, "backend": backend, "samples_per_s": rate}
            for (name, backend), rate in timing.rates(stages, repeats).items()
        ]
    }


def training_loader(folder: str, genpas: dict[str, Any] | None) -> Any:
    """Prepare the data and return RecBole's training loader, stock or ours."""
    from recbole.data import create_dataset, data_preparation

    config = recbole_setup.config(folder, genpas)
    return data_preparation(config, create_dataset(config))[0]


def epoch_start(loader: Any, backend: str | None, batches: int) -> Callable[[], int]:
    """Return a function that iterates over the first batches of the next epoch and counts their samples."""

    def iterate() -> int:
        if backend is not None:
            os.environ["GENPAS_BACKEND"] = backend  # what gather_padded goes by
            loader.stream.backend = backend
        # A new iterator each time: its making belongs to an epoch.
        return sum(len(batch) for batch in itertools.islice(loader, batches))

    return iterate


def goals(records: Sequence[dict[str, Any]]) -> list[Goal]:
    """Compare the median of every loader of ours with stock."""
    stock, *ours = records[0]["loaders"]
    return [
        Goal(
            SECTION,
            f"{of['loader']}, {of['backend']}: samples/s, ours / stock",
            of["samples_per_s"]["median"] / stock["samples_per_s"]["median"],
            3,
            True,
            "×",
        )
        for of in ours
    ]


def table(records: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows."""
    rows = [
        [of["loader"], of["backend"] or "", timing.text(of["samples_per_s"], 0, 1e3)] for of in records[0]["loaders"]
    ]
    return ["loader", "backend", "thousand samples/s"], rows
