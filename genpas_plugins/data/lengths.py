"""Sequences ordered and grouped by their length for the draw of a sequence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from genpas_plugins.support.array_types import Int64, Integers

_PIECE = 1 << 22


@dataclass(frozen=True, eq=False)
class LengthIndex:
    """Sequences in order of their length. Sequences of one length keep their order."""

    lengths: Int64
    """int64 [d]. The distinct lengths, ascending."""
    counts: Int64
    """int64 [d]. The number of sequences of each length."""
    order: Integers
    """int32 or int64 [n]. The rows of the sequences, shortest sequence first."""

    @classmethod
    def of(cls, lengths: Int64) -> LengthIndex:
        """Index sequences by their `lengths`, int64 [n], in the memory of the result and one piece."""
        pieces = range(0, len(lengths), _PIECE)
        distinct = np.unique(np.concatenate([np.unique(lengths[a : a + _PIECE]) for a in pieces] or [lengths]))
        counts, order = np.zeros(len(distinct), np.int64), np.empty(len(lengths), smallest_index_type(len(lengths)))
        for a in pieces:
            counts += np.bincount(np.searchsorted(distinct, lengths[a : a + _PIECE]), minlength=len(distinct))
        places = np.cumsum(counts) - counts  # of the next sequence of each length
        for a in pieces:
            group = np.searchsorted(distinct, lengths[a : a + _PIECE])
            own = np.bincount(group, minlength=len(distinct))
            # numpy sorts 16-bit integers by radix, in linear time.
            by_length = np.argsort(group.astype(np.uint16 if len(distinct) < 1 << 16 else np.int64), kind="stable")
            order[np.arange(len(group)) + np.repeat(places - np.cumsum(own) + own, own)] = a + by_length
            places += own
        return cls(distinct.astype(np.int64), counts, order)


class LengthGroups(NamedTuple):
    """Groups of the sequences that have a training pair: one group a length, int64 [d] each.

    Group g is `order[first[g] : first[g] + size[g]]`. Its sequences have `length[g]` ≥ 2 items.
    """

    length: Int64
    first: Int64
    size: Int64


def smallest_index_type(largest: int) -> type[np.int32] | type[np.int64]:
    """Return int32 where `largest` fits into it and else int64."""
    return np.int32 if largest <= np.iinfo(np.int32).max else np.int64


def bounds(lengths: Integers) -> Int64:
    """Return the offsets of rows of these lengths, one row after another, int64 [n + 1].

    >>> bounds(np.array([2, 3]))
    array([0, 2, 5])
    """
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets
