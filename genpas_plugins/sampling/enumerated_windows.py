"""Windows of an enumerated strategy: each distinct window once a pass, with weights that count the pairs in it."""

from __future__ import annotations

import numpy as np

from genpas_plugins.data.sequences import Pairs, SequenceView
from genpas_plugins.sampling.enumeration import PairNumbering, pairs_in_passes
from genpas_plugins.sampling.windows import TargetWindows, WindowStream
from genpas_plugins.support.array_types import Int64


class EnumeratedWindows(WindowStream):
    """Windows of an enumerated strategy: the mean window has a weight of 1.

    Attributes
    ----------
    numbering : of the distinct windows
    share : the weight of a target that is in one pair
    """

    numbering: PairNumbering
    share: float

    def _tabulate(self) -> tuple[int, float]:
        strategy = self.policy.strategy
        self.numbering = window_numbering(self.view, strategy, self.max_length)
        n_windows, n_pairs = self.numbering.total, PairNumbering.of(self.view, strategy).total
        self.share = n_windows / n_pairs
        distinct = n_distinct_pairs(self.view, strategy, self.max_length)
        return distinct, distinct / n_windows

    def _windows(self, epoch: int, indices: Int64) -> TargetWindows:
        pairs = pairs_in_passes(self.numbering, self.seed, epoch * self.size, indices, self.backend)
        strategy, sequence, limit = self.policy.strategy, pairs.sequence, self.max_length
        start = pairs.target - 1
        if strategy == "last_target":
            start = np.maximum(self.view.lengths(sequence) - 1 - limit, 0)
        last = np.minimum(self.view.lengths_of(sequence, start) - 1, start + limit)
        # A window of multi_target that does not begin the sequence has one target, whose history is cut.
        every = {"last_target": False, "multi_target": start == 0, "slide_window": True}[strategy]
        first = np.where(every, start + 1, last)
        weights = np.full(int((last + 1 - first).sum()), self.share)
        if strategy == "slide_window":
            # Once histories are cut, every start at or before that of the target at place L - 1 is the same pair.
            cut = last - start == limit
            weights[(np.cumsum(last + 1 - first) - 1)[cut]] *= start[cut] + 1
        return TargetWindows(Pairs(sequence, start, last), first, weights.astype(np.float32), np.arange(len(indices)))


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
