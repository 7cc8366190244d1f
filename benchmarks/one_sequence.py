"""Measure the figures of analyze, search and inspect on one long sequence."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import timing
from benchmarks.goals import Goal
from benchmarks.jobs import Job
from benchmarks.report import Grid, goals_grid
from genpas_plugins import SamplingPolicy, SequenceStore
from genpas_plugins.analysis.alignment import alignment_discrimination
from genpas_plugins.analysis.histograms import history_lengths, target_positions
from genpas_plugins.analysis.inputs import input_target_statistics
from genpas_plugins.analysis.target_distribution import target_distribution
from genpas_plugins.data.store_summary import summarize_store
from genpas_plugins.search.criteria import Criteria

POLICY = SamplingPolicy(1, 0.5, 0.5)
SIZES = tuple(10**k for k in range(3, 8))
SHAPES: dict[str, Callable[[int], Any]] = {
    "one item": lambda n: np.ones(n, np.int64),
    "seven items in turn": lambda n: 1 + np.arange(n) % 7,
    "random items": lambda n: np.random.default_rng(0).integers(1, 10_001, n),
    "twice the same half": lambda n: np.tile(np.random.default_rng(0).integers(1, 10_001, n // 2), 2),
}
FIGURES = ("inspect", "target distribution", "target positions", "history lengths", "A/D", "inputs", "gradient")
GROWTH = 24.0
"""10 · log 10⁶ / log 10⁵ = 12, twice."""


def jobs(longest: int, folder: Path) -> Iterator[Job]:
    """Yield one job for each kind of sequence and each size up to `longest`."""
    for shape, size in itertools.product(SHAPES, (size for size in SIZES if size <= longest)):
        arguments = {"path": folder / f"{shape}-{size}", "shape": shape, "size": size}
        yield Job("one sequence", {"sequence": shape, "interactions": size}, "one_sequence", "figures", arguments)


def figures(path: str, shape: str, size: int) -> dict[str, Any]:
    """Return the seconds of each figure, the better of two calls: the first one loads compiled code."""
    SequenceStore.from_arrays(SHAPES[shape](size), [0, size], n_items=10_000).save(path)
    split = SequenceStore.open(path).leave_last_out()
    train = split.train
    criteria = Criteria.of(train, split.validation)
    calls: dict[str, Callable[[], object]] = {
        "inspect": lambda: summarize_store(Path(path)),
        "target distribution": lambda: target_distribution(train, POLICY),
        "target positions": lambda: target_positions(train, POLICY),
        "history lengths": lambda: history_lengths(train, POLICY),
        "A/D": lambda: alignment_discrimination(train, POLICY, split.test),
        "inputs": lambda: input_target_statistics(train, POLICY),
        "gradient": lambda: criteria.gradient(POLICY),
    }
    return {name: min(timing.seconds(call), timing.seconds(call)) for name, call in calls.items()}


def goals(sections: dict[str, list[dict[str, Any]]]) -> list[Goal]:
    """Compare the growth of all figures together with n log n, at ten times the length; caches may double it."""
    found = []
    for shape, records in itertools.groupby(sections["one sequence"], lambda record: record["sequence"]):
        *_, before, last = (sum(record[name] for name in FIGURES) for record in records)
        found.append(
            Goal("one sequence", f"{shape}: ten times as long, all figures", last / before, GROWTH, False, "×")
        )
    return found


def tables(sections: dict[str, list[dict[str, Any]]], goals: Sequence[Goal]) -> list[Grid]:
    """Return the table of seconds, and the goals."""
    rows = [
        [record["sequence"], f"{record['interactions']:,}", *(f"{record[name]:.4f}" for name in FIGURES)]
        for record in sections["one sequence"]
    ]
    title = f"Seconds of each figure at {POLICY.label}; history lengths are uncut, inputs cut to 50 items"
    return [Grid(title, ["sequence", "interactions", *FIGURES], rows), goals_grid(goals)]
