"""From addresses to arrays: the items of each history or another column as padded or jagged arrays.

Shapes: n pairs, L the padded length, N interactions in the store.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from genpas_plugins.data.lengths import bounds
from genpas_plugins.data.sequences import Pairs
from genpas_plugins.sampling.backend import P, R, choose_backend, implementation
from genpas_plugins.support.array_types import AnyArray, Int64
from genpas_plugins.support.errors import InputError, whole_number

_COMPILED = "genpas_plugins.sampling.gather_kernels"
_ROWS = 256


class PaddedBatch(NamedTuple):
    """Histories as one rectangle: history [n, L, …] filled with 0 on the right, length int64 [n] and target [n, …]."""

    history: AnyArray
    length: Int64
    target: AnyArray


class JaggedBatch(NamedTuple):
    """Histories one after another: values [Σ length, …], offsets int64 [n + 1] and target [n, …]."""

    values: AnyArray
    offsets: Int64
    target: AnyArray


def gather_padded(
    column: AnyArray,
    offsets: Int64,
    pairs: Pairs,
    max_length: int,
    *,
    trim: bool = False,
    backend: str | None = None,
) -> PaddedBatch:
    """Gather right-padded histories. A longer history keeps its last `max_length` items.

    Parameters
    ----------
    column : `store.values` or one of `store.columns`, [N, …]
    offsets : `store.offsets`
    pairs : n pairs
    max_length : padded length L
    trim : whether L is the longest history of the batch instead
    backend : "numpy" or "numba"; None: see `choose_backend`

    Returns
    -------
    PaddedBatch
        The histories [n, L, …], their lengths and the targets [n, …].

    Raises
    ------
    InputError
        If a pair lies outside its sequence or an argument is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from genpas_plugins import Pairs
    >>> pairs = Pairs(np.array([0, 1]), np.array([0, 0]), np.array([2, 1]))
    >>> gather_padded(np.array([1, 2, 3, 8, 9]), np.array([0, 3, 5]), pairs, max_length=3).history
    array([[1, 2, 0],
           [8, 0, 0]])
    """
    stop, length = slices_of(offsets, pairs, max_length, len(column), backend)
    width = int(length.max(initial=1)) if trim else max_length
    # Targets first: their cache misses overlap, and histories end beside them.
    target = column[stop]
    fill = implementation_for(column, fill_padded, backend)
    return PaddedBatch(fill(column, stop, length, width), length, target)


def gather_jagged(
    column: AnyArray,
    offsets: Int64,
    pairs: Pairs,
    max_length: int,
    *,
    backend: str | None = None,
) -> JaggedBatch:
    """Gather histories one after another. A longer history keeps its last `max_length` items.

    Parameters
    ----------
    column : `store.values` or one of `store.columns`, [N, …]
    offsets : `store.offsets`
    pairs : n pairs
    max_length : items of a history at most
    backend : "numpy" or "numba"; None: see `choose_backend`

    Returns
    -------
    JaggedBatch
        The histories, their offsets and the targets.

    Raises
    ------
    InputError
        If a pair lies outside its sequence or an argument is out of range.
    """
    stop, length = slices_of(offsets, pairs, max_length, len(column), backend)
    begins = bounds(length)
    target = column[stop]
    fill = implementation_for(column, fill_jagged, backend)
    return JaggedBatch(fill(column, stop, begins), begins, target)


def fill_padded(column: AnyArray, stop: Int64, length: Int64, width: int) -> AnyArray:
    """Copy rows [stop - length, stop) of `column` into each row of a zero-padded rectangle [n, width, …]."""
    if (
        not isinstance(column, np.ndarray)  # type: ignore[redundant-expr]  # a store in parts has joined arrays
        or column.ndim > 1
        or column.itemsize not in (1, 2, 4, 8)
        or len(column) < width
    ):
        return _fill_by_element(column, stop, length, width)
    # Whole rows of `width` items are copied, then the bits after each history are cleared. The temporary arrays of a
    # block stay in the cache and in the heap.
    windows = np.lib.stride_tricks.sliding_window_view(column, width)
    keep = -np.tri(width + 1, width, -1, dtype=f"i{column.itemsize}")
    first, last = stop - length, len(column) - width
    history = np.empty((len(stop), width), column.dtype)
    for block in range(0, len(stop), _ROWS):
        rows = slice(block, block + _ROWS)
        copied = windows[np.minimum(first[rows], last)].view(keep.dtype)
        np.bitwise_and(copied, keep[length[rows]], out=history[rows].view(keep.dtype))
    late = np.flatnonzero(first > last)
    if len(late):
        history[late] = _fill_by_element(column, stop[late], length[late], width)
    return history


def _fill_by_element(column: AnyArray, stop: Int64, length: Int64, width: int) -> AnyArray:
    place = np.arange(width)
    inside = place < length[:, None]
    history: AnyArray = column[np.where(inside, (stop - length)[:, None] + place, 0)]
    history[~inside] = 0
    return history


def fill_jagged(column: AnyArray, stop: Int64, begins: Int64) -> AnyArray:
    """Copy rows [stop - length, stop) of `column` to [begins[i], begins[i + 1]) of one array."""
    length = np.diff(begins)
    return np.asarray(column[np.arange(begins[-1]) + np.repeat(stop - begins[1:], length)])


def slices_of(
    offsets: Int64, pairs: Pairs, max_length: int, size: int, backend: str | None = None
) -> tuple[Int64, Int64]:
    """Return the row of each target and the length of each history: int64 [n] each.

    This function checks every address because compiled code reads the rows unchecked.

    Parameters
    ----------
    offsets, pairs
        The store's offsets and addresses in the store.
    max_length
        Items of a history at most.
    size
        Number of interactions.
    backend
        See `choose_backend`.

    Raises
    ------
    InputError
        A pair is outside its sequence or a sequence is outside the store.
    """
    max_length = whole_number("max_length", max_length, 1, 2**62)
    pairs = Pairs(*(np.ascontiguousarray(part, np.int64) for part in pairs))
    find = implementation(checked_slices, choose_backend(backend), _COMPILED)
    stop, length, bad = find(offsets, pairs, max_length, size)
    if bad >= 0:
        sequence, start, target = (int(part[bad]) for part in pairs)
        raise InputError(
            f"Pair {bad} (sequence {sequence}, start {start}, target {target}) is not in the store: sequences are "
            f"0 … {len(offsets) - 2}, and 0 ≤ start ≤ target < length. Check the pairs. Check a saved store with "
            "`genpas inspect --verify`."
        )
    return stop, length


def checked_slices(offsets: Int64, pairs: Pairs, max_length: int, size: int) -> tuple[Int64, Int64, int]:
    """Return row and length of each pair and the first pair outside the store, or -1."""
    sequence, start, target = pairs
    row = np.minimum(np.maximum(sequence, 0), len(offsets) - 2)
    first, last = offsets[row], offsets[row + 1]
    # A pair's number is negative if one of its parts is. A difference overflows only beside such a part.
    signs = (sequence == row) - np.int64(1)
    for part in (start, target - start, last - first - 1 - target, first, size - last):
        signs |= part
    bad = int(np.argmax(signs < 0)) if signs.min(initial=0) < 0 else -1
    return first + target, np.minimum(target - start, max_length), bad


def implementation_for(column: AnyArray, function: Callable[P, R], backend: str | None) -> Callable[P, R]:
    """Return the implementation of a filling function: compiled only for plain numbers."""
    # numpy copies rows of vectors as fast as compiled code does, and numba takes plain numbers only.
    # The column of a store in parts is several arrays, which numpy's indexing joins.
    plain = isinstance(column, np.ndarray) and column.ndim == 1  # type: ignore[redundant-expr]
    plain = plain and column.dtype.isnative and column.dtype.kind in "biufc" and column.dtype != np.float16
    return implementation(function, choose_backend(backend) if plain else "numpy", _COMPILED)
