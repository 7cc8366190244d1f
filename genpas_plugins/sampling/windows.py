"""All targets of a window in one pass: draw (sequence, start) and train every target after it with its probability.

A causal encoder that counts positions from the start of its input reads s_j … s_{k-1} on its way through s_j … s_n.
So one forward pass has the loss of every target k after a start j. A window is drawn as (s, j) from the marginal of
the policy, and each k is trained with the weight p(k | s, j). The expected loss and gradient are the same as with
single pairs (Rao–Blackwell); the variance and the cost are lower.

A history longer than L is cut to the L items before its target. What a model sees begins at j' = max(j, k - L), and
every start at or before k - L becomes the start k - L:

    p(k | s, j')  ∝  p(k | s) p(j' | k)               for k - j' < L
                     p(k | s) Σ_{i ≤ j'} p(i | k)     for k - j' = L, the last target that j' can have
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from genpas_plugins.data.sequences import Pairs, SequenceView
from genpas_plugins.sampling.backend import choose_backend
from genpas_plugins.sampling.batch import Batch, StoreHistories, Targets
from genpas_plugins.sampling.jagged import bounds
from genpas_plugins.sampling.policy import PowerTable, SamplingPolicy
from genpas_plugins.sampling.random_stream import check_epoch, check_seed
from genpas_plugins.sampling.sampler import check_indices, check_pairs_per_epoch
from genpas_plugins.support.array_types import Float32, Float64, Int64
from genpas_plugins.support.errors import InputError, whole_number


class TargetWindows(NamedTuple):
    """Windows of sequences: every item after the first is a target of the items of the window before it.

    Attributes
    ----------
    pairs : start … last target of each window, at most L + 1 items: what the gather functions take
    weight : float32 [n, longest history], in column i of the target at start + 1 + i. It is 0 where the policy has no
        such pair, and after the last target. The expected sum of a row is 1: the mean over windows of weighted losses
        has the expectation of the mean over single pairs.
    """

    pairs: Pairs
    weight: Float32


@dataclass(frozen=True, eq=False)
class TargetWeights:
    """Tables for ln p(k | s, j') of sequences of up to n + 1 items; positions k and starts j count from 1.

    Attributes
    ----------
    policy : the distribution of single pairs
    max_length : L
    target : float64 [n + 1], ln (k^β / Σ_{i ≤ k} i^γ), k the number of items before the target
    start : float64 [n + 1], ln j^γ
    up_to : float64 [n + 1], ln Σ_{i ≤ j} i^γ
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

        Parameters
        ----------
        windows : start … last target
        length : int64 [n], items of their sequences
        """
        count = windows.target - windows.start
        place = np.arange(count.max(initial=1))
        target = np.minimum(windows.start[:, None] + 1 + place, windows.target[:, None])
        first = windows.start[:, None] + 1
        of_start = np.where(place == self.max_length - 1, self.up_to[first], self.start[first])
        possible = place < count[:, None]
        # An exponent of +∞ is not in the tables: all mass is on the last target, or on the last start.
        if self.policy.beta == math.inf:
            possible &= target == length[:, None] - 1
        if self.policy.gamma == math.inf:
            possible &= place == 0
        return np.where(possible, self.target[target] + of_start, -np.inf)


class WindowStream(ABC):
    """An endless, addressable stream of windows; `genpas_plugins.sampling.stream.window_stream` makes one.

    Parameters
    ----------
    view : the sequences
    policy : the distribution of single pairs
    max_length : L, items of a history at most
    seed : int in [0, 2⁶⁴)
    pairs_per_epoch : targets that an epoch trains, on average; None: one pass of an enumerated strategy, as many as
        multi-target has when sampled
    backend : "numpy" or "numba"; None: see `choose_backend`

    Raises
    ------
    InputError
        If no sequence has two items, or an argument is out of range.
    """

    unit: Literal["pairs", "windows"] = "windows"

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
        in_a_pass, self.targets_per_example = self._tabulate()
        self.pairs_per_epoch = in_a_pass if pairs_per_epoch is None else check_pairs_per_epoch(pairs_per_epoch)
        self.size = max(1, round(self.pairs_per_epoch / self.targets_per_example))

    def __reduce__(self) -> Any:
        """Pickle the arguments: the tables are made again where the stream is opened."""
        names = ("max_length", "seed", "pairs_per_epoch", "backend")
        return _reopened, (type(self), self.view, self.policy, {name: getattr(self, name) for name in names})

    def windows(self, epoch: int, indices: ArrayLike) -> TargetWindows:
        """Return the windows with these indices of the epoch: int64 [n], each in [0, size)."""
        index, epoch = check_indices(indices, self.size), check_epoch(epoch)
        return self.weighted(*self._starts(epoch, index))

    def batch(self, epoch: int, indices: ArrayLike, max_length: int) -> Batch:
        """Return the windows with their targets of weight above 0; see `genpas_plugins.sampling.protocol.Stream`."""
        if max_length != self.max_length:
            raise InputError(f"max_length is {max_length}, but the windows were made for {self.max_length}.")
        return self.batch_of(self.windows(epoch, indices))

    def batch_of(self, windows: TargetWindows) -> Batch:
        """Return the batch of these windows."""
        pairs, weight = windows
        histories = StoreHistories.of(self.view.store, pairs, self.max_length, self.backend)
        row, place = np.nonzero(weight)
        rows = self.view.store.offsets[pairs.sequence[row]] + pairs.start[row] + 1 + place
        targets = Targets(rows, place, bounds(np.count_nonzero(weight, axis=1)))
        return Batch(histories, targets, weight[row, place])

    def weighted(self, sequence: Int64, start: Int64) -> TargetWindows:
        """Return the windows from these starts, int64 [n] both, with the weights of their targets."""
        length = self.view.lengths_of(sequence, start)
        windows = Pairs(sequence, start, np.minimum(length - 1, start + self.max_length))
        weight = self._normalised(self.weights.log_weight(windows, length))
        return TargetWindows(windows, weight.astype(np.float32))

    @abstractmethod
    def _tabulate(self) -> tuple[int, float]:
        """Make the tables; return the targets of a default epoch, and of a window on average."""

    @abstractmethod
    def _starts(self, epoch: int, indices: Int64) -> tuple[Int64, Int64]:
        """Return sequence and start of each window, int64 [n] both."""

    @abstractmethod
    def _normalised(self, log_weight: Float64) -> Float64:
        """Return the weights of targets, float64 [n, longest history], from their logarithms."""


def _reopened(kind: type[WindowStream], view: SequenceView, policy: SamplingPolicy, others: dict[str, Any]) -> Any:
    return kind(view, policy, **others)
