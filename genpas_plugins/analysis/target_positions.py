"""Positions of the targets in a view and passes over them in chunks and threads.

A pair has the probability p_α(s) p_β(k | s) p_γ(j | k, s). The first two factors depend only on the sequence's
length n and the target's position t. A policy is thus two short tables and every figure is a sum over the
interactions:

    p(s) p(t | s) = scale[n] · power[t]          with all mass on the last target if β = ∞
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from genpas_plugins.data.sequences import PAIR_ITEMS, SequenceView
from genpas_plugins.sampling.jagged import spans
from genpas_plugins.sampling.policy import PowerTable, SamplingPolicy
from genpas_plugins.support.array_types import Float64, Int64

CHUNK = 1 << 20  # interactions that a thread works on at a time
PER_THREAD = 1 << 18  # interactions that are worth a further thread


@dataclass(frozen=True, eq=False)
class TargetWeights:
    """p(s) p(t | s) of a policy on a view as tables by length and by position."""

    scale: Float64  # float64 [max_length + 1], by the sequence's length
    power: Float64  # float64 [max_length], by the target's position from 0; position 0 has no history and is 0
    last: bool  # whether only the last item of a sequence is a target; every power is then 1

    @classmethod
    def of(cls, view: SequenceView, policy: SamplingPolicy) -> TargetWeights:
        """Tabulate a policy. Raises InputError if no sequence has two items or an exponent overflows."""
        view.require_content()
        groups = view.groups
        targets = PowerTable.of(policy.beta, view.max_length - 1)
        scale = np.zeros(view.max_length + 1)
        per_sequence = policy.sequence_mass(view) / groups.size
        if targets.last:
            scale[groups.length] = per_sequence
            return cls(scale, np.concatenate([[0.0], targets.powers]), True)
        # In units of the largest sum: the products of a large exponent stay normal floating-point numbers.
        unit = targets.cumulative[-1]
        scale[groups.length] = per_sequence / (targets.cumulative[groups.length - 1] / unit)
        return cls(scale, np.concatenate([[0.0], targets.powers / unit]), False)

    def of_occurrences(self, length: Int64, position: Int64) -> Float64:
        """Return p(s) p(t | s) `float64 [n]` of targets at these positions of sequences of these lengths."""
        weight = self.scale[length] * self.power[position]
        return np.where(position == length - 1, weight, 0.0) if self.last else weight


class Occurrences(NamedTuple):
    """Items `int64 [n]` that can be a target: each has at least one item before it."""

    place: Int64  # index in the store's values
    position: Int64  # position in the sequence, from 0, which is the number of items before the target
    length: Int64  # length of the sequence in the view


def occurrences(view: SequenceView, rows: slice = slice(None), *, last: bool = False) -> Occurrences:
    """Return the possible targets of the given rows in the order of the store. `last` keeps only each row's last."""
    view.store.check_content()
    length = view.lengths(rows)
    first = np.asarray(view.store.offsets[:-1][rows])
    kept = length >= PAIR_ITEMS
    length, first = length[kept], first[kept]
    if last:
        return Occurrences(first + length - 1, length - 1, length)
    targets = length - 1
    position = spans(1, targets)
    return Occurrences(position + np.repeat(first, targets), position, np.repeat(length, targets))


def row_chunks(view: SequenceView, rows: slice = slice(None), size: int | None = None) -> Iterator[slice]:
    """Cut rows into slices of about `size` interactions (None: CHUNK); a longer sequence stays whole."""
    view.store.check_content()
    first, stop, _ = rows.indices(view.store.n_sequences)
    if first >= stop:
        return
    offsets = view.store.offsets
    low, high = int(offsets[first]), int(offsets[stop])
    wanted = np.arange(low, high, CHUNK if size is None else size)[1:]
    cuts = first + np.searchsorted(offsets[first:stop], wanted)
    for start, end in itertools.pairwise(np.unique(np.concatenate([[first], cuts, [stop]]))):
        yield slice(int(start), int(end))


def sum_over_rows(
    view: SequenceView, part: Callable[[slice], Float64], rows: slice = slice(None), threads: int | None = None
) -> Float64:
    """Return the sum of part(slice) over consecutive slices of the rows. Each thread has one slice.

    With `threads` None there is one thread a core and fewer for little data.
    """
    view.store.check_content()
    first, stop, _ = rows.indices(view.store.n_sequences)
    interactions = int(view.store.offsets[stop] - view.store.offsets[first]) if first < stop else 0
    if threads is None:
        threads = min(usable_cores(), interactions // PER_THREAD)
    if threads <= 1 or not interactions:
        return part(slice(first, stop))
    slices = list(row_chunks(view, slice(first, stop), -(-interactions // threads)))
    with ThreadPoolExecutor(len(slices)) as pool:
        total, *others = pool.map(part, slices)
    for other in others:
        total += other
    return total


def usable_cores() -> int:
    """Return the number of cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
