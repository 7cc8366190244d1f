"""A batch of histories one after another, and where each of their items came from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from genpas_plugins.sampling.backend import implementation
from genpas_plugins.sampling.gather import fill_padded
from genpas_plugins.sampling.jagged import bounds, spans
from genpas_plugins.support.array_types import AnyArray, Int8, Int64

_MODULE = "genpas_plugins.augment.operator_kernels"


class Histories(NamedTuple):
    """n histories, none of them empty.

    items   : [N], item numbers from 1, oldest first; 0 where an item was masked
    offsets : int64 [n + 1], history i is items[offsets[i] : offsets[i + 1]]
    rows    : int64 [N], the store's row that each item came from; a new item has the row of what stood at its place.
              So `column[rows]` is what any other column of the store says of these items. None if nobody asked.
    """

    items: AnyArray
    offsets: Int64
    rows: Int64 | None = None

    @property
    def lengths(self) -> Int64:
        """Number of items of each history, int64 [n]."""
        return np.diff(self.offsets)

    def take(self, places: Int64, offsets: Int64) -> Histories:
        """Return histories made of the items at `places`, int64 [M], cut up by `offsets`, int64 [n + 1]."""
        return Histories(self.items[places], offsets, None if self.rows is None else self.rows[places])

    def repeat(self, copies: Int8, backend: str) -> Histories:
        """Return the histories with each item copies[i] times, 0 to 2, int8 [N]."""
        repeat = implementation(repeated, backend, _MODULE)
        items, offsets = repeat(self.items, copies, self.offsets)
        return Histories(items, offsets, None if self.rows is None else repeat(self.rows, copies, self.offsets)[0])

    def insert(self, new: AnyArray, backend: str) -> Histories:
        """Return the histories with item new[i] before each item i, [N] of the type of `items`; 0 for none."""
        items, offsets = implementation(interleaved, backend, _MODULE)(self.items, new, self.offsets)
        if self.rows is None:
            return Histories(items, offsets)
        copies = np.where(new != 0, np.int8(2), np.int8(1))
        rows, _ = implementation(repeated, backend, _MODULE)(self.rows, copies, self.offsets)
        return Histories(items, offsets, rows)

    def last(self, max_length: int, backend: str) -> Histories:
        """Return the histories cut to their last `max_length` items."""
        lengths = self.lengths
        if lengths.max(initial=0) <= max_length:
            return self
        offsets, cut = bounds(np.minimum(lengths, max_length)), implementation(ends, backend, _MODULE)
        rows = None if self.rows is None else cut(self.rows, self.offsets, offsets)
        return Histories(cut(self.items, self.offsets, offsets), offsets, rows)

    def padded(self, column: AnyArray, width: int, backend: str = "numpy") -> AnyArray:
        """Return entries of the histories, [N, …] such as `items` or `column[rows]`, as [n, width, …] filled with 0."""
        return implementation(fill_padded, backend)(column, self.offsets[1:], self.lengths, width)


def repeated(column: AnyArray, copies: Int8, offsets: Int64) -> tuple[AnyArray, Int64]:
    """Return column[i] copies[i] times, 0 to 2, one i after another, and where the stretches of `offsets` are then."""
    return np.repeat(column, copies), bounds(copies)[offsets]


def interleaved(column: AnyArray, new: AnyArray, offsets: Int64) -> tuple[AnyArray, Int64]:
    """Return new[i], unless it is 0, and column[i], one i after another, and where the stretches of `offsets` are."""
    place = np.flatnonzero(new)
    begin = np.arange(len(column) + 1)
    begin[1:] += np.cumsum(new != 0)
    result = np.empty(len(column) + len(place), column.dtype)
    result[begin[1:] - 1] = column
    result[begin[place]] = new[place]
    return result, begin[offsets]


def ends(column: AnyArray, offsets: Int64, shorter: Int64) -> AnyArray:
    """Return the ends of the stretches of `offsets`, [n + 1]: as much of each as `shorter`, [n + 1], has room for.

    Few stretches are too long as a rule, so what goes is looked for, not what stays.
    """
    surplus = np.diff(offsets) - np.diff(shorter)
    cut = np.flatnonzero(surplus)
    return np.delete(column, spans(offsets[cut], surplus[cut]))
