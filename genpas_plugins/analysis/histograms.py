"""Closed forms of the users, positions, history lengths and items that a policy trains on."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from genpas_plugins.analysis.history_length import length_distribution
from genpas_plugins.analysis.target_positions import TargetWeights, row_chunks
from genpas_plugins.data.sequences import SequenceView
from genpas_plugins.sampling.jagged import spans
from genpas_plugins.sampling.policy import Policy, SamplingPolicy
from genpas_plugins.support.array_types import Float64, Int64
from genpas_plugins.support.errors import whole_number


class TargetPositions(NamedTuple):
    """Probability `float64 [max_length]` of each position of the target."""

    from_start: Float64  # by the number of items before the target, which is never 0
    from_end: Float64  # by the number of training items after the target


def user_mass(view: SequenceView, policy: Policy) -> Float64:
    """Return the probability p_α(s) that an example is of a sequence (step 1 of GenPAS).

    Parameters
    ----------
    view : the sequences
    policy : the distribution of their training pairs

    Returns
    -------
    float64 [n_sequences]
        The probability of each sequence; 0 for one without a pair.

    Raises
    ------
    InputError
        If no sequence has two items.
    """
    view.require_pairs()
    by_length = np.zeros(int(view.lengths().max(initial=0)) + 1)
    by_length[view.groups.length] = policy.sequence_mass(view) / view.groups.size
    return np.asarray(by_length[view.lengths()])


def effective_users(view: SequenceView, policy: Policy) -> float:
    """Return e^entropy of p_α(s): as many equally likely users have the same entropy.

    Parameters
    ----------
    view : the sequences
    policy : the distribution of their training pairs

    Returns
    -------
    float
        A number of users from 1 to `len(view)`.
    """
    mass = policy.sequence_mass(view)
    kept = mass > 0
    return math.exp(-float(np.sum(mass[kept] * np.log(mass[kept] / view.groups.size[kept]))))


def target_positions(view: SequenceView, policy: Policy) -> TargetPositions:
    """Return the distribution of the target's position from the start and from the end of the sequence."""
    if not isinstance(policy, SamplingPolicy):
        return _constructed_positions(view, policy)
    weights, longest = TargetWeights.of(view, policy), view.max_length
    by_length = weights.scale[view.groups.length] * view.groups.size
    from_end, from_start = np.zeros(longest), np.zeros(longest)
    if weights.last:
        from_end[0] = 1
        from_start[view.groups.length - 1] = by_length
        return TargetPositions(from_start, from_end)
    of_length = np.zeros(longest + 1)
    of_length[view.groups.length] = by_length
    # Position t is a target of every longer sequence.
    longer = np.cumsum(of_length[::-1])[::-1]
    from_start = weights.power * longer[1:]
    for length, scale in zip(view.groups.length.tolist(), by_length.tolist(), strict=True):
        from_end[: length - 1] += scale * weights.power[length - 1 : 0 : -1]
    return TargetPositions(from_start, from_end)


def _constructed_positions(view: SequenceView, policy: Policy) -> TargetPositions:
    assert policy.construction is not None
    from_end, from_start = np.zeros(view.max_length), np.zeros(view.max_length)
    for length, mass in zip(view.groups.length.tolist(), policy.sequence_mass(view), strict=True):
        p = mass * policy.construction.target_probability(np.full(length, length), np.arange(length))
        from_start[:length] += p
        from_end[:length] += p[::-1]
    return TargetPositions(from_start, from_end)


def history_lengths(view: SequenceView, policy: Policy, max_length: int | None = None) -> Float64:
    """Return the exact probability of each history length.

    Parameters
    ----------
    view : the sequences
    policy : the distribution of their training pairs
    max_length : maximum number of items; the last entry has all longer histories; None: no cut

    Returns
    -------
    float64 [longest + 1]
        By number of items. A history of 0 items never occurs.

    Raises
    ------
    InputError
        If no sequence has two items or `max_length` is below 1.
    """
    if not isinstance(policy, SamplingPolicy):
        assert policy.construction is not None
        return policy.construction.length_distribution(view, max_length)
    by_position = target_positions(view, policy).from_start
    before = len(by_position) - 1
    longest = before if max_length is None else min(whole_number("max_length", max_length, 1), before)
    lengths = length_distribution(by_position, policy.gamma)
    return np.concatenate([lengths[:longest], [lengths[longest:].sum()]])


def popularity_groups(view: SequenceView, n: int = 3) -> Int64:
    """Divide the items into groups of equal size by popularity.

    Parameters
    ----------
    view : the sequences; an item's popularity is its number of occurrences; ties are by item number
    n : number of groups

    Returns
    -------
    int64 [n_items + 1]
        The group of every item from 1 (most popular) to n, and 0 for padding. Sizes differ by at most one item.

    Raises
    ------
    InputError
        If n is below 1.
    """
    n = whole_number("n", n, 1)
    counts = item_counts(view)[1:]
    order = np.argsort(-counts, kind="stable")
    group = np.zeros(len(counts) + 1, np.int64)
    group[1 + order] = 1 + np.arange(len(counts)) * n // max(len(counts), 1)
    return group


def group_shares(p: Float64, groups: Int64) -> dict[str, float]:
    """Return the probability of each popularity group under p `float64 [n_items + 1]` as {"T1": share, …}."""
    shares = np.bincount(groups, p)
    return {f"T{number}": float(shares[number]) for number in range(1, len(shares))}


def item_counts(view: SequenceView) -> Int64:
    """Return how often each item occurs in the view as `int64 [n_items + 1]`."""
    counts = np.zeros(view.store.n_items + 1, np.int64)
    for rows in row_chunks(view):
        place = spans(view.store.offsets[:-1][rows], view.lengths(rows))
        counts += np.bincount(view.store.values[place], minlength=len(counts))
    return counts
