"""Histories whose items operators change and the store row that each item came from."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import DTypeLike

from genpas_plugins.data.lengths import bounds
from genpas_plugins.sampling.backend import implementation
from genpas_plugins.sampling.batch import StoreHistories
from genpas_plugins.sampling.gather import fill_padded, implementation_for
from genpas_plugins.sampling.jagged import spans
from genpas_plugins.support.array_types import AnyArray, Int8, Int64, UInt32

_MODULE = "genpas_plugins.augment.operator_kernels"


@dataclass(frozen=True, eq=False)
class ChangedHistories:
    """The histories of a batch as their own arrays. See `genpas_plugins.sampling.batch.Histories`."""

    items: AnyArray  # [N], item numbers from 1, oldest first; 0 where an item was masked
    offsets: Int64  # int64 [n + 1], history i is items[offsets[i] : offsets[i + 1]]
    sequence: Int64  # int64 [n], the store's sequence of each history
    # int64 [N], the store's row that each item came from, or None if no column beside the items is wanted. A new item
    # has the row of the item at its place, so `column[rows]` are the entries of any column of the store.
    rows: Int64 | None
    backend: str  # "numpy" or "numba"

    @classmethod
    def of(cls, histories: StoreHistories, *, with_rows: bool) -> ChangedHistories:
        """Copy histories out of the store."""
        items, offsets = histories.jagged()
        lengths = histories.lengths
        rows = spans(histories.stop - lengths, lengths) if with_rows else None
        return cls(items, offsets, histories.sequence, rows, histories.backend)

    @property
    def lengths(self) -> Int64:
        """Number of items `int64 [n]` of each history."""
        return np.diff(self.offsets)

    def jagged(self) -> tuple[AnyArray, Int64]:
        """Return the items and their offsets."""
        return self.items, self.offsets

    def padded(self, width: int, dtype: DTypeLike | None = None) -> AnyArray:
        """Return the items `[n, width]` with 0 after each history."""
        items = self._padded(self.items, width)
        return items if dtype is None else items.astype(dtype, copy=False)

    def padded_column(self, column: AnyArray, width: int) -> AnyArray:
        """Return a store column beside the items `[n, width, …]` with 0 after each history."""
        return self._padded(column[self.rows], width)

    @property
    def known(self) -> Int64:
        """Number of unmasked items int64 [n] of each history."""
        if not len(self.items):
            return self.lengths
        return np.add.reduceat(self.items != 0, self.offsets[:-1], dtype=np.int64)

    def share(self, rate: float, at_most: Int64 | None = None) -> Int64:
        """Return max(1, ⌊rate · length⌋) int64 [n] of each history cut to 0 … `at_most`. An empty history has 0."""
        lengths = self.lengths
        counts = numbers_of_items(rate, int(lengths.max(initial=0)).bit_length())[lengths]
        return counts if at_most is None else np.clip(counts, 0, np.maximum(at_most, 0))

    def at(self, places: Int64) -> AnyArray:
        """Return the items at `places`. See `Draws.choose`."""
        return self.items[places]

    def slices(self, first: Int64, lengths: Int64) -> ChangedHistories:
        """Return the items first[i] … first[i] + lengths[i] - 1 of each history: int64 [n] from its first item."""
        return self._take(spans(self.offsets[:-1] + first, lengths), bounds(lengths))

    def reordered(self, first: Int64, lengths: Int64, places: Int64) -> ChangedHistories:
        """Return the histories with the items at `places` in the places first[i] … first[i] + lengths[i] - 1."""
        order = np.arange(len(self.items))
        order[spans(self.offsets[:-1] + first, lengths)] = places
        return self._take(order, self.offsets)

    def without(self, places: Int64) -> ChangedHistories:
        """Return the histories without the items at `places`."""
        copies = np.ones(len(self.items), np.int8)
        copies[places] = 0
        return self._repeat(copies)

    def thinned(self, words: UInt32, lengths: Int64, below: int) -> ChangedHistories:
        """Return the histories without most items whose word is `below`; see `keep_mask`."""
        keep = implementation(keep_mask, self.backend, _MODULE)
        return self._repeat(keep(words, self.offsets, lengths, np.uint32(below)))

    def _take(self, places: Int64, offsets: Int64) -> ChangedHistories:
        return self._with(self.items[places], offsets, None if self.rows is None else self.rows[places])

    def _repeat(self, copies: Int8) -> ChangedHistories:
        copy = implementation(repeat, self.backend, _MODULE)
        items, offsets = copy(self.items, copies, self.offsets)
        return self._with(items, offsets, None if self.rows is None else copy(self.rows, copies, self.offsets)[0])

    def insert(self, places: Int64, items: AnyArray) -> ChangedHistories:
        """Return the histories with a new item (from 1) before the item at each of `places`."""
        new = np.zeros_like(self.items)
        new[places] = items
        changed, offsets = implementation(interleave, self.backend, _MODULE)(self.items, new, self.offsets)
        rows = None
        if self.rows is not None:
            copies = np.where(new != 0, np.int8(2), np.int8(1))
            rows, _ = implementation(repeat, self.backend, _MODULE)(self.rows, copies, self.offsets)
        return self._with(changed, offsets, rows)

    def last(self, max_length: int) -> ChangedHistories:
        """Return the histories cut to their last `max_length` items."""
        lengths = self.lengths
        if lengths.max(initial=0) <= max_length:
            return self
        offsets, cut = bounds(np.minimum(lengths, max_length)), implementation(ends, self.backend, _MODULE)
        rows = None if self.rows is None else cut(self.rows, self.offsets, offsets)
        return self._with(cut(self.items, self.offsets, offsets), offsets, rows)

    def with_items(self, places: Int64, items: AnyArray | int) -> ChangedHistories:
        """Return the histories with other items at `places`."""
        changed = self.items.copy()
        changed[places] = items
        return replace(self, items=changed)

    def _with(self, items: AnyArray, offsets: Int64, rows: Int64 | None) -> ChangedHistories:
        return replace(self, items=items, offsets=offsets, rows=rows)

    def _padded(self, entries: AnyArray, width: int) -> AnyArray:
        fill = implementation_for(entries, fill_padded, self.backend)
        return fill(entries, self.offsets[1:], self.lengths, width)


def repeat(column: AnyArray, copies: Int8, offsets: Int64) -> tuple[AnyArray, Int64]:
    """Return column[i] 0 to 2 times as in `copies` and the new offsets of the rows."""
    return np.repeat(column, copies), bounds(copies)[offsets]


def interleave(column: AnyArray, new: AnyArray, offsets: Int64) -> tuple[AnyArray, Int64]:
    """Return new[i] (unless it is 0) and column[i] for every i and the new offsets of the rows."""
    place = np.flatnonzero(new)
    begin = np.arange(len(column) + 1)
    begin[1:] += np.cumsum(new != 0)
    result = np.empty(len(column) + len(place), column.dtype)
    result[begin[1:] - 1] = column
    result[begin[place]] = new[place]
    return result, begin[offsets]


def ends(column: AnyArray, offsets: Int64, shorter: Int64) -> AnyArray:
    """Return the end of each row with as many entries as in the rows of the offsets `shorter` `int64 [n + 1]`."""
    # Few rows are too long as a rule, so the entries that go are looked for.
    surplus = np.diff(offsets) - np.diff(shorter)
    cut = np.flatnonzero(surplus)
    return np.delete(column, spans(offsets[cut], surplus[cut]))


def keep_mask(words: UInt32, offsets: Int64, lengths: Int64, below: np.uint32) -> Int8:
    """Return which items stay as `int8 [N]` of 1 or 0.

    `words` are uint32 [Σ lengths] for the items of sampled histories with `lengths` above 0. `offsets` are of all
    histories. An item with a word `below` goes except the item with the largest word of its history.
    """
    copies = np.ones(offsets[-1], np.int8)
    rows = np.flatnonzero(lengths)
    if len(rows):
        # The item with the largest word is kept whenever any item is, so keeping it always leaves no history empty.
        largest = np.maximum.reduceat(words, bounds(lengths[rows])[:-1])
        stays = (words >= below) | (words == np.repeat(largest, lengths[rows]))
        copies[spans(offsets[rows], lengths[rows])] = stays
    return copies


@cache
def numbers_of_items(rate: float, bits: int) -> Int64:
    """Return max(1, ⌊rate · n⌋) for n from 1 to 2**bits - 1 and 0 for n = 0. rate is above 0.

    The product is first rounded to nine decimals: 0.29 · 100 is 29.
    """
    counts = [max(1, math.floor(round(rate * n, 9))) for n in range(1 << bits)]
    return np.array([0, *counts[1:]], np.int64)
