"""Windows of a sampled policy: one visit is one chain of windows, and every trained target has the same weight.

A target's start can be drawn for all targets of a sequence at once (a weighted reservoir of size one). Position k comes
into the reservoir as the newest start with probability k^γ / Σ_{i ≤ k} i^γ; else the start of the target before stays:

1. Start j is in the reservoir at target k if it came in at j and none of j + 1 … k came in after it.
2. It came in with probability j^γ / G_j, with G_j = Σ_{i ≤ j} i^γ; each later i stayed out with G_{i-1} / G_i.
3. The product telescopes to j^γ / G_k = p(j | k): the start of every target has its distribution, for every γ.
4. Targets j … k that share start j are one window, read once. What came in before j is independent of it.
5. So from the last target k down: draw j from p(· | k), train j … k from start j, go on with the target j - 1.

A history has at most L items, so a visit is of a block of at most L targets. A block is visited as often as its most
likely target is trained. With β ≠ 0 a visit has a threshold t, evenly spaced over the visits of the block, and trains
the targets whose weight is above t times the largest.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from genpas_plugins.data.sequences import Pairs
from genpas_plugins.sampling.jagged import spans
from genpas_plugins.sampling.policy import PowerTable
from genpas_plugins.sampling.protocol import DRAWS
from genpas_plugins.sampling.random_stream import keyed_uniform, philox, uniform
from genpas_plugins.sampling.sampler import DrawTables, choose, counted, located
from genpas_plugins.sampling.windows import TargetWindows, WindowStream
from genpas_plugins.support.array_types import Float64, Int64


class Ranges(NamedTuple):
    """The targets that examples train, int64 [n] each: `first` … `last` of a sequence."""

    sequence: Int64
    first: Int64
    last: Int64


class ChainedWindows(WindowStream):
    """Windows of a sampled policy, in chains: an example is a visit of a block of targets.

    Attributes
    ----------
    blocks : float64 [⌈longest / L⌉ + 1], rates of the whole blocks before each, in units of the powers i^β
    group_rate : float64 [d], rate of all blocks of a sequence of the length group, in the same units
    tables : the visits of sequences, and the powers i^β and i^γ
    """

    tables: DrawTables
    draws = DRAWS

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.tables = DrawTables.of(self.view, self.policy, self.size, self._weight)

    def _tabulate(self) -> tuple[int, float]:
        groups, powers = self.view.groups, PowerTable.of(self.policy.beta, self.view.max_length - 1)
        weight = self.policy.sequence_weight(groups.length)
        if powers.last:
            self.blocks, self.group_rate, share = np.zeros(1), np.ones(len(weight)), np.ones(len(weight))
        else:
            targets = groups.length - 1
            whole = (targets - 1) // self.max_length
            ends = np.arange(self.max_length, targets[-1] + 1, self.max_length)
            self.blocks = np.concatenate([[0.0], np.cumsum(self._largest(powers, ends - self.max_length + 1, ends))])
            rest = self._largest(powers, whole * self.max_length + 1, targets)
            self.group_rate = self.blocks[whole] + rest
            share = self.group_rate / powers.cumulative[targets]
        self._weight = weight * share
        return self.view.n_pairs, float(weight @ groups.size) / float(self._weight @ groups.size)

    def _windows(self, epoch: int, indices: Int64) -> TargetWindows:
        sequence, first, last = self.ranges(epoch, indices)
        example, begin = np.arange(len(indices)), np.zeros(0, np.int64)
        parts = []
        going, target, link = example, last, 0
        while len(going):
            start = self._starts(epoch, indices[going], target, link)
            parts.append((going, start - 1, np.maximum(start, first[going]), target))
            left = start > first[going]
            going, target, link = going[left], start[left] - 1, link + 1
        example, begin, first, last = (
            (np.concatenate(part) for part in zip(*parts, strict=True)) if parts else (begin,) * 4
        )
        return self.rows(sequence, example, begin, first, last)

    def ranges(self, epoch: int, indices: Int64) -> Ranges:
        """Return the targets that the examples with these indices train, positions from 1."""
        tables, limit = self.tables, self.max_length
        words = tables.words(self.seed, epoch)
        group, rank, place, low, high = located(tables, words, indices)
        number = tables.group_first[group] + rank
        sequence, targets = tables.order[number].astype(np.int64), tables.group_length[group] - 1
        if tables.target.last:
            return Ranges(sequence, targets, targets)
        # The blocks of a sequence divide its part of the line.
        unit, whole = (high - low) / self.group_rate[group], (targets - 1) // limit
        unit = np.where(rank + 1 < tables.group_count[group], tables.group_weight[group] / self.group_rate[group], unit)
        point = np.minimum(place + words.offset, tables.last_point)
        block = np.searchsorted(self.blocks, (point - low) / unit, side="right") - 1
        block = np.clip(block, 0, whole)
        block -= (block > 0) & (low + unit * self.blocks[block] > point)
        block += (block < whole) & (low + unit * self.blocks[np.minimum(block + 1, whole)] <= point)
        after = np.where(block < whole, low + unit * self.blocks[np.minimum(block + 1, whole)], high)
        visit, visits = counted(place, low + unit * self.blocks[block], after, words.offset)
        threshold = (visit + keyed_uniform(number + block * self.view.store.n_sequences, words.key)) / visits
        first, last = block * limit + 1, np.minimum((block + 1) * limit, targets)
        if tables.target.even:
            return Ranges(sequence, first, last)
        return Ranges(sequence, *self._above(threshold, first, last))

    def _above(self, threshold: Float64, first: Int64, last: Int64) -> tuple[Int64, Int64]:
        """Return the first and last target whose power is above `threshold` times the largest of first … last."""
        powers = self.tables.target.powers
        bound = threshold * self._largest(self.tables.target, first, last)
        if self.policy.beta > 0:
            return np.clip(np.searchsorted(powers, bound, side="right") + 1, first, last), last
        return first, np.clip(np.searchsorted(-powers, -bound, side="left"), first, last)

    def _largest(self, powers: PowerTable, first: Int64, last: Int64) -> Float64:
        return np.asarray(powers.powers[(last if self.policy.beta >= 0 else first) - 1])

    def _starts(self, epoch: int, indices: Int64, target: Int64, link: int) -> Int64:
        """Return the start of each target, int64 [n], positions from 1; two links of a chain share a block of words."""
        words = philox(self.seed, epoch, link // 2, indices)[2 * (link % 2) :]
        return choose(self.tables.start, target, uniform(words[0], words[1]), 1)

    def rows(self, sequence: Int64, example: Int64, begin: Int64, first: Int64, last: Int64) -> TargetWindows:
        """Return the windows of segments: targets `first` … `last` from start `begin`, int64 each, positions from 0."""
        cut = np.maximum(first, begin + self.max_length + 1)
        near, far = np.flatnonzero(first < cut), np.repeat(np.arange(len(cut)), np.maximum(last + 1 - cut, 0))
        target = spans(cut, np.maximum(last + 1 - cut, 0))
        of = np.concatenate([near, far])
        order = np.argsort(example[of], kind="stable")
        of = of[order]
        start = np.concatenate([begin[near], target - self.max_length])[order]
        first = np.concatenate([first[near], target])[order]
        last = np.concatenate([np.minimum(last[near], begin[near] + self.max_length), target])[order]
        windows = Pairs(sequence[example[of]], start, last)
        self.view.lengths_of(windows.sequence, last - 1)
        place = start[:, None] + 1 + np.arange((last - start).max(initial=1))
        weight = (place >= first[:, None]) & (place <= last[:, None])
        return TargetWindows(windows, (weight / self.targets_per_example).astype(np.float32), example[of])
