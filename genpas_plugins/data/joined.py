"""Arrays of several files that are indexed as one array and never copied whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from genpas_plugins.support.array_types import AnyArray, Int64


class JoinedArray:
    """Consecutive arrays of one type. An index or an operation on the whole gives an ndarray.

    Parameters
    ----------
    arrays
        At least one array [n_k, …]. The other dimensions and the dtype are the same.

    Examples
    --------
    >>> import numpy as np
    >>> joined = JoinedArray([np.array([1, 2, 3]), np.array([8, 9])])
    >>> joined[np.array([4, 0])], joined[2:4]
    (array([9, 1]), array([3, 8]))
    """

    def __init__(self, arrays: Sequence[AnyArray]) -> None:
        self.arrays = tuple(arrays)
        self.dtype: np.dtype[Any] = arrays[0].dtype
        self.ends: Int64 = np.cumsum([len(array) for array in arrays])
        if any((array.dtype, array.shape[1:]) != (self.dtype, arrays[0].shape[1:]) for array in arrays):
            raise ValueError("the arrays to join have several types or shapes")

    shape = property(lambda self: (int(self.ends[-1]), *self.arrays[0].shape[1:]))
    ndim = property(lambda self: self.arrays[0].ndim)
    itemsize = property(lambda self: self.dtype.itemsize)
    size = property(lambda self: sum(array.size for array in self.arrays))
    nbytes = property(lambda self: sum(array.nbytes for array in self.arrays))

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> AnyArray:
        """Copy all arrays into one for code that needs it whole."""
        return np.concatenate(self.arrays).astype(dtype or self.dtype, copy=False)

    def __getitem__(self, key: Any) -> Any:
        """Return rows as numpy does for a number, a slice or an array of numbers or booleans."""
        if isinstance(key, slice):
            first, stop, step = key.indices(len(self))
            return self._stretch(first, max(first, stop)) if step == 1 else self[np.arange(first, stop, step)]
        places = np.asarray(key)
        if places.dtype == np.bool_:
            if places.shape != (len(self),):
                raise IndexError(f"a mask of shape {places.shape} for {len(self)} rows")
            places = np.flatnonzero(places)
        return self._rows(places.ravel()).reshape(places.shape + self.shape[1:])[()]

    def _stretch(self, first: int, stop: int) -> AnyArray:
        begins = self.ends - [len(array) for array in self.arrays]
        # A stretch of no row is an empty stretch of one array.
        low = min(int(np.searchsorted(self.ends, first, side="right")), len(self.arrays) - 1)
        high = max(int(np.searchsorted(begins, stop)), low + 1)
        parts = [
            self.arrays[k][max(first - int(begins[k]), 0) : max(stop - int(begins[k]), 0)] for k in range(low, high)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _rows(self, places: Int64) -> AnyArray:
        n = len(self)
        if len(places) and not (-n <= places.min() and places.max() < n):
            raise IndexError(f"a row outside the {n} rows")
        places = np.where(places < 0, places + n, places)
        part = np.searchsorted(self.ends, places, side="right").astype(np.uint16)
        order = np.argsort(part, kind="stable")  # numpy sorts 16-bit integers by radix, in linear time
        bounds = np.searchsorted(part[order], np.arange(len(self.arrays) + 1, dtype=np.int64))
        rows = np.empty((len(places), *self.shape[1:]), self.dtype)
        for k in np.flatnonzero(np.diff(bounds)):
            chosen = order[bounds[k] : bounds[k + 1]]
            rows[chosen] = self.arrays[k][places[chosen] - (self.ends[k] - len(self.arrays[k]))]
        return rows
