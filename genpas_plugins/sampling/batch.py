"""What a stream returns for some examples: their histories, their targets and the weight of each target.

Shapes: n histories, T targets. An example of a stream of pairs has one history with one target.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import DTypeLike

from genpas_plugins.data.lengths import bounds
from genpas_plugins.data.sequences import Pairs, SequenceStore
from genpas_plugins.sampling.gather import fill_jagged, fill_padded, implementation_for, slices_of
from genpas_plugins.support.array_types import AnyArray, Bools, Float32, Int64


class Histories(Protocol):
    """The histories of a batch. Only the methods copy items.

    A model reads an empty history as one padding item. Every history thus has at least one item.

    Attributes
    ----------
    sequence : the store's sequence of each history, int64 [n]
    lengths : items of each history, int64 [n]
    """

    @property
    def sequence(self) -> Int64: ...  # noqa: D102 – documented above

    @property
    def lengths(self) -> Int64: ...  # noqa: D102 – documented above

    def jagged(self) -> tuple[AnyArray, Int64]:
        """Return the items of one history after another and their int64 offsets `[n + 1]`."""

    def padded(self, width: int, dtype: DTypeLike | None = None) -> AnyArray:
        """Return the items `[n, width]` with 0 after each history. `dtype` is the store's by default."""

    def padded_column(self, column: AnyArray, width: int) -> AnyArray:
        """Return a store column beside the items `[n, width, …]` with 0 after each history."""


class Targets(NamedTuple):
    """The targets of a batch: the targets of one history after another.

    Attributes
    ----------
    rows : interactions of the store that are the targets, int64 [T]; `store.values[rows]` are the items
    place : place in the history of the last item that the target may be predicted from, int64 [T]
    offsets : history i has the targets offsets[i] … offsets[i + 1] - 1, int64 [n + 1]
    """

    rows: Int64
    place: Int64
    offsets: Int64


class Batch(NamedTuple):
    """Examples of a stream.

    Attributes
    ----------
    histories : n histories
    targets : their T targets
    weights : float32 [T]; the sum of weighted losses over the number of examples is the loss
    example : int64 [n], the example of each history, from 0 and rising; an example may have several
    """

    histories: Histories
    targets: Targets
    weights: Float32
    example: Int64

    @property
    def n_examples(self) -> int:
        """Number of examples."""
        return int(self.example[-1]) + 1 if len(self.example) else 0


@dataclass(frozen=True, eq=False)
class StoreHistories:
    """Histories as the store has them: slices of its rows.

    Parameters
    ----------
    store : where the items are
    sequence : int64 [n], the store's sequence of each history
    stop : int64 [n], the row of the store after each history
    lengths : int64 [n], items of each history
    backend : "numpy" or "numba"
    """

    store: SequenceStore
    sequence: Int64
    stop: Int64
    lengths: Int64
    backend: str

    @classmethod
    def of(cls, store: SequenceStore, pairs: Pairs, max_length: int, backend: str) -> StoreHistories:
        """Return the last `max_length` items of each history of `pairs`."""
        stop, lengths = slices_of(store.offsets, pairs, max_length, store.n_interactions, backend)
        empty = lengths == 0
        if empty.any():
            return EmptyHistories(store, np.asarray(pairs.sequence), stop + empty, lengths + empty, backend, empty)
        return cls(store, np.asarray(pairs.sequence), stop, lengths, backend)

    def jagged(self) -> tuple[AnyArray, Int64]:
        """Return the items and their offsets; see `Histories`."""
        values, offsets = self.store.values, bounds(self.lengths)
        items = implementation_for(values, fill_jagged, self.backend)(values, self.stop, offsets)
        return self.store.known_items(items), offsets

    def padded(self, width: int, dtype: DTypeLike | None = None) -> AnyArray:
        """Return the items; see `Histories`."""
        items = self.store.known_items(self.padded_column(self.store.values, width))
        return items if dtype is None else items.astype(dtype, copy=False)

    def padded_column(self, column: AnyArray, width: int) -> AnyArray:
        """Return entries of a column; see `Histories`."""
        fill = implementation_for(column, fill_padded, self.backend)
        return fill(column, self.stop, self.lengths, width)


@dataclass(frozen=True, eq=False)
class EmptyHistories(StoreHistories):
    """Histories of which some are empty: slices of one item that is read as padding.

    Parameters
    ----------
    empty : bool [n]
    """

    empty: Bools

    def jagged(self) -> tuple[AnyArray, Int64]:
        """Return the items and their offsets; see `Histories`."""
        items, offsets = super().jagged()
        items[offsets[:-1][self.empty]] = 0
        return items, offsets

    def padded_column(self, column: AnyArray, width: int) -> AnyArray:
        """Return entries of a column; see `Histories`."""
        entries = super().padded_column(column, width)
        entries[self.empty] = 0
        return entries
