"""Sequences ordered and grouped by their length, as the draw of a sequence reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from genpas_plugins.support.array_types import Int64, Integers


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
        """Index sequences by their `lengths`, int64 [n]."""
        distinct, counts = np.unique(lengths, return_counts=True)
        order = np.argsort(lengths, kind="stable")
        return cls(distinct.astype(np.int64), counts.astype(np.int64), order.astype(smallest_index_type(len(lengths))))


class LengthGroups(NamedTuple):
    """Groups of the sequences that have a training pair, one group a length; int64 [d] each.

    Group g is `order[first[g] : first[g] + size[g]]`. Its sequences have `length[g]` ≥ 2 items.
    """

    length: Int64
    first: Int64
    size: Int64


def smallest_index_type(largest: int) -> type[np.int32] | type[np.int64]:
    """Return int32 where `largest` fits into it, else int64."""
    return np.int32 if largest <= np.iinfo(np.int32).max else np.int64
