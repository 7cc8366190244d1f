"""The numba twins of the functions that gather: same names, arguments and bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from genpas_plugins.data.sequences import Pairs
from genpas_plugins.support.array_types import AnyArray, Int64

_ROWS, _LINE = 32, 16  # histories whose cache lines are loaded ahead together; int32 items in a line

_compiled = njit(cache=True, nogil=True, boundscheck=False)
_inlined = njit(cache=True, nogil=True, boundscheck=False, inline="always")


def checked_slices(offsets: Int64, pairs: Pairs, max_length: int, size: int) -> tuple[Int64, Int64, int]:
    """Twin of `genpas_plugins.sampling.gather.checked_slices`."""
    stop, length = np.empty(len(pairs.target), np.int64), np.empty(len(pairs.target), np.int64)
    return stop, length, _checked_slices(offsets, *pairs, max_length, size, stop, length)


def fill_padded(column: AnyArray, stop: Int64, length: Int64, width: int) -> AnyArray:
    """Twin of `genpas_plugins.sampling.gather.fill_padded` for one-dimensional columns."""
    history = np.empty((len(stop), width), column.dtype)
    _fill_padded(column, stop, length, history)
    return history


def fill_jagged(column: AnyArray, stop: Int64, bounds: Int64) -> AnyArray:
    """Twin of `genpas_plugins.sampling.gather.fill_jagged` for one-dimensional columns."""
    values = np.empty(bounds[-1], column.dtype)
    _fill_jagged(column, stop, bounds, values)
    return values


@_compiled
def _checked_slices(
    offsets: Any, sequence: Any, start: Any, target: Any, max_length: Any, size: Any, stop: Any, length: Any
) -> Any:
    for i in range(len(sequence)):
        row = sequence[i]
        if row < 0 or row >= len(offsets) - 1 or start[i] < 0 or start[i] > target[i]:
            return i
        first, last = offsets[row], offsets[row + 1]
        if first < 0 or last < 0 or last > size or target[i] >= last - first:
            return i
        stop[i] = first + target[i]
        length[i] = min(target[i] - start[i], max_length)
    return -1


@_inlined
def _touch(column: Any, stop: Any, length: Any) -> Any:
    """Load each cache line of [stop - length, stop) once. The result keeps the compiler from removing the loads."""
    touched = 0
    for place in range(stop - length, stop, _LINE):
        touched += column[place] != 0
    return touched


@_compiled
def _fill_padded(column: Any, stop: Any, length: Any, history: Any) -> Any:
    touched = 0
    for block in range(0, len(stop), _ROWS):
        end = min(block + _ROWS, len(stop))
        # No load here waits for another; copying row by row, each would wait for the row before it.
        for i in range(block, end):
            touched += _touch(column, stop[i], length[i])
        for i in range(block, end):
            n, first = length[i], stop[i] - length[i]
            for j in range(n):
                history[i, j] = column[first + j]
            for j in range(n, history.shape[1]):
                history[i, j] = 0
    return touched


@_compiled
def _fill_jagged(column: Any, stop: Any, bounds: Any, values: Any) -> Any:
    touched = 0
    for block in range(0, len(stop), _ROWS):
        end = min(block + _ROWS, len(stop))
        for i in range(block, end):
            touched += _touch(column, stop[i], bounds[i + 1] - bounds[i])
        for i in range(block, end):
            shift = stop[i] - bounds[i + 1]
            for j in range(bounds[i], bounds[i + 1]):
                values[j] = column[j + shift]
    return touched
