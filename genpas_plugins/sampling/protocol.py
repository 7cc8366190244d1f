"""The one protocol for streams: what an adapter needs to train on any kind of stream.

A new kind of stream is a new file with a class of these members.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike

from genpas_plugins.data.sequences import Pairs, SequenceView
from genpas_plugins.sampling.batch import Batch, Histories, StoreHistories, Targets
from genpas_plugins.support.array_types import Int64
from genpas_plugins.support.errors import InputError

ENUMERATED, DRAWS = 0, 2
"""How an epoch is drawn. Of a sampled policy 1 was independent draws, and 2 is evenly spaced points."""


def check_draws(recorded: int) -> None:
    """Raise InputError for a sampled training that began under other draws than `DRAWS`."""
    if recorded != DRAWS:
        raise InputError(
            f"The checkpoint is of a training under draws {recorded}, but this version draws a sampled policy under "
            f"draws {DRAWS}. Train anew. Evaluation, recommend and the checkpoint's weights are not affected."
        )


class Stream(Protocol):
    """An endless stream of examples in which any example is reached in O(1).

    Attributes
    ----------
    unit : what an example is: a pair has one target; of windows it is a chain of windows, often of one
    view : the sequences that examples come from
    seed : int in [0, 2⁶⁴)
    backend : "numpy" or "numba"
    draws : how an epoch is drawn: `ENUMERATED`, or `DRAWS` for a sampled policy
    size : examples an epoch
    pairs_per_epoch : targets an epoch; of windows the expected number
    targets_per_example : `pairs_per_epoch` over `size`; of windows on average
    """

    view: SequenceView
    seed: int
    backend: str
    pairs_per_epoch: int

    @property
    def draws(self) -> int: ...  # noqa: D102 – documented above

    @property
    def unit(self) -> Literal["pairs", "windows"]: ...  # noqa: D102 – documented above

    @property
    def size(self) -> int: ...  # noqa: D102 – documented above

    @property
    def targets_per_example(self) -> float: ...  # noqa: D102 – documented above

    def batch(self, epoch: int, indices: ArrayLike, max_length: int) -> Batch:
        """Return the examples with these indices of the epoch: a pure function of (seed, epoch, index).

        Parameters
        ----------
        epoch : int in [0, 2³²)
        indices : int64 [n], each in [0, size)
        max_length : items of a history at most

        Raises
        ------
        InputError
            For an argument out of range even if n is 0.
        """


class PairStream(Stream, Protocol):
    """A stream of pairs; a class that inherits it and has `pairs` has all the rest."""

    @property
    def draws(self) -> int:
        """How an epoch is drawn: in a keyed order of all pairs."""
        return ENUMERATED

    @property
    def unit(self) -> Literal["pairs", "windows"]:
        """The word "pairs"."""
        return "pairs"

    @property
    def size(self) -> int:
        """Number of pairs an epoch."""
        return self.pairs_per_epoch

    @property
    def targets_per_example(self) -> float:
        """The number 1: a pair has one target."""
        return 1.0

    @abstractmethod
    def pairs(self, epoch: int, indices: ArrayLike) -> Pairs:
        """Return the pairs with these indices of the epoch: a pure function of (seed, epoch, index)."""

    def addresses(self, epoch: int, indices: ArrayLike) -> tuple[Pairs, Pairs]:
        """Return the pairs with these indices, and their histories: pairs whose target is the position after each."""
        pairs = self.pairs(epoch, indices)
        return pairs, pairs

    def histories(self, epoch: int, indices: Int64, addresses: Pairs, max_length: int) -> Histories:
        """Return the histories at `addresses`, of the pairs with these indices of the epoch."""
        del epoch, indices
        return StoreHistories.of(self.view.store, addresses, max_length, self.backend)

    def batch(self, epoch: int, indices: ArrayLike, max_length: int) -> Batch:
        """Return the pairs with their histories. Each target has weight 1. See `Stream.batch`."""
        pairs, addresses = self.addresses(epoch, indices)
        histories = self.histories(epoch, np.asarray(indices, np.int64), addresses, max_length)
        rows, n = self.view.store.offsets[pairs.sequence] + pairs.target, len(pairs.target)
        targets = Targets(rows, histories.lengths - 1, np.arange(n + 1))
        return Batch(histories, targets, np.ones(n, np.float32), np.arange(n))
