"""All targets of a window in one pass: draw (sequence, start) and train every target behind it with its probability.

A causal encoder that counts positions from the start of its input reads s_j … s_{k-1} on its way through s_j … s_n, so
one forward pass has the loss of every target k behind a start j. Instead of drawing (s, k, j) and training one target,
draw (s, j) from its marginal and train each k with the weight p(k | s, j): the same expected loss and gradient
(Rao–Blackwell), lower variance, a fraction of the cost.

A history longer than L is cut to the L items before its target, so what a model sees begins at j' = max(j, k - L), and
every start at or before k - L is the start k - L. The identity holds for (s, j') as it stands:

    p(k | s, j')  ∝  p(k | s) p(j' | k)               for k - j' < L
                     p(k | s) Σ_{i ≤ j'} p(i | k)     for k - j' = L, the last target that j' can have

Drawing a pair and forgetting its target is a draw from the marginal, so the stream stays the addressable one. Of an
enumerated strategy each distinct window comes once a pass, with weights that count the pairs it stands for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from genpas_plugins.data.sequences import Pairs, SequenceView
from genpas_plugins.sampling.backend import choose_backend, implementation
from genpas_plugins.sampling.enumeration import PairNumbering, pairs_in_passes
from genpas_plugins.sampling.gather import PaddedBatch
from genpas_plugins.sampling.policy import SAMPLED, PowerTable, SamplingPolicy
from genpas_plugins.sampling.random_stream import check_epoch, check_seed
from genpas_plugins.sampling.sampler import DrawTables, check_indices, check_pairs_per_epoch, draw_pairs
from genpas_plugins.support.array_types import AnyArray, Float32, Float64, Int64
from genpas_plugins.support.errors import whole_number

_SURVEYED = 2**14
"""Windows that are drawn to learn how many targets a drawn window has on average."""


class TargetWindows(NamedTuple):
    """Windows of sequences: every item behind the first is a target, of the items of the window before it.

    pairs  : start … last target of each window, at most L + 1 items: what the gather functions take
    weight : float32 [n, longest history], in column i that of the target at start + 1 + i; 0 where the policy has no
             such pair and behind the last target. The expected sum of a row is 1: the mean over rows of weighted
             losses has the expectation of the mean over single pairs.
    """

    pairs: Pairs
    weight: Float32


@dataclass(frozen=True, eq=False)
class TargetWeights:
    """What ln p(k | s, j') is made of, for sequences of up to n + 1 items; positions k and starts j from 1.

    policy     : the distribution of single pairs
    max_length : L
    target     : float64 [n + 1], ln (k^β / Σ_{i ≤ k} i^γ), k the number of items before the target
    start      : float64 [n + 1], ln j^γ
    up_to      : float64 [n + 1], ln Σ_{i ≤ j} i^γ
    """

    policy: SamplingPolicy
    max_length: int
    target: Float64
    start: Float64
    up_to: Float64

    @classmethod
    def of(cls, policy: SamplingPolicy, max_length: int, longest: int) -> TargetWeights:
        """Tabulate the weights for sequences of up to `longest` items."""
        targets, starts = PowerTable.of(policy.beta, longest - 1), PowerTable.of(policy.gamma, longest - 1)
        with np.errstate(divide="ignore"):
            up_to = np.log(starts.cumulative)
            start = np.log(np.concatenate([[0.0], starts.powers]))
            target = np.log(np.concatenate([[0.0], targets.powers]))
        target[1:] -= up_to[1:]
        return cls(policy, max_length, target, start, up_to)

    def log_weight(self, windows: Pairs, length: Int64) -> Float64:
        """Return ln of the unnormalised p(k | s, j'), float64 [n, longest history]; -inf where no pair is.

        windows : start … last target
        length  : int64 [n], items of their sequences
        """
        count = windows.target - windows.start
        place = np.arange(count.max(initial=1))
        target = np.minimum(windows.start[:, None] + 1 + place, windows.target[:, None])
        first = windows.start[:, None] + 1
        of_start = np.where(place == self.max_length - 1, self.up_to[first], self.start[first])
        possible = place < count[:, None]
        # The tables know nothing of +∞: all mass on the last target, on the last start.
        if self.policy.beta == math.inf:
            possible &= target == length[:, None] - 1
        if self.policy.gamma == math.inf:
            possible &= place == 0
        return np.where(possible, self.target[target] + of_start, -np.inf)


class WindowStream:
    """An endless, addressable stream of windows in which all targets are trained at once.

    view            : the sequences
    policy          : the distribution of single pairs
    max_length      : L, the items of a history at most
    seed            : int in [0, 2⁶⁴)
    pairs_per_epoch : how many targets an epoch trains, on average; None: one pass of an enumerated strategy, as many as
                      multi-target has when sampled
    backend         : "numpy" or "numba"; None: see `choose_backend`

    Raises InputError if no sequence has two items, or an argument is out of range.

    >>> from genpas_plugins import SamplingPolicy, SequenceStore
    >>> view = SequenceStore.from_arrays([1, 2, 3, 4, 5], [0, 5]).view()
    >>> stream = WindowStream(view, SamplingPolicy.named("multi_target"), max_length=3, seed=7)
    >>> stream.windows_per_epoch, stream.targets_per_window
    (2, 2.0)
    >>> sorted(zip(*(part.tolist() for part in stream.windows(epoch=0, indices=[0, 1]).pairs)))
    [(0, 0, 3), (0, 1, 4)]
    """

    def __init__(
        self,
        view: SequenceView,
        policy: SamplingPolicy,
        *,
        max_length: int,
        seed: int,
        pairs_per_epoch: int | None = None,
        backend: str | None = None,
    ) -> None:
        view.require_pairs()
        self.view = view
        self.policy = policy
        self.max_length = whole_number("max_length", max_length, 1)
        self.seed = check_seed(seed)
        self.backend = choose_backend(backend)
        self.weights = TargetWeights.of(policy, self.max_length, view.max_length)
        if policy.strategy == SAMPLED:
            self.source: DrawTables | PairNumbering = DrawTables.of(view, policy)
            surveyed = self._weighted(*self._drawn(self.source, 0, np.arange(_SURVEYED)))
            self.targets_per_window = int(np.count_nonzero(surveyed.weight)) / _SURVEYED
            self.pairs_per_epoch = view.n_pairs
        else:
            self.source = window_numbering(view, policy.strategy, self.max_length)
            self.pairs_per_epoch = n_distinct_pairs(view, policy.strategy, self.max_length)
            self.targets_per_window = self.pairs_per_epoch / self.source.total
            # Windows stand for different numbers of pairs; the mean one has a weight of 1.
            self._log_share = math.log(self.source.total) - math.log(PairNumbering.of(view, policy.strategy).total)
        if pairs_per_epoch is not None:
            self.pairs_per_epoch = check_pairs_per_epoch(pairs_per_epoch)
        self.windows_per_epoch = max(1, round(self.pairs_per_epoch / self.targets_per_window))

    def __reduce__(self) -> Any:
        """Pickle the arguments: the tables are made again where the stream is opened."""
        return _reopened, (self.view, self.policy, self.max_length, self.seed, self.pairs_per_epoch, self.backend)

    def windows(self, epoch: int, indices: ArrayLike) -> TargetWindows:
        """Return the windows with these indices of the epoch: int64 [n], each in [0, windows_per_epoch)."""
        index, epoch = check_indices(indices, self.windows_per_epoch), check_epoch(epoch)
        if isinstance(self.source, DrawTables):
            return self._weighted(*self._drawn(self.source, epoch, index))
        numbered = pairs_in_passes(self.source, self.seed, epoch * self.windows_per_epoch, index, self.backend)
        start = numbered.target - 1
        if self.policy.strategy == "last_target":
            start = np.maximum(self.view.lengths(numbered.sequence) - 1 - self.max_length, 0)
        return self._weighted(numbered.sequence, start)

    def _drawn(self, tables: DrawTables, epoch: int, indices: Int64) -> tuple[Int64, Int64]:
        """Draw sequences and starts: those of pairs, whose targets are forgotten once they have cut the history."""
        pairs = implementation(draw_pairs, self.backend)(tables, self.seed, epoch, indices)
        return pairs.sequence, np.maximum(pairs.start, pairs.target - self.max_length)

    def _weighted(self, sequence: Int64, start: Int64) -> TargetWindows:
        length = self.view.lengths(sequence)
        windows = Pairs(sequence, start, np.minimum(length - 1, start + self.max_length))
        weight = self.weights.log_weight(windows, length)
        if isinstance(self.source, DrawTables):
            weight -= weight.max(axis=1, keepdims=True)
            weight = np.exp(weight)
            weight /= weight.sum(axis=1, keepdims=True)
        else:
            weight = np.exp(weight + self._log_share)
        return TargetWindows(windows, weight.astype(np.float32))


def _reopened(view: SequenceView, policy: SamplingPolicy, *numbers: Any) -> WindowStream:
    names = ("max_length", "seed", "pairs_per_epoch", "backend")
    return WindowStream(view, policy, **dict(zip(names, numbers, strict=True)))


def next_items(batch: PaddedBatch) -> AnyArray:
    """Return the item that follows each of a padded history, [n, L]: the history one step on; 0 behind the target."""
    targets = np.zeros_like(batch.history)
    targets[:, :-1] = batch.history[:, 1:]
    targets[np.arange(len(targets)), batch.length - 1] = batch.target
    return targets


def window_numbering(view: SequenceView, strategy: str, max_length: int) -> PairNumbering:
    """Return a numbering of the distinct windows of an enumerated strategy; a pair's target is the start + 1.

    A sequence of n items has one window for last_target, n - 1 for slide_window, one from every start, and for
    multi_target the first one and one behind it for every target that is more than L items into the sequence.
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
