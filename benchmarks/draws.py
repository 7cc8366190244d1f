"""Count what an epoch trains on, and how much its mean gradient varies: independent draws, draws and passes.

The model is linear: the gradient of a target is its vector times the mean vector of its history.
Independent draws are kept here alone, to compare with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.goals import Goal
from benchmarks.jobs import Job
from benchmarks.report import Grid, goals_grid
from genpas_plugins import Pairs, SamplingPolicy, SequenceStore, SequenceView, pair_stream
from genpas_plugins.sampling.jagged import spans
from genpas_plugins.sampling.policy import PowerTable
from genpas_plugins.sampling.stream import window_stream
from genpas_plugins.sampling.windows import TargetWindows
from genpas_plugins.support.array_types import Float64, Int64

SECTION = "draws"
MAX_LENGTH, DIMENSION, EPOCHS = 50, 8, 12
EXPONENTS = [
    *((1, 0, -math.inf), (1, 0, -1), (1, 0, 0), (1, 0, 1), (0, 0, 0)),
    *((0.5, 0.5, 2), (2, 1, 0), (0, 1, -1), (0, math.inf, -math.inf), (1, -0.5, 0)),
]
NAMED = ("multi_target", "slide_window", "last_target")
WAYS = ("independent pairs", "pairs", "independent windows", "windows")
Addresses = tuple[Int64, Int64, Int64, Float64, int]
"""Sequence, start and target of each trained target with its weight, and the number of windows."""


def jobs(path: Path) -> Iterator[Job]:
    """Yield one job for each policy and way, on the store at `path`."""
    for exponents in EXPONENTS:
        label = SamplingPolicy(*exponents).label
        for way in WAYS:
            arguments = {"path": path, "exponents": [str(e) for e in exponents], "way": way}
            yield Job(SECTION, {"policy": label, "way": way}, "draws", "measure", arguments)
    for name in NAMED:
        for way in ("pairs", "windows"):
            arguments = {"path": path, "exponents": [name], "way": way}
            yield Job(SECTION, {"policy": name, "way": way}, "draws", "measure", arguments)


def make_store(path: str, users: int) -> dict[str, Any]:
    """Make sequences with few long and many short ones, as a shop has them."""
    random = np.random.default_rng(1)
    lengths = np.minimum(5 + random.geometric(0.25, users) * random.integers(1, 4, users), 200)
    items = random.zipf(1.3, lengths.sum()) % 2_000 + 1
    SequenceStore.from_arrays(items, np.concatenate([[0], np.cumsum(lengths)]), n_items=2_000).save(path)
    return {}


def read_store(path: str, source: str) -> dict[str, Any]:
    """Read the interactions of a real data set."""
    from genpas_plugins.data.prepare.build import build_store

    build_store(source, path, user="user_id", item="item_id", order="position")
    return {}


def measure(path: str, exponents: Sequence[str], way: str) -> dict[str, Any]:
    """Return the counts of the first epoch and the variance of the mean gradient over `EPOCHS` epochs."""
    view = SequenceStore.open(path).leave_last_out().train
    policy = SamplingPolicy.named(exponents[0]) if len(exponents) == 1 else SamplingPolicy(*map(float, exponents))
    epoch_of = _epochs(view, policy, way)
    sequence, _, target, weight, windows = first = epoch_of(0)
    vectors = np.random.default_rng(0).standard_normal((view.store.n_items + 1, DIMENSION))
    means = np.array([_gradient(view, vectors, epoch) for epoch in (first, *map(epoch_of, range(1, EPOCHS)))])
    return {
        "targets": len(target),
        "windows": windows,
        "users": len(np.unique(sequence)),
        "pairs": len(np.unique(view.store.offsets[sequence] + target)),
        "effective": float(weight.sum() ** 2 / (weight**2).sum()),
        "variance": float(means.var(axis=0, ddof=1).sum()) * view.n_pairs,
    }


def _gradient(view: SequenceView, vectors: Float64, epoch: Addresses) -> Float64:
    """Return the weighted mean of the targets' gradients, float64 [DIMENSION]."""
    sequence, start, target, weight, _ = epoch
    values, rows = view.store.values, view.store.offsets[sequence]
    before = np.concatenate([np.zeros((1, DIMENSION)), np.cumsum(vectors[values], axis=0)])
    history = (before[rows + target] - before[rows + start]) / (target - start)[:, None]
    return np.asarray(weight @ (vectors[values[rows + target]] * history) / weight.sum())


def _epochs(view: SequenceView, policy: SamplingPolicy, way: str) -> Callable[[int], Addresses]:
    """Return the function that gives the trained targets of an epoch."""
    if way == "pairs":
        stream = pair_stream(view, policy, seed=1, pairs_per_epoch=view.n_pairs)
        return lambda epoch: _of_pairs(stream.pairs(epoch, np.arange(stream.size)))
    if way == "windows":
        windows = window_stream(view, policy, max_length=MAX_LENGTH, seed=1, pairs_per_epoch=view.n_pairs)
        return lambda epoch: _of_target_windows(windows.windows(epoch, np.arange(windows.size)))
    if way == "independent pairs":
        return lambda epoch: _of_pairs(_independent(view, policy, epoch, view.n_pairs))
    per_window = np.count_nonzero(_marginal(view, policy, _independent(view, policy, 0, 2**14))[1]) / 2**14
    size = max(1, round(view.n_pairs / per_window))
    return lambda epoch: _of_windows(*_marginal(view, policy, _independent(view, policy, epoch, size)))


def _of_pairs(pairs: Pairs) -> Addresses:
    start = np.maximum(pairs.start, pairs.target - MAX_LENGTH)
    return pairs.sequence, start, pairs.target, np.ones(len(start)), len(start)


def _of_target_windows(windows: TargetWindows) -> Addresses:
    pairs, first, weights, _ = windows
    count = pairs.target + 1 - first
    sequence, start = np.repeat(pairs.sequence, count), np.repeat(pairs.start, count)
    return sequence, start, spans(first, count), weights.astype(np.float64), len(first)


def _of_windows(pairs: Pairs, weight: Any) -> Addresses:
    row, place = np.nonzero(weight)
    start = pairs.start[row]
    return pairs.sequence[row], start, start + 1 + place, weight[row, place].astype(np.float64), len(pairs.start)


def _independent(view: SequenceView, policy: SamplingPolicy, epoch: int, size: int) -> Pairs:
    """Draw pairs with replacement, as this project did before."""
    random, groups = np.random.default_rng(epoch), view.groups
    group = random.choice(len(groups.length), size, p=policy.sequence_mass(view))
    sequence = view.index.order[groups.first[group] + random.integers(groups.size[group])].astype(np.int64)
    target = _choose(random, policy.beta, groups.length[group] - 1)
    return Pairs(sequence, _choose(random, policy.gamma, target) - 1, target)


def _choose(random: np.random.Generator, exponent: float, size: Int64) -> Int64:
    if exponent == math.inf:
        return size
    cumulative = PowerTable.of(exponent, int(size.max())).cumulative
    return np.minimum(np.searchsorted(cumulative, random.random(len(size)) * cumulative[size], side="right"), size)


def _marginal(view: SequenceView, policy: SamplingPolicy, drawn: Pairs) -> tuple[Pairs, Float64]:
    """Return the windows from the starts of drawn pairs, each target weighted by its probability given the start."""
    start = np.maximum(drawn.start, drawn.target - MAX_LENGTH)
    length = view.lengths(drawn.sequence)
    windows = Pairs(drawn.sequence, start, np.minimum(length - 1, start + MAX_LENGTH))
    place = np.arange(MAX_LENGTH)
    target = np.minimum(start[:, None] + 1 + place, windows.target[:, None])
    possible = place < (windows.target - start)[:, None]
    with np.errstate(divide="ignore"):
        targets, starts = PowerTable.of(policy.beta, view.max_length - 1), PowerTable.of(policy.gamma, view.max_length)
        up_to, of_start = np.log(starts.cumulative), np.log(starts.powers)
        log = np.log(targets.powers[target - 1]) - up_to[target]
        log = log + np.where(place == MAX_LENGTH - 1, up_to[start + 1][:, None], of_start[start][:, None])
    if policy.beta == math.inf:
        possible &= target == length[:, None] - 1
    if policy.gamma == math.inf:
        possible &= place == 0
    weight = np.exp(np.where(possible, log, -np.inf) - np.where(possible, log, -np.inf).max(1, keepdims=True))
    return windows, weight / weight.sum(1, keepdims=True)


def goals(sections: dict[str, list[dict[str, Any]]]) -> list[Goal]:
    """Compare the variance of an epoch with independent pairs, and the weights with even ones."""
    found = []
    records = {(record["policy"], record["way"]): record for record in sections[SECTION]}
    for exponents in EXPONENTS:
        label = SamplingPolicy(*exponents).label
        chains, independent = records[label, "windows"], records[label, "independent pairs"]
        share = chains["effective"] / chains["targets"]
        found.append(Goal(SECTION, f"{label}: effective targets of windows", share, 0.99, True, "of all"))
        if independent["variance"] > 0:
            ratio = records[label, "pairs"]["variance"] / independent["variance"]
            found.append(Goal(SECTION, f"{label}: variance of pairs over independent pairs", ratio, 1.0, False, "×"))
    return found


def tables(sections: dict[str, list[dict[str, Any]]], goals: Sequence[Goal]) -> list[Grid]:
    """Return the table of counts, and the goals."""
    records = sections[SECTION]
    base = {record["policy"]: record["variance"] for record in records if record["way"] == "independent pairs"}
    base["multi_target"] = base["1,0,-inf"]
    base["last_target"] = base["0,inf,-inf"]
    rows = []
    for record in records:
        reference = base.get(record["policy"])
        variance = f"{record['variance'] / reference:.3f}" if reference else f"{record['variance']:.3f} (absolute)"
        share = f"{100 * record['effective'] / record['targets']:.0f} %"
        counts = (f"{record[name]:,}" for name in ("targets", "windows", "users", "pairs"))
        rows.append([record["policy"], record["way"], *counts, share, variance])
    title = (
        f"An epoch: histories of at most {MAX_LENGTH} items; variance of its mean gradient over {EPOCHS} epochs, "
        "independent pairs = 1"
    )
    head = ["policy", "way", "targets", "windows", "users", "distinct pairs", "effective targets", "variance"]
    return [Grid(title, head, rows), goals_grid(goals)]
