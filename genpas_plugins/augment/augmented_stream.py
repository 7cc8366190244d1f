"""A stream of pairs whose histories are changed by operators when they are gathered."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from genpas_plugins.augment.draws import MAX_LENGTH, Draws
from genpas_plugins.augment.histories import Histories
from genpas_plugins.augment.neighbours import nearest_items
from genpas_plugins.augment.operator import Catalogue, Operator
from genpas_plugins.augment.substitute import Substitute
from genpas_plugins.data.sequences import Pairs, SequenceView
from genpas_plugins.sampling.gather import gather_jagged
from genpas_plugins.sampling.jagged import spans
from genpas_plugins.sampling.stream import PairStream
from genpas_plugins.support.array_types import Int64
from genpas_plugins.support.errors import whole_number


class AugmentedStream:
    """A PairStream with the pairs of another one, and `histories` to gather them with.

    stream    : the stream that pairs are drawn from; view, seed, backend and pairs_per_epoch are its own
    operators : applied one after the other, each with random numbers of its own
    catalogue : what new items are taken from
    """

    def __init__(self, stream: PairStream, operators: Sequence[Operator], catalogue: Catalogue) -> None:
        self.stream = stream
        self.operators = tuple(operators)
        self.catalogue = catalogue
        self.view: SequenceView = stream.view
        self.seed: int = stream.seed
        self.backend: str = stream.backend
        self.pairs_per_epoch: int = stream.pairs_per_epoch

    def pairs(self, epoch: int, indices: ArrayLike) -> Pairs:
        """Return the pairs with these indices of the epoch; operators do not change them."""
        return self.stream.pairs(epoch, indices)

    def histories(
        self, epoch: int, indices: Int64, pairs: Pairs, max_length: int, *, with_rows: bool = False
    ) -> Histories:
        """Gather the changed histories of `pairs`, the pairs with these indices, int64 [n], of the epoch.

        An operator sees what a model would: the last `max_length` items of a history. What it returns is cut to its
        last `max_length` items again. A history is a pure function of (seed, epoch, index) and `max_length`.

        with_rows  : whether the result has `rows`
        max_length : from 1 to 2²⁴
        """
        max_length = whole_number("max_length with augment", max_length, 1, MAX_LENGTH)
        store = self.view.store
        items, offsets, _ = gather_jagged(store.values, store.offsets, pairs, max_length, backend=self.backend)
        rows = None
        if with_rows:
            lengths = np.diff(offsets)
            rows = spans(store.offsets[pairs.sequence] + pairs.target - lengths, lengths)
        histories = Histories(items, offsets, rows)
        for number, operator in enumerate(self.operators):
            if not operator.identity:
                draws = Draws(self.seed, epoch, number, indices, self.backend)
                histories = operator.apply(histories, draws, self.catalogue).last(max_length, self.backend)
        return histories


def augmented(stream: PairStream, operators: Sequence[Operator] | None) -> PairStream:
    """Return `stream` with its histories changed by `operators`; the stream itself where there are none.

    Substitute counts the stream's view once, here.

    >>> from genpas_plugins import SamplingPolicy, SequenceStore, pair_stream
    >>> from genpas_plugins.augment import Delete
    >>> store = SequenceStore.from_arrays([1, 2, 3, 4, 5, 6], [0, 6])
    >>> stream = pair_stream(store.leave_last_out().train, SamplingPolicy.named("last_target"), seed=7)
    >>> stream = augmented(stream, [Delete(rate=0.4)])
    >>> pairs = stream.pairs(0, [0])
    >>> stream.histories(0, np.array([0]), pairs, max_length=50).lengths
    array([2])
    """
    if not operators:
        return stream
    needed = any(isinstance(operator, Substitute) and not operator.identity for operator in operators)
    neighbours = nearest_items(stream.view) if needed else None
    return AugmentedStream(stream, operators, Catalogue(stream.view.store.n_items, neighbours))
