"""The numba twin of the draw of windows in `genpas_plugins.sampling.chained_windows`: same arguments and bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, uint32, uint64

from genpas_plugins.sampling.chained_windows import ChainTables, Segments
from genpas_plugins.sampling.kernels import _above, _choose, _first_place, _keyed_uniform, _philox, _shuffle, _uniform
from genpas_plugins.sampling.permutation import binary_halves
from genpas_plugins.support.array_types import Int64

_compiled = njit(cache=True, nogil=True, boundscheck=False)


def draw_windows(tables: ChainTables, seed: int, epoch: int, indices: Int64) -> Segments:
    """Twin of `genpas_plugins.sampling.chained_windows.draw_windows`."""
    visits, indices = tables.visits, np.ascontiguousarray(indices)
    words = visits.words(seed, epoch)
    a, b = binary_halves(visits.size)
    place = np.empty(len(indices), np.int64)
    _shuffle(indices, visits.size, a, b.bit_length() - 1, words.order, place)
    sequence, first, last = np.empty((3, len(indices)), np.int64)
    _trained_ranges(
        words.offset,
        visits.last_point,
        np.uint64(words.key),
        visits.group_begin,
        visits.group_end,
        visits.group_weight,
        visits.group_inverse,
        visits.group_length,
        visits.group_first,
        visits.group_count,
        visits.order,
        tables.blocks,
        tables.group_rate,
        tables.limit,
        tables.n_sequences,
        visits.target.powers,
        visits.target.exponent,
        place,
        sequence,
        first,
        last,
    )
    start = visits.start
    found = np.empty((5, 4 * len(indices) + 16), np.int64)
    room = np.empty((3, int(min(tables.limit, visits.group_length[-1] - 1))), np.int64)
    count, found = _draw_chains(
        start.cumulative,
        start.last,
        start.even,
        tables.limit,
        np.uint64(seed),
        np.uint32(epoch),
        indices,
        sequence,
        first,
        last,
        room,
        found,
    )
    return Segments(*found[:, :count])


@_compiled
def _trained_ranges(
    offset: Any,
    last_point: Any,
    key: Any,
    group_begin: Any,
    group_end: Any,
    group_weight: Any,
    group_inverse: Any,
    group_length: Any,
    group_first: Any,
    group_count: Any,
    order: Any,
    blocks: Any,
    group_rate: Any,
    limit: Any,
    n_sequences: Any,
    powers: Any,
    exponent: Any,
    places: Any,
    sequence: Any,
    first: Any,
    last: Any,
) -> None:
    for i in range(len(places)):
        place = places[i]
        point = min(place + offset, last_point)
        group = _above(group_end, point, 0, len(group_end))
        begin, end = group_begin[group], group_end[group]
        weight, count = group_weight[group], group_count[group]
        rank = np.int64(min((point - begin) * group_inverse[group], float(count - 1)))
        rank -= begin + rank * weight > point
        rank += (rank + 1 < count) & (begin + (rank + 1) * weight <= point)
        low, high = begin + rank * weight, end
        number, targets = group_first[group] + rank, group_length[group] - 1
        sequence[i] = order[number]
        if exponent == np.inf:
            first[i] = last[i] = targets
            continue
        if rank + 1 < count:
            high = min(begin + (rank + 1) * weight, end)
            unit = weight / group_rate[group]
        else:
            unit = (high - low) / group_rate[group]
        whole = (targets - 1) // limit
        block = min(max(_above(blocks, (point - low) / unit, 0, len(blocks)) - 1, 0), whole)
        block -= (block > 0) & (low + unit * blocks[block] > point)
        block += (block < whole) & (low + unit * blocks[min(block + 1, whole)] <= point)
        after = low + unit * blocks[min(block + 1, whole)] if block < whole else high
        before = _first_place(low + unit * blocks[block], offset)
        of_block = max(_first_place(after, offset) - before, 1)
        visit = min(max(place - before, 0), of_block - 1)
        first[i], last[i] = block * limit + 1, min((block + 1) * limit, targets)
        if exponent == 0:
            continue
        threshold = (visit + _keyed_uniform(number + block * n_sequences, key)) / of_block
        if exponent > 0:
            bound = threshold * powers[last[i] - 1]
            first[i] = min(_above(powers, bound, first[i] - 1, last[i]) + 1, last[i])
        else:
            # The first power that is not above the bound, in a falling table.
            bound, low_place, high_place = threshold * powers[first[i] - 1], first[i] - 1, last[i]
            while low_place < high_place:
                middle = (low_place + high_place) >> 1
                if powers[middle] <= bound:
                    high_place = middle
                else:
                    low_place = middle + 1
            last[i] = max(low_place, first[i])


@_compiled
def _draw_chains(
    table: Any,
    is_last: Any,
    is_even: Any,
    limit: Any,
    seed: Any,
    epoch: Any,
    indices: Any,
    sequence: Any,
    first: Any,
    last: Any,
    room: Any,
    found: Any,
) -> Any:
    key0, key1 = uint32(seed), uint32(seed >> uint64(32))
    begin, cut, end = room
    out = 0
    for i in range(len(indices)):
        if out + room.shape[1] > found.shape[1]:
            larger = np.empty((5, 2 * found.shape[1] + room.shape[1]), np.int64)
            larger[:, :out] = found[:, :out]
            found = larger
        target, link, cuts = last[i], 0, 0
        word0, word1, word2, word3 = uint32(0), uint32(0), uint32(0), uint32(0)
        while target >= first[i]:
            if link % 2 == 0:
                word0, word1, word2, word3 = _philox(uint64(indices[i]), epoch, uint32(link // 2), key0, key1)
            u = _uniform(word0, word1) if link % 2 == 0 else _uniform(word2, word3)
            start = _choose(table, is_last, is_even, target, u, 1.0)
            low, far = max(start, first[i]), max(start, first[i], start + limit)
            if low < far:
                found[0, out], found[1, out], found[2, out] = i, sequence[i], start - 1
                found[3, out], found[4, out] = low, min(target, start - 1 + limit)
                out += 1
            if far <= target:
                begin[cuts], cut[cuts], end[cuts] = start - 1, far, target
                cuts += 1
            target, link = start - 1, link + 1
        for number in range(cuts):
            for far_target in range(cut[number], end[number] + 1):
                found[0, out], found[1, out], found[2, out] = i, sequence[i], far_target - limit
                found[3, out], found[4, out] = far_target, far_target
                out += 1
    return out, found
