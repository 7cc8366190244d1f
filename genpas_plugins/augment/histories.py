"""A batch of histories one after another, and where each of their items came from."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from genpas_plugins.backend import implementation
from genpas_plugins.gather import fill_jagged, fill_padded

Int64 = NDArray[np.int64]
Column = NDArray[Any]


class Histories(NamedTuple):
    """n histories, none of them empty.

    items   : [N], item numbers from 1, oldest first; 0 where an item was masked
    offsets : int64 [n + 1], history i is items[offsets[i] : offsets[i + 1]]
    rows    : int64 [N], the store's row that each item came from; a new item has the row of what stood at its place.
              So `column[rows]` is what any other column of the store says of these items. None if nobody asked.
    """

    items: Column
    offsets: Int64
    rows: Int64 | None = None

    @property
    def lengths(self) -> Int64:
        """Number of items of each history, int64 [n]."""
        return np.diff(self.offsets)

    def take(self, places: Int64, offsets: Int64) -> Histories:
        """Return histories made of the items at `places`, int64 [M], cut up by `offsets`, int64 [n + 1]."""
        return Histories(self.items[places], offsets, None if self.rows is None else self.rows[places])

    def repeat(self, copies: NDArray[np.int8], backend: str) -> tuple[Histories, Int64]:
        """Return the histories with each item copies[i] times, 0 to 2, int8 [N], and where each item now begins."""
        repeat = implementation(repeated, backend, "genpas_plugins.augment.compiled")
        items, begin = repeat(self.items, copies)
        rows = None if self.rows is None else repeat(self.rows, copies)[0]
        return Histories(items, begin[self.offsets], rows), begin

    def last(self, max_length: int, backend: str) -> Histories:
        """Return the histories cut to their last `max_length` items."""
        lengths = self.lengths
        if lengths.max(initial=0) <= max_length:
            return self
        offsets, cut = bounds(np.minimum(lengths, max_length)), implementation(fill_jagged, backend)
        rows = None if self.rows is None else cut(self.rows, self.offsets[1:], offsets)
        return Histories(cut(self.items, self.offsets[1:], offsets), offsets, rows)

    def padded(self, column: Column, width: int, backend: str = "numpy") -> Column:
        """Return entries of the histories, [N, …] such as `items` or `column[rows]`, as [n, width, …] filled with 0."""
        return implementation(fill_padded, backend)(column, self.offsets[1:], self.lengths, width)


def repeated(column: Column, copies: NDArray[np.int8]) -> tuple[Column, Int64]:
    """Return column[i] copies[i] times, 0 to 2, one i after another, and where each begins, int64 [N + 1]."""
    return np.repeat(column, copies), bounds(copies)


def bounds(lengths: NDArray[np.integer[Any]]) -> Int64:
    """Return the offsets of stretches of these lengths one after another, int64 [n + 1].

    >>> import numpy as np
    >>> bounds(np.array([2, 3]))
    array([0, 2, 5])
    """
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def spans(first: Int64, lengths: Int64) -> Int64:
    """Return the numbers first[i] … first[i] + lengths[i] - 1 of every i, one after another.

    >>> import numpy as np
    >>> spans(np.array([7, 0]), np.array([2, 3]))
    array([7, 8, 0, 1, 2])
    """
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(first - ends + lengths, lengths)
