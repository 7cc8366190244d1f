"""How often each item is the target of a training pair: exact, in one pass over the interactions."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from genpas_plugins.policy import PowerTable, SamplingPolicy
from genpas_plugins.sequences import PAIR_ITEMS, SequenceView

Float64 = NDArray[np.float64]

_CHUNK = 1 << 22


def target_distribution(view: SequenceView, policy: SamplingPolicy) -> Float64:
    """Return p(y) = Σ_s p_α(s) Σ_{k: s_k = y} p_β(k | s) of every item, float64 [n_items + 1] by item number.

    Takes one streaming pass over the interactions. Raises InputError if no sequence has two items.
    """
    view.require_pairs()
    groups = view.groups
    targets = PowerTable.of(policy.beta, view.max_length - 1)
    # Weight of target t in a sequence of length n: scale(n) * t^β.
    scale = np.zeros(view.max_length + 1)
    per_sequence = policy.sequence_mass(view) / groups.size
    scale[groups.length] = per_sequence if targets.last else per_sequence / targets.cumulative[groups.length - 1]
    powers = np.concatenate([[0.0], targets.powers])
    mass = np.zeros(view.store.n_items + 1)
    for rows in _row_chunks(view):
        lengths = view.lengths(rows)
        lengths[lengths < PAIR_ITEMS] = 0
        if targets.last:
            kept = lengths > 0
            items = view.store.values[view.store.offsets[:-1][rows][kept] + lengths[kept] - 1]
            weights = scale[lengths[kept]]
        else:
            ends = np.cumsum(lengths)
            position = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - lengths, lengths)
            items = view.store.values[position + np.repeat(view.store.offsets[:-1][rows], lengths)]
            weights = np.repeat(scale[lengths], lengths) * powers[position]
        mass += np.bincount(items, weights, minlength=len(mass))
    return mass


def last_target_distribution(view: SequenceView) -> Float64:
    """Return how often each item is the last of a sequence: the empirical targets of a validation or test view.

    float64 [n_items + 1] by item number; sequences of fewer than two items have no history and do not count.
    """
    return target_distribution(view, SamplingPolicy.named("last_target"))


def _row_chunks(view: SequenceView) -> list[slice]:
    """Cut the rows so that each piece holds about _CHUNK interactions."""
    offsets = view.store.offsets
    bounds = np.searchsorted(offsets, np.arange(0, view.store.n_interactions, _CHUNK))
    rows = np.unique(np.append(bounds, view.store.n_sequences))
    return [slice(int(a), int(b)) for a, b in itertools.pairwise(rows)]
