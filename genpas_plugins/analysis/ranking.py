"""How differently two target distributions rank the items (GenPAS, arXiv 2509.13648)."""

from __future__ import annotations

import math

import numpy as np

from genpas_plugins.support.array_types import Float64, Int64, Integers
from genpas_plugins.support.errors import InputError

TOLERANCE = 1e-9
"""Relative difference up to which probabilities tie, as sums in another order differ in their last bits."""


def average_ranks(p: Float64) -> Float64:
    """Return the rank `float64 [n_items]` of every item: 1 is the most probable. Ties share their average rank.

    `p` is `float64 [n_items + 1]` by item number. Entry 0 (padding) does not count.

    >>> import numpy as np
    >>> average_ranks(np.array([0, 0.2, 0.4, 0.2, 0.2]))
    array([3., 1., 3., 3.])
    """
    level = _levels(p)
    size = np.bincount(level, minlength=1)
    # A level ends at rank n - (items of lower levels) and so averages half its size before that.
    lower = np.cumsum(size) - size
    return np.asarray(len(level) - lower[level] - (size[level] - 1) / 2)


def rank_difference(p: Float64, q: Float64) -> float:
    """Return the mean of |rank in p - rank in q| over all items.

    Parameters
    ----------
    p, q : probabilities by item number, float64 [n_items + 1]; entry 0 (padding) does not count

    Returns
    -------
    float
        In ranks; 0 for the same order.

    Raises
    ------
    InputError
        If p and q are not of the same items or have none.
    """
    _require_same_items(p, q)
    return float(np.abs(average_ranks(p) - average_ranks(q)).mean())


def rank_agreement(p: Float64, q: Float64) -> float:
    """Return the mean of 1 - |sign Δp - sign Δq| / 2 over all pairs of items in O(n log n).

    A pair counts 1 if both order it in the same way or both tie it. It counts 1/2 if one ties it and else 0.

    Parameters
    ----------
    p, q : probabilities by item number, float64 [n_items + 1]; entry 0 (padding) does not count

    Returns
    -------
    float
        From 0 to 1. NaN for one item alone because it has no pair.

    Raises
    ------
    InputError
        If p and q are not of the same items or have none.

    Examples
    --------
    >>> import numpy as np
    >>> rank_agreement(np.array([0, 0.1, 0.2, 0.7]), np.array([0, 0.4, 0.2, 0.4]))
    0.5
    """
    _require_same_items(p, q)
    a, b = _levels(p), _levels(q)
    pairs = len(a) * (len(a) - 1) // 2
    if not pairs:
        return math.nan
    both = a * (int(b.max()) + 1) + b
    tied_once = _tied_pairs(a) + _tied_pairs(b) - 2 * _tied_pairs(np.unique(both, return_inverse=True)[1])
    # Sorted by a and then b, a pair is discordant exactly if it is an inversion of b.
    discordant = inversions(b[np.argsort(both, kind="stable")])
    return (2 * (pairs - discordant) - tied_once) / (2 * pairs)


def inversions(numbers: Integers) -> int:
    """Return how many pairs i < j of non-negative integers `[n]` have numbers[i] > numbers[j] in O(n log max).

    From the highest bit down: in each run of equal higher bits a 1 before a 0 is an inversion. The run is then split
    stably by that bit.
    """
    values = np.asarray(numbers, np.int64)
    total = 0
    for bit in reversed(range(int(values.max(initial=0)).bit_length())):
        prefix = values >> (bit + 1)
        ones = (values >> bit) & 1
        before = np.cumsum(ones) - ones
        run = np.flatnonzero(np.diff(prefix, prepend=-1))
        of_run = np.repeat(before[run], np.diff(np.append(run, len(values))))
        total += int(np.sum((before - of_run)[ones == 0]))
        values = values[np.argsort(values >> bit, kind="stable")]
    return total


def _levels(p: Float64) -> Int64:
    """Return the place `int64 [n_items]` of each item among the rising distinct probabilities from 0."""
    p = np.asarray(p, np.float64)[1:]
    order = np.argsort(p, kind="stable")
    ascending = p[order]
    step = np.diff(ascending, prepend=ascending[:1]) > TOLERANCE * np.abs(ascending)
    level = np.empty(len(p), np.int64)
    level[order] = np.cumsum(step)
    return level


def _tied_pairs(level: Int64) -> int:
    sizes = np.bincount(level)
    return int(np.sum(sizes * (sizes - 1) // 2))


def _require_same_items(p: Float64, q: Float64) -> None:
    if np.shape(p) != np.shape(q) or np.ndim(p) != 1 or len(p) <= 1:
        raise InputError(
            "Two rankings are compared over the same items, at least one; "
            f"got arrays of shape {np.shape(p)} and {np.shape(q)}, entry 0 being padding."
        )
