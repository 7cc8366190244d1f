"""The numba twins of the numpy functions: same names, same arguments, same bits.

Each twin is one loop over pairs; the numpy function says what it computes. `nogil` lets a prefetching thread draw while
the model computes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, uint32, uint64

from genpas_plugins.data.sequences import Pairs
from genpas_plugins.sampling.enumeration import PairNumbering, PairNumbers
from genpas_plugins.sampling.permutation import ROUNDS as PERMUTATION_ROUNDS
from genpas_plugins.sampling.permutation import binary_halves, halves
from genpas_plugins.sampling.random_stream import MIXERS, MULTIPLIERS, ROUNDS, WEYL
from genpas_plugins.sampling.sampler import DrawTables, Visits
from genpas_plugins.support.array_types import AnyArray, Int64, UInt32

_M0, _M1 = np.uint64(MULTIPLIERS[0]), np.uint64(MULTIPLIERS[1])
_W0, _W1 = np.uint32(WEYL[0]), np.uint32(WEYL[1])
_MIX0, _MIX1, _MIX2 = map(np.uint64, MIXERS)
_UNIT = 2.0**-53
_ROWS, _LINE = 32, 16  # histories whose cache lines are loaded ahead together; int32 items in a line

_compiled = njit(cache=True, nogil=True, boundscheck=False)
_inlined = njit(cache=True, nogil=True, boundscheck=False, inline="always")


def draw_pairs(tables: DrawTables, seed: int, epoch: int, indices: Int64) -> Pairs:
    """Twin of `genpas_plugins.sampling.sampler.draw_pairs`."""
    visits = draw_visits(tables, seed, epoch, indices)
    start, target = np.empty(len(indices), np.int64), np.empty(len(indices), np.int64)
    _choose_pairs(
        tables.target.cumulative,
        tables.start.cumulative,
        tables.target.last,
        tables.start.last,
        tables.target.even,
        tables.start.even,
        *visits[1:],
        start,
        target,
    )
    return Pairs(visits.sequence, start, target)


def draw_visits(tables: DrawTables, seed: int, epoch: int, indices: Int64) -> Visits:
    """Twin of `genpas_plugins.sampling.sampler.draw_visits`."""
    n = len(indices)
    visits = Visits(np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n), np.empty(n, np.int64), np.empty(n))
    words = tables.words(seed, epoch)
    a, b = binary_halves(tables.size)
    _visit(
        tables.size,
        tables.last_point,
        a,
        b.bit_length() - 1,
        words.order,
        words.offset,
        np.uint64(words.key),
        tables.group_begin,
        tables.group_end,
        tables.group_weight,
        tables.group_inverse,
        tables.group_length,
        tables.group_first,
        tables.group_count,
        tables.group_guide,
        tables.order,
        np.uint64(seed),
        np.uint32(epoch),
        np.ascontiguousarray(indices),
        *visits,
    )
    return visits


def enumerate_numbers(numbering: PairNumbering, keys: UInt32, indices: Int64) -> PairNumbers:
    """Twin of `genpas_plugins.sampling.enumeration.enumerate_numbers`."""
    places = PairNumbers(*(np.empty(len(indices), np.int64) for _ in range(3)))
    _enumerate(
        numbering.ends,
        numbering.per_sequence,
        numbering.group_length,
        numbering.group_first,
        numbering.order,
        *halves(numbering.total),
        keys,
        np.ascontiguousarray(indices),
        *places,
    )
    return places


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


@_inlined
def _philox(index: Any, epoch: Any, block: Any, key0: Any, key1: Any) -> Any:
    c0, c1 = uint32(index), uint32(index >> uint64(32))
    c2, c3 = uint32(epoch), uint32(block)
    for _ in range(ROUNDS):
        p0, p1 = _M0 * uint64(c0), _M1 * uint64(c2)
        c0, c1 = uint32(uint32(p1 >> uint64(32)) ^ c1 ^ key0), uint32(p1)
        c2, c3 = uint32(uint32(p0 >> uint64(32)) ^ c3 ^ key1), uint32(p0)
        key0, key1 = uint32(key0 + _W0), uint32(key1 + _W1)
    return c0, c1, c2, c3


@_inlined
def _uniform(high: Any, low: Any) -> Any:
    return float(((uint64(high) << uint64(32)) | uint64(low)) >> uint64(11)) * _UNIT


@_inlined
def _above(table: Any, value: Any, low: Any, high: Any) -> Any:
    """Return the first place in table[low:high] with an entry above `value`, else `high`."""
    while low < high:
        middle = (low + high) >> 1
        if table[middle] > value:
            high = middle
        else:
            low = middle + 1
    return low


@_inlined
def _scaled_hash(x: Any, key: Any, size: Any) -> Any:
    h = uint32(uint32(x) ^ key)
    h = uint32(h ^ (h >> uint32(16)))
    h = uint32(h * uint32(0x85EBCA6B))
    h = uint32(h ^ (h >> uint32(13)))
    h = uint32(h * uint32(0xC2B2AE35))
    h = uint32(h ^ (h >> uint32(16)))
    return np.int64((uint64(h) * uint64(size)) >> uint64(32))


@_inlined
def _permute(x: Any, n: Any, a: Any, b: Any, keys: Any) -> Any:
    while True:
        left, right = x // b, x % b
        for number in range(PERMUTATION_ROUNDS):
            if number % 2 == 0:
                left += _scaled_hash(right, keys[number], a)
                left -= a if left >= a else 0
            else:
                right += _scaled_hash(left, keys[number], b)
                right -= b if right >= b else 0
        x = left * b + right
        if x < n:
            return x


@_inlined
def _rounds(x: Any, a: Any, shift: Any, key0: Any, key1: Any, key2: Any, key3: Any) -> Any:
    """Apply the network with sides a and 2**shift to x."""
    b = 1 << shift
    left, right = x >> shift, x & (b - 1)
    left += _scaled_hash(right, key0, uint32(a))
    left -= a if left >= a else 0
    right = (right + _scaled_hash(left, key1, uint32(b))) & (b - 1)
    left += _scaled_hash(right, key2, uint32(a))
    left -= a if left >= a else 0
    right = (right + _scaled_hash(left, key3, uint32(b))) & (b - 1)
    return (left << shift) | right


@_compiled
def _shuffle(indices: Any, n: Any, a: Any, shift: Any, keys: Any, places: Any) -> None:
    key0, key1, key2, key3 = keys[0], keys[1], keys[2], keys[3]
    for i in range(len(indices)):
        places[i] = _rounds(indices[i], a, shift, key0, key1, key2, key3)
    for i in range(len(indices)):
        while places[i] >= n:
            places[i] = _rounds(places[i], a, shift, key0, key1, key2, key3)


@_inlined
def _choose(table: Any, last: Any, even: Any, size: Any, u: Any, n: Any) -> Any:
    if last:
        return size
    if even:
        return min(np.int64(u * (size / n)) + 1, size)
    return _above(table, u * (table[size] / n), 0, size)


@_inlined
def _keyed_uniform(number: Any, key: Any) -> Any:
    z = uint64(number) * _MIX0 + key
    z = (z ^ (z >> uint64(30))) * _MIX1
    z = (z ^ (z >> uint64(27))) * _MIX2
    return float((z ^ (z >> uint64(31))) >> uint64(11)) * _UNIT


@_inlined
def _first_place(bound: Any, offset: Any) -> Any:
    place = np.ceil(bound - offset)
    return np.int64(place + (place + offset < bound))


@_compiled
def _visit(
    size: Any,
    last_point: Any,
    a: Any,
    shift: Any,
    keys: Any,
    offset: Any,
    sequence_key: Any,
    group_begin: Any,
    group_end: Any,
    group_weight: Any,
    group_inverse: Any,
    group_length: Any,
    group_first: Any,
    group_count: Any,
    group_guide: Any,
    order: Any,
    seed: Any,
    epoch: Any,
    indices: Any,
    sequence: Any,
    length: Any,
    quantile: Any,
    visits: Any,
    word: Any,
) -> None:
    key0, key1 = uint32(seed), uint32(seed >> uint64(32))
    guides, n = len(group_guide) / size, len(indices)
    places = np.empty(n, np.int64)
    # Loops of their own, because the compiler turns those without a search into vector instructions.
    _shuffle(indices, size, a, shift, keys, places)
    for i in range(n):
        point = min(places[i] + offset, last_point)
        group = group_guide[min(np.int64(point * guides), len(group_guide) - 1)]
        while group_end[group] <= point:
            group += 1
        length[i] = group
    for i in range(n):
        word0, word1, _, _ = _philox(uint64(indices[i]), epoch, uint32(0), key0, key1)
        word[i] = _uniform(word0, word1)
    for i in range(n):
        group, place = length[i], places[i]
        point = min(place + offset, last_point)
        begin, end = group_begin[group], group_end[group]
        weight, count = group_weight[group], group_count[group]
        rank = np.int64(min((point - begin) * group_inverse[group], float(count - 1)))
        rank -= begin + rank * weight > point
        rank += (rank + 1 < count) & (begin + (rank + 1) * weight <= point)
        after = min(begin + (rank + 1) * weight, end) if rank + 1 < count else end
        first = _first_place(begin + rank * weight, offset)
        of_sequence = max(_first_place(after, offset) - first, 1)
        places[i] = min(max(place - first, 0), of_sequence - 1)
        sequence[i], length[i] = group_first[group] + rank, group_length[group]
        visits[i] = of_sequence
    for i in range(n):
        visit = float(places[i])
        inside = visit + _keyed_uniform(sequence[i], sequence_key)
        quantile[i] = inside if inside < visit + 1 else visit
    for i in range(n):
        sequence[i] = order[sequence[i]]


@_compiled
def _choose_pairs(
    target_table: Any,
    start_table: Any,
    target_last: Any,
    start_last: Any,
    target_even: Any,
    start_even: Any,
    length: Any,
    quantile: Any,
    visits: Any,
    word: Any,
    start: Any,
    target: Any,
) -> None:
    for i in range(len(length)):
        t = _choose(target_table, target_last, target_even, length[i] - 1, quantile[i], visits[i])
        target[i] = t
        start[i] = _choose(start_table, start_last, start_even, t, word[i], 1.0) - 1


@_compiled
def _enumerate(
    ends: Any,
    per_sequence: Any,
    group_length: Any,
    group_first: Any,
    order: Any,
    a: Any,
    b: Any,
    keys: Any,
    indices: Any,
    sequence: Any,
    length: Any,
    place: Any,
) -> None:
    for i in range(len(indices)):
        number = _permute(indices[i], ends[-1], a, b, keys)
        group = _above(ends, number, 0, len(ends))
        if group > 0:
            number -= ends[group - 1]
        rank = number // per_sequence[group]
        place[i] = number - rank * per_sequence[group]
        sequence[i], length[i] = order[group_first[group] + rank], group_length[group]


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
    """Load each cache line of [stop - length, stop) once; the result keeps the compiler from removing the loads."""
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
