"""The numba twins of the operators' functions: same names, arguments and bits.

A place in an array that counts up is unsigned or begins a slice. A signed place is checked each time for counting from
the end. The compiler then cannot vectorise the loop.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, uint32, uint64

from genpas_plugins.sampling.kernels import _philox, _uniform
from genpas_plugins.support.array_types import AnyArray, Float64, Int8, Int64, UInt32

_compiled = njit(cache=True, nogil=True, boundscheck=False)
_inlined = njit(cache=True, nogil=True, boundscheck=False, inline="always")


def pair_numbers(seed: int, epoch: int, block: int, indices: Int64) -> tuple[Float64, Float64]:
    """Twin of `genpas_plugins.augment.draws.pair_numbers`."""
    first, second = np.empty(len(indices)), np.empty(len(indices))
    _pair_numbers(np.uint64(seed), np.uint32(epoch), np.uint32(block), indices, first, second)
    return first, second


def jagged_words(seed: int, epoch: int, block: int, indices: Int64, counts: Int64) -> UInt32:
    """Twin of `genpas_plugins.augment.draws.jagged_words`."""
    words = np.empty(int(counts.sum()), np.uint32)
    _jagged_words(np.uint64(seed), np.uint32(epoch), np.int64(block), indices, counts, words)
    return words


def drawn_numbers(
    seed: int, epoch: int, block: int, indices: Int64, first: Int64, lengths: Int64, counts: Int64, each: int
) -> tuple[Int64, UInt32]:
    """Twin of `genpas_plugins.augment.draws.drawn_numbers`."""
    total, longest = int(counts.sum()), int(lengths.max(initial=0))
    chosen, further = np.empty(total, np.int64), np.empty(total if each > 1 else 0, np.uint32)
    # Room for the words and the numbers of one pair.
    words, numbers = np.empty(each * longest, np.uint32), np.empty(longest, np.int64)
    _drawn_numbers(
        np.uint64(seed), np.uint32(epoch), np.int64(block), indices, first, lengths, counts, words, numbers,
        chosen, further,
    )  # fmt: skip
    return chosen, further


def repeat(column: AnyArray, copies: Int8, offsets: Int64) -> tuple[AnyArray, Int64]:
    """Twin of `genpas_plugins.augment.histories.repeat`. Copies are 0, 1 or 2."""
    moved = np.zeros(len(offsets), np.int64)
    result = np.empty(2 * len(column) + 2, column.dtype)
    _repeated(column, copies, offsets, moved, result)
    return result[: moved[-1]], moved


def interleave(column: AnyArray, new: AnyArray, offsets: Int64) -> tuple[AnyArray, Int64]:
    """Twin of `genpas_plugins.augment.histories.interleaved`."""
    moved = np.zeros(len(offsets), np.int64)
    result = np.empty(2 * len(column) + 2, column.dtype)
    _interleaved(column, new, offsets, moved, result)
    return result[: moved[-1]], moved


def ends(column: AnyArray, offsets: Int64, shorter: Int64) -> AnyArray:
    """Twin of `genpas_plugins.augment.histories.ends`."""
    result = np.empty(shorter[-1], column.dtype)
    _ends(column, offsets, shorter, result)
    return result


def keep_mask(words: UInt32, offsets: Int64, lengths: Int64, below: np.uint32) -> Int8:
    """Twin of `genpas_plugins.augment.histories.kept`."""
    copies = np.ones(int(offsets[-1]), np.int8)
    _kept(words, offsets, lengths, below, copies)
    return copies


@_inlined
def _fill(words: Any, begin: Any, end: Any, index: Any, epoch: Any, block: Any, key0: Any, key1: Any) -> None:
    """Write the pair's words from `block` on to words[begin:end]."""
    while begin < end:
        a, b, c, d = _philox(uint64(index), epoch, uint32(block), key0, key1)
        words[begin] = a
        if begin + 1 < end:
            words[begin + 1] = b
        if begin + 2 < end:
            words[begin + 2] = c
        if begin + 3 < end:
            words[begin + 3] = d
        begin += 4
        block += 1


@_compiled
def _pair_numbers(seed: Any, epoch: Any, block: Any, indices: Any, first: Any, second: Any) -> None:
    key0, key1 = uint32(seed), uint32(seed >> uint64(32))
    for i in range(len(indices)):
        a, b, c, d = _philox(uint64(indices[i]), epoch, block, key0, key1)
        first[i], second[i] = _uniform(a, b), _uniform(c, d)


@_compiled
def _jagged_words(seed: Any, epoch: Any, block: Any, indices: Any, counts: Any, words: Any) -> None:
    key0, key1 = uint32(seed), uint32(seed >> uint64(32))
    begin = 0
    for i in range(len(indices)):
        _fill(words, begin, begin + counts[i], indices[i], epoch, block, key0, key1)
        begin += counts[i]


@_compiled
def _drawn_numbers(
    seed: Any,
    epoch: Any,
    block: Any,
    indices: Any,
    first: Any,
    lengths: Any,
    counts: Any,
    words: Any,
    numbers: Any,
    chosen: Any,
    further: Any,
) -> None:
    key0, key1 = uint32(seed), uint32(seed >> uint64(32))
    each = 2 if len(further) else 1
    out = 0
    for i in range(len(counts)):
        if counts[i] == 0:
            continue
        _fill(words, 0, each * counts[i], indices[i], epoch, block, key0, key1)
        for j in range(lengths[i]):
            numbers[j] = first[i] + j
        for step in range(counts[i]):
            other = step + np.int64((uint64(words[each * step]) * uint64(lengths[i] - step)) >> uint64(32))
            chosen[out] = numbers[other]
            numbers[other] = numbers[step]
            if each > 1:
                further[out] = words[each * step + 1]
            out += 1


@_compiled
def _repeated(column: Any, copies: Any, offsets: Any, moved: Any, result: Any) -> None:
    out = uint64(0)
    for i in range(len(offsets) - 1):
        for j in range(uint64(offsets[i]), uint64(offsets[i + 1])):
            # Both places are written, and `out` decides which of them count: no branch to mispredict.
            result[out] = result[out + uint64(1)] = column[j]
            out += uint64(copies[j])
        moved[i + 1] = out


@_compiled
def _interleaved(column: Any, new: Any, offsets: Any, moved: Any, result: Any) -> None:
    out = uint64(0)
    for i in range(len(offsets) - 1):
        for j in range(uint64(offsets[i]), uint64(offsets[i + 1])):
            # As above: 0, no new item, is written too, and overwritten by the next line.
            result[out] = new[j]
            out += uint64(new[j] != 0)
            result[out] = column[j]
            out += uint64(1)
        moved[i + 1] = out


@_inlined
def _copy(source: Any, begin: Any, target: Any, place: Any, count: Any) -> None:
    source, target = source[begin:], target[place:]
    for j in range(count):
        target[j] = source[j]


@_compiled
def _ends(column: Any, offsets: Any, shorter: Any, result: Any) -> None:
    done, begin = 0, 0
    for i in range(len(offsets) - 1):
        surplus = offsets[i + 1] - offsets[i] - (shorter[i + 1] - shorter[i])
        if surplus:
            # The entries between two cuts are copied in one go.
            _copy(column, begin, result, done, shorter[i] - done)
            done, begin = shorter[i], offsets[i] + surplus
    _copy(column, begin, result, done, len(result) - done)


@_compiled
def _kept(words: Any, offsets: Any, lengths: Any, below: Any, copies: Any) -> None:
    begin = 0
    for i in range(len(lengths)):
        largest, own, stays = uint32(0), words[begin:], copies[offsets[i] :]
        for j in range(lengths[i]):
            largest = max(largest, own[j])
        for j in range(lengths[i]):
            stays[j] = own[j] >= below or own[j] == largest
        begin += lengths[i]
