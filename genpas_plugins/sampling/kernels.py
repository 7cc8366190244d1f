"""The numba twins of the functions that draw: same names, arguments and bits.

Each twin is one loop over pairs. The numpy function documents what it computes. `nogil` lets a prefetching thread
draw while the model computes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, uint32, uint64

from genpas_plugins.data.sequences import Pairs
from genpas_plugins.sampling.enumeration import PairNumbering, PairNumbers
from genpas_plugins.sampling.permutation import binary_halves, halves
from genpas_plugins.sampling.policy import BELOW_ONE
from genpas_plugins.sampling.random_stream import MIXERS, MULTIPLIERS, ROUNDS, WEYL
from genpas_plugins.sampling.sampler import DrawTables, Visits
from genpas_plugins.support.array_types import Int64, UInt32

_M0, _M1 = np.uint64(MULTIPLIERS[0]), np.uint64(MULTIPLIERS[1])
_W0, _W1 = np.uint32(WEYL[0]), np.uint32(WEYL[1])
_MIX0, _MIX1, _MIX2 = map(np.uint64, MIXERS)
_UNIT = 2.0**-53
_BLOCK = 1024  # visits whose tables' rows fit into the first cache

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
    sequence, number, group = np.empty((3, len(indices)), np.int64)
    _enumerate(
        numbering.ends,
        numbering.per_sequence,
        numbering.group_first,
        numbering.order,
        numbering.guide,
        numbering.guide_shift,
        *halves(numbering.total),
        keys,
        np.ascontiguousarray(indices),
        sequence,
        number,
        group,
    )
    return PairNumbers(sequence, numbering.group_length.take(group), number, group)


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
    """Return the first place in table[low:high] with an entry above `value` or else `high`."""
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


@_compiled
def _permute(indices: Any, n: Any, a: Any, b: Any, keys: Any, places: Any) -> None:
    key0, key1, key2, key3, key4, key5 = keys[0], keys[1], keys[2], keys[3], keys[4], keys[5]
    # Loops of their own: the compiler turns the second one into vector instructions.
    for i in range(len(indices)):
        places[i] = uint64(indices[i]) // uint64(b)  # without a sign, a division needs no rounding down
    for i in range(len(indices)):
        places[i] = _six_rounds(places[i], indices[i] - places[i] * b, a, b, key0, key1, key2, key3, key4, key5)
    for i in range(len(indices)):
        while places[i] >= n:
            left = np.int64(uint64(places[i]) // uint64(b))
            places[i] = _six_rounds(left, places[i] - left * b, a, b, key0, key1, key2, key3, key4, key5)


@_inlined
def _six_rounds(
    left: Any, right: Any, a: Any, b: Any, key0: Any, key1: Any, key2: Any, key3: Any, key4: Any, key5: Any
) -> Any:
    left, right = _two_rounds(left, right, a, b, key0, key1)
    left, right = _two_rounds(left, right, a, b, key2, key3)
    left, right = _two_rounds(left, right, a, b, key4, key5)
    return left * b + right


@_inlined
def _two_rounds(left: Any, right: Any, a: Any, b: Any, even_key: Any, odd_key: Any) -> Any:
    left += _scaled_hash(right, even_key, uint32(a))
    left -= a if left >= a else 0
    right += _scaled_hash(left, odd_key, uint32(b))
    right -= b if right >= b else 0
    return left, right


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
    return _above(table, min(u * (table[size] / n), table[size] * BELOW_ONE), 0, size)


@_inlined
def _keyed_uniform(number: Any, key: Any) -> Any:
    z = uint64(number) * _MIX0 + key
    z = (z ^ (z >> uint64(30))) * _MIX1
    z = (z ^ (z >> uint64(27))) * _MIX2
    return float((z ^ (z >> uint64(31))) >> uint64(11)) * _UNIT


@_inlined
def _ceiling(bound: Any, offset: Any) -> Any:
    place = np.ceil(bound - offset)
    return place + (1.0 if place + offset < bound else 0.0)


@_inlined
def _first_place(bound: Any, offset: Any) -> Any:
    return np.int64(_ceiling(bound, offset))


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
    # Loops of their own, because the compiler vectorises loops without a search.
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
    begin, end, weight = np.empty(_BLOCK), np.empty(_BLOCK), np.empty(_BLOCK)
    inverse, count, rank = np.empty(_BLOCK), np.empty(_BLOCK), np.empty(_BLOCK)
    for i in range(0, n, _BLOCK):
        place, group, m = places[i : i + _BLOCK], length[i : i + _BLOCK], min(_BLOCK, n - i)
        for j in range(m):
            begin[j], end[j] = group_begin[group[j]], group_end[group[j]]
            weight[j], inverse[j] = group_weight[group[j]], group_inverse[group[j]]
            count[j] = group_count[group[j]]
        _ranks(place, offset, last_point, begin, weight, inverse, count, rank)
        _bounds(offset, begin, end, weight, count, rank)
        first, after = begin, end
        for j in range(m):
            before = np.int64(first[j])
            visits[i + j] = max(np.int64(after[j]) - before, 1)
            place[j] = min(max(place[j] - before, 0), visits[i + j] - 1)
            sequence[i + j] = group_first[group[j]] + np.int64(rank[j])
            group[j] = group_length[group[j]]
    for i in range(n):
        visit = float(places[i])
        inside = visit + _keyed_uniform(sequence[i], sequence_key)
        quantile[i] = inside if inside < visit + 1 else visit
    for i in range(n):
        sequence[i] = order[sequence[i]]


@_compiled
def _ranks(
    place: Any, offset: Any, last_point: Any, begin: Any, weight: Any, inverse: Any, count: Any, rank: Any
) -> None:
    """Find the sequence of each place within its group. The number is float64 as all that it is compared with."""
    for i in range(len(place)):
        point = min(place[i] + offset, last_point)
        r = np.floor(min((point - begin[i]) * inverse[i], count[i] - 1))
        r -= 1.0 if begin[i] + r * weight[i] > point else 0.0
        r += 1.0 if (r + 1 < count[i]) & (begin[i] + (r + 1) * weight[i] <= point) else 0.0
        rank[i] = r


@_compiled
def _bounds(offset: Any, begin: Any, end: Any, weight: Any, count: Any, rank: Any) -> None:
    """Put the first place of each sequence into `begin` and the first place after it into `end`."""
    for i in range(len(begin)):
        low, r = begin[i] + rank[i] * weight[i], rank[i] + 1
        high = min(begin[i] + r * weight[i], end[i]) if r < count[i] else end[i]
        begin[i] = _ceiling(low, offset)
        end[i] = _ceiling(high, offset)


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
    # A loop for each kind, because the compiler vectorises loops without a search.
    n = len(length)
    if target_last:
        for i in range(n):
            target[i] = length[i] - 1
    elif target_even:
        for i in range(n):
            size = length[i] - 1
            target[i] = min(np.int64(quantile[i] * (size / visits[i])) + 1, size)
    else:
        for i in range(n):
            size = length[i] - 1
            total = target_table[size]
            target[i] = _above(target_table, min(quantile[i] * (total / visits[i]), total * BELOW_ONE), 0, size)
    if start_last:
        for i in range(n):
            start[i] = target[i] - 1
    elif start_even:
        for i in range(n):
            start[i] = min(np.int64(word[i] * target[i]), target[i] - 1)
    else:
        for i in range(n):
            start[i] = _above(start_table, word[i] * start_table[target[i]], 0, target[i]) - 1


@_compiled
def _enumerate(
    ends: Any,
    per_sequence: Any,
    group_first: Any,
    order: Any,
    guide: Any,
    shift: Any,
    a: Any,
    b: Any,
    keys: Any,
    indices: Any,
    sequence: Any,
    place: Any,
    groups: Any,
) -> None:
    n = len(indices)
    _permute(indices, ends[-1], a, b, keys, place)
    for i in range(n):
        group = guide[place[i] >> shift]
        while ends[group] <= place[i]:
            group += 1
        groups[i] = group
    for i in range(n):
        group = groups[i]
        number = place[i] - (ends[group - 1] if group > 0 else 0)
        rank = np.int64(uint64(number) // uint64(per_sequence[group]))
        place[i] = number - rank * per_sequence[group]
        sequence[i] = order[group_first[group] + rank]
