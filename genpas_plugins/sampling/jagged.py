"""Rows of different lengths in one array: the places of each row."""

from __future__ import annotations

import numpy as np

from genpas_plugins.support.array_types import Int64, Integers


def spans(first: Integers | int, lengths: Integers) -> Int64:
    """Return the numbers first[i] … first[i] + lengths[i] - 1 of every i in one row: int64 [Σ lengths].

    >>> spans(np.array([7, 0]), np.array([2, 3]))
    array([7, 8, 0, 1, 2])
    """
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(first - ends + lengths, lengths)
