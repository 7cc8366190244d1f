"""Windows of an enumerated strategy: each distinct window once a pass, with weights that count the pairs in it."""

from __future__ import annotations

import math

import numpy as np

from genpas_plugins.data.sequences import SequenceView
from genpas_plugins.sampling.enumeration import PairNumbering, pairs_in_passes
from genpas_plugins.sampling.windows import WindowStream
from genpas_plugins.support.array_types import Float64, Int64


class EnumeratedWindows(WindowStream):
    """Windows of an enumerated strategy: the mean window has a weight of 1."""

    def _tabulate(self) -> tuple[int, float]:
        strategy = self.policy.strategy
        self.numbering = window_numbering(self.view, strategy, self.max_length)
        n_windows, n_pairs = self.numbering.total, PairNumbering.of(self.view, strategy).total
        self._log_share = math.log(n_windows) - math.log(n_pairs)
        distinct = n_distinct_pairs(self.view, strategy, self.max_length)
        return distinct, distinct / n_windows

    def _starts(self, epoch: int, indices: Int64) -> tuple[Int64, Int64]:
        pairs = pairs_in_passes(self.numbering, self.seed, epoch * self.size, indices, self.backend)
        if self.policy.strategy == "last_target":
            return pairs.sequence, np.maximum(self.view.lengths(pairs.sequence) - 1 - self.max_length, 0)
        return pairs.sequence, pairs.target - 1

    def _normalised(self, log_weight: Float64) -> Float64:
        return np.asarray(np.exp(log_weight + self._log_share))


def window_numbering(view: SequenceView, strategy: str, max_length: int) -> PairNumbering:
    """Return a numbering of the distinct windows of an enumerated strategy; a pair's target is the start + 1.

    A sequence of n items has one window for last_target, and n - 1 for slide_window, one from every start. For
    multi_target it has the first one, and one more for every target that is more than L items into the sequence.
    """
    length = view.groups.length.tolist()
    per_sequence = {
        "last_target": [1 for _ in length],
        "multi_target": [max(1, n - max_length) for n in length],
        "slide_window": [n - 1 for n in length],
    }
    return PairNumbering.with_counts(view, "multi_target", per_sequence[strategy])


def n_distinct_pairs(view: SequenceView, strategy: str, max_length: int) -> int:
    """Return how many pairs of the strategy differ once histories are cut to `max_length`."""

    def of_sequence(n: int) -> int:
        whole, cut = min(n - 1, max_length), max(0, n - 1 - max_length)
        return {
            "last_target": 1,
            "multi_target": n - 1,
            "slide_window": whole * (whole + 1) // 2 + cut * max_length,
        }[strategy]

    return sum(of_sequence(n) * count for n, _, count in zip(*(part.tolist() for part in view.groups), strict=True))
