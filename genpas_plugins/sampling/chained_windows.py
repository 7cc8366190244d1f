"""Windows of a sampled policy: one visit is one chain of windows. Every trained target has the same weight.

A target's start can be drawn for all targets of a sequence at once (a weighted reservoir of size one). Position k
comes into the reservoir as the newest start with probability k^γ / Σ_{i ≤ k} i^γ. Otherwise the start of the target
before stays:

1. Start j is in the reservoir at target k if it came in at j and none of j + 1 … k came in after it.
2. It came in with probability j^γ / G_j where G_j = Σ_{i ≤ j} i^γ. Each later i stayed out with G_{i-1} / G_i.
3. The product telescopes to j^γ / G_k = p(j | k): the start of every target has its distribution for every γ.
4. Targets j … k that share start j are one window and are read once. What came in before j is independent of it.
5. From the last target k down draw j from p(· | k) and train j … k from start j. Then go on with the target j - 1.

A history has at most L items and so a visit is of a block of at most L targets. A block is visited as often as its
most likely target is trained. With β ≠ 0 a visit has a threshold t. Thresholds are evenly spaced over the visits of
the block. The visit trains the targets whose weight is above t times the largest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from genpas_plugins.data.sequences import Pairs, SequenceView
from genpas_plugins.sampling.backend import implementation
from genpas_plugins.sampling.jagged import spans
from genpas_plugins.sampling.policy import PowerTable, SamplingPolicy
from genpas_plugins.sampling.protocol import DRAWS
from genpas_plugins.sampling.random_stream import keyed_uniform, philox, uniform
from genpas_plugins.sampling.sampler import DrawTables, Places, choose, counted, located
from genpas_plugins.sampling.windows import TargetWindows, WindowStream
from genpas_plugins.support.array_types import Float64, Int64

_MODULE = "genpas_plugins.sampling.chain_kernels"


class Segments(NamedTuple):
    """Neighbouring targets that share a start: int64 [n] each with positions from 0.

    Attributes
    ----------
    example : from 0 and rising
    sequence : the store's row
    start : the first item that is read
    first, last : the targets
    """

    example: Int64
    sequence: Int64
    start: Int64
    first: Int64
    last: Int64


@dataclass(frozen=True, eq=False)
class ChainTables:
    """Tables that a draw of windows reads for a view of d distinct lengths.

    Attributes
    ----------
    visits : the visits of sequences and the powers i^β and i^γ
    blocks : rates of the whole blocks before each in units of the powers i^β, float64 [⌈longest / L⌉ + 1]
    group_rate : rate of all blocks of a sequence of the length group in the same units, float64 [d]
    limit : L
    n_sequences : of the store
    """

    visits: DrawTables
    blocks: Float64
    group_rate: Float64
    limit: int
    n_sequences: int


class ChainedWindows(WindowStream):
    """Windows of a sampled policy in chains. An example is a visit of a block of targets."""

    policy: SamplingPolicy
    tables: ChainTables
    draws = DRAWS

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        visits = DrawTables.of(self.view, self.policy, self.size, self._rates.weight)
        self.tables = ChainTables(
            visits, self._rates.blocks, self._rates.group_rate, self.max_length, self.view.store.n_sequences
        )

    def _tabulate(self) -> tuple[int, float]:
        self._rates = _Rates.of(self.view, self.policy, self.max_length)
        weight, size = self.policy.sequence_weight(self.view.groups.length), self.view.groups.size
        return self.view.n_pairs, float(weight @ size) / float(self._rates.weight @ size)

    def _windows(self, epoch: int, indices: Int64) -> TargetWindows:
        draw = implementation(draw_windows, self.backend, _MODULE)
        return self.target_windows(draw(self.tables, self.seed, epoch, indices))

    def target_windows(self, windows: Segments) -> TargetWindows:
        """Return the windows of segments that end within L items of their start."""
        example, sequence, start, first, last = windows
        self.view.lengths_of(sequence, last - 1)
        weights = np.full(int((last - first + 1).sum()), 1 / self.targets_per_example, np.float32)
        return TargetWindows(Pairs(sequence, start, last), first, weights, example)


class _Rates(NamedTuple):
    """Rates of visits. `weight` float64 [d] is of a sequence of the length group. The others are of `ChainTables`."""

    blocks: Float64
    group_rate: Float64
    weight: Float64

    @classmethod
    def of(cls, view: SequenceView, policy: SamplingPolicy, limit: int) -> _Rates:
        length, powers = view.groups.length, PowerTable.of(policy.beta, view.max_length - 1)
        weight = policy.sequence_weight(length)
        if powers.last:
            return cls(np.zeros(1), np.ones(len(weight)), weight)
        targets = length - 1
        whole = (targets - 1) // limit
        ends = np.arange(limit, targets[-1] + 1, limit)
        blocks = np.concatenate([[0.0], np.cumsum(largest(powers, ends - limit + 1, ends))])
        group_rate = blocks[whole] + largest(powers, whole * limit + 1, targets)
        return cls(blocks, group_rate, weight * (group_rate / powers.cumulative[targets]))


def draw_windows(tables: ChainTables, seed: int, epoch: int, indices: Int64) -> Segments:
    """Draw the windows of the examples int64 [n], example by example."""
    sequence, first, last = trained_ranges(tables, seed, epoch, indices)
    going = np.arange(len(indices))
    parts, target, link, words = [], last, 0, np.zeros((2, 0), np.uint32)
    while len(going):
        # Two links of a chain share a block of words.
        if link % 2 == 0:
            words = philox(seed, epoch, link // 2, indices[going])
        start = choose(tables.visits.start, target, uniform(words[0], words[1]), 1)
        parts.append((going, start - 1, np.maximum(start, first), target))
        left = np.flatnonzero(start > first)
        going, first, target, link = going[left], first[left], start[left] - 1, link + 1
        words = words[2:].take(left, axis=1)
    none = np.zeros(0, np.int64)
    example, start, first, last = (np.concatenate(part) for part in zip((none,) * 4, *parts, strict=True))
    return cut_segments(Segments(example, sequence[example], start, first, last), tables.limit)


def cut_segments(segments: Segments, limit: int) -> Segments:
    """Return the windows of segments by example. A target more than `limit` items from the start has its own."""
    _, _, start, first, last = segments
    cut = np.maximum(first, start + limit + 1)
    near, late = np.flatnonzero(first < cut), np.flatnonzero(cut <= last)
    count = last[late] + 1 - cut[late]
    far, target = np.repeat(late, count), spans(cut[late], count)
    of = np.concatenate([near, far])
    # numpy sorts 16 bits in linear time.
    narrow = np.uint16 if segments.example.max(initial=0) < 1 << 16 else np.int64
    order = np.argsort(segments.example[of].astype(narrow), kind="stable")
    of = of[order]
    return Segments(
        segments.example[of],
        segments.sequence[of],
        np.concatenate([start[near], target - limit])[order],
        np.concatenate([first[near], target])[order],
        np.concatenate([np.minimum(last[near], start[near] + limit), target])[order],
    )


def trained_ranges(tables: ChainTables, seed: int, epoch: int, indices: Int64) -> tuple[Int64, Int64, Int64]:
    """Return sequence, first and last target int64 [n] of the examples. Positions start at 1."""
    visits, limit = tables.visits, tables.limit
    words = visits.words(seed, epoch)
    group, rank, place, low, high = located(visits, words, indices)
    number = visits.group_first[group] + rank
    sequence, targets = visits.order[number].astype(np.int64), visits.group_length[group] - 1
    if visits.target.last:
        return sequence, targets, targets
    # The blocks of a sequence divide its part of the line.
    whole, block = (targets - 1) // limit, np.zeros_like(targets)
    several = np.flatnonzero(whole)
    if len(several):
        of = Places._make(part[several] for part in (group, rank, place, low, high))
        block[several], low[several], high[several] = _blocks(tables, words.offset, of, whole[several])
    visit, of_block = counted(place, low, high, words.offset)
    first, last = block * limit + 1, np.minimum((block + 1) * limit, targets)
    if visits.target.even:
        return sequence, first, last
    threshold = (visit + keyed_uniform(number + block * tables.n_sequences, words.key)) / of_block
    powers, bound = visits.target.powers, threshold * largest(visits.target, first, last)
    if visits.target.exponent > 0:
        least = np.searchsorted(powers, bound, side="right") + 1
        return sequence, np.minimum(np.maximum(least, first), last), last
    return sequence, first, np.clip(np.searchsorted(-powers, -bound, side="left"), first, last)


def _blocks(tables: ChainTables, offset: float, places: Places, whole: Int64) -> tuple[Int64, Float64, Float64]:
    """Return the block of each place of a sequence of 1 + `whole` blocks, and where it begins and ends on the line."""
    visits, (group, rank, place, low, high) = tables.visits, places
    rate = tables.group_rate[group]
    unit = np.where(rank + 1 < visits.group_count[group], visits.group_weight[group], high - low) / rate
    point = np.minimum(place + offset, visits.last_point)
    block = np.clip(np.searchsorted(tables.blocks, (point - low) / unit, side="right") - 1, 0, whole)
    block -= (block > 0) & (low + unit * tables.blocks[block] > point)
    after = low + unit * tables.blocks[np.minimum(block + 1, whole)]
    block += (block < whole) & (after <= point)
    after = low + unit * tables.blocks[np.minimum(block + 1, whole)]
    return block, low + unit * tables.blocks[block], np.where(block < whole, after, high)


def largest(powers: PowerTable, first: Int64, last: Int64) -> Float64:
    """Return the largest of the powers of the numbers first[i] … last[i] as float64 [n]."""
    return np.asarray(powers.powers[(last if powers.exponent >= 0 else first) - 1])
