"""All targets of a window in one pass.

A causal encoder that counts positions from the start of its input reads s_j … s_{k-1} on its way through s_j … s_n.
One forward pass thus has the loss of every target k after a start j. The expected loss and gradient are the same as
with single pairs. The variance and the cost are lower.

A history longer than L is cut to the L items before its target. What a model sees begins at j' = max(j, k - L).
Every start at or before k - L becomes the start k - L.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal, NamedTuple

from numpy.typing import ArrayLike

from genpas_plugins.data.lengths import bounds
from genpas_plugins.data.sequences import Pairs, SequenceView
from genpas_plugins.sampling.backend import choose_backend
from genpas_plugins.sampling.batch import Batch, StoreHistories, Targets
from genpas_plugins.sampling.jagged import spans
from genpas_plugins.sampling.policy import Policy
from genpas_plugins.sampling.protocol import ENUMERATED
from genpas_plugins.sampling.random_stream import check_epoch, check_seed
from genpas_plugins.sampling.sampler import check_indices, check_pairs_per_epoch
from genpas_plugins.support.array_types import Float32, Int64
from genpas_plugins.support.errors import InputError, whole_number


class TargetWindows(NamedTuple):
    """Windows of sequences: a trained item is a target of the items of the window before it.

    Attributes
    ----------
    pairs : start … last target of each window with at most L + 1 items: input of the gather functions
    first : first trained target, int64 [n]; the targets `first` … `pairs.target` of a window are trained
    weights : of the trained targets of one window after another, float32 [T]. The expected sum over an example is
        1. The sum of weighted losses over the number of examples has the expectation of the mean over single pairs.
    example : rising number from 0 of each window's example, int64 [n]
    """

    pairs: Pairs
    first: Int64
    weights: Float32
    example: Int64


class WindowStream(ABC):
    """An endless addressable stream of windows. `genpas_plugins.sampling.stream.window_stream` makes one.

    Parameters
    ----------
    view : the sequences
    policy : the distribution of single pairs
    max_length : maximum number L of items in a history
    seed : int in [0, 2⁶⁴)
    pairs_per_epoch : mean number of targets that an epoch trains; None: one pass of an enumerated strategy or the
        number of multi-target pairs when sampled
    backend : "numpy" or "numba"; None: see `choose_backend`

    Raises
    ------
    InputError
        If no sequence has two items or an argument is out of range.
    """

    unit: Literal["pairs", "windows"] = "windows"
    draws: int = ENUMERATED

    def __init__(
        self,
        view: SequenceView,
        policy: Policy,
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
        in_a_pass, self.targets_per_example = self._tabulate()
        self.pairs_per_epoch = in_a_pass if pairs_per_epoch is None else check_pairs_per_epoch(pairs_per_epoch)
        self.size = max(1, round(self.pairs_per_epoch / self.targets_per_example))

    def __reduce__(self) -> Any:
        """Pickle the arguments: the tables are made again where the stream is opened."""
        names = ("max_length", "seed", "pairs_per_epoch", "backend")
        return _reopen, (type(self), self.view, self.policy, {name: getattr(self, name) for name in names})

    def windows(self, epoch: int, indices: ArrayLike) -> TargetWindows:
        """Return the windows of the examples with these indices of the epoch: int64 [n] in [0, size)."""
        index = check_indices(indices, self.size)
        return self._windows(check_epoch(epoch), index)

    def batch(self, epoch: int, indices: ArrayLike, max_length: int) -> Batch:
        """Return the windows with their trained targets; see `genpas_plugins.sampling.protocol.Stream`."""
        self.check_max_length(max_length)
        return self.batch_of(self.windows(epoch, indices))

    def check_max_length(self, max_length: int) -> None:
        """Raise InputError for another limit than the windows were made for."""
        if max_length != self.max_length:
            raise InputError(f"max_length is {max_length}, but the windows were made for {self.max_length}.")

    def batch_of(self, windows: TargetWindows) -> Batch:
        """Return the batch of these windows."""
        pairs, first, weights, example = windows
        histories = StoreHistories.of(self.view.store, pairs, self.max_length, self.backend)
        count = pairs.target + 1 - first
        rows = spans(self.view.store.offsets[pairs.sequence] + first, count)
        targets = Targets(rows, spans(first - pairs.start - 1, count), bounds(count))
        return Batch(histories, targets, weights, example)

    @abstractmethod
    def _tabulate(self) -> tuple[int, float]:
        """Make the tables. Return the targets of a default epoch and the mean targets of a window."""

    @abstractmethod
    def _windows(self, epoch: int, indices: Int64) -> TargetWindows:
        """Return the windows of the examples with these indices."""


def _reopen(kind: type[WindowStream], view: SequenceView, policy: Policy, others: dict[str, Any]) -> Any:
    return kind(view, policy, **others)
