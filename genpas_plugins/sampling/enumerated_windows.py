"""Windows of a construction: each distinct window comes once a pass with the weights of its pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from genpas_plugins.data.sequences import Pairs
from genpas_plugins.sampling.constructions import Construction
from genpas_plugins.sampling.enumeration import PairNumbering, numbers_in_passes
from genpas_plugins.sampling.jagged import spans
from genpas_plugins.sampling.windows import TargetWindows, WindowStream
from genpas_plugins.support.array_types import Float64, Int64


@dataclass(frozen=True, eq=False)
class WindowTables:
    """What windows are drawn from.

    Attributes
    ----------
    numbering : of the distinct windows; its construction says what they are
    weight : float64 [d], of one pair of a sequence of each length group
    """

    numbering: PairNumbering
    weight: Float64


class EnumeratedWindows(WindowStream):
    """Windows of a construction: the mean window has a weight of 1."""

    tables: WindowTables

    def _tabulate(self) -> tuple[int, float]:
        construction, groups, limit = self.policy.construction, self.view.groups, self.max_length
        assert construction is not None  # window_stream chooses the kind of stream
        construction.require_windows()
        numbering = PairNumbering.of(self.view, construction, construction.n_windows(groups.length, limit))
        weight = construction.sequence_weight(groups)
        share = numbering.total / (weight @ groups.size)
        self.tables = WindowTables(numbering, weight / construction.total(groups.length) * share)
        n_targets = construction.n_targets(groups.length, limit)
        distinct = sum(int(m) * int(count) for m, count in zip(n_targets, groups.size, strict=True))
        return distinct, distinct / numbering.total

    def _windows(self, epoch: int, indices: Int64) -> TargetWindows:
        numbering, limit = self.tables.numbering, self.max_length
        numbers = numbers_in_passes(numbering, self.seed, epoch * self.size, indices, self.backend)
        start, first, last = numbering.construction.window(numbers.length, limit, numbers.number)
        count = last + 1 - first
        length, begin = np.repeat(self.view.lengths_of(numbers.sequence, start), count), np.repeat(start, count)
        pairs_of = pairs_after_cut(numbering.construction, length, begin, spans(first, count), limit)
        weights = pairs_of * np.repeat(self.tables.weight[numbers.group], count)
        windows = Pairs(numbers.sequence, start, last)
        return TargetWindows(windows, first, weights.astype(np.float32), np.arange(len(indices)))


def pairs_after_cut(construction: Construction, length: Any, start: Any, target: Any, limit: int) -> Any:
    """Return the number (weight) of pairs from `start` to `target` once histories have at most `limit` items.

    All starts at or before the start of a history of `limit` items then give the same pair.
    """
    before = construction.up_to(length, start - 1, target)
    return construction.up_to(length, start, target) - before * (target - start < limit)
