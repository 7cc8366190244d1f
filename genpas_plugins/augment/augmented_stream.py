"""A stream of pairs whose histories operators change."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.typing import ArrayLike

from genpas_plugins.augment.draws import MAX_LENGTH, Draws
from genpas_plugins.augment.histories import ChangedHistories
from genpas_plugins.augment.neighbours import nearest_items
from genpas_plugins.augment.operator import Catalogue, Operator
from genpas_plugins.data.sequences import Pairs
from genpas_plugins.sampling.batch import StoreHistories
from genpas_plugins.sampling.protocol import PairStream
from genpas_plugins.support.array_types import Int64
from genpas_plugins.support.errors import whole_number


class AugmentedStream(PairStream):
    """The pairs of another stream with changed histories.

    Parameters
    ----------
    stream : the stream that pairs are drawn from
    operators : applied one after the other, each with random numbers of its own
    catalogue : what new items are taken from
    with_rows : whether histories know the row of each item, as a batch of other columns needs
    """

    def __init__(
        self, stream: PairStream, operators: Sequence[Operator], catalogue: Catalogue, *, with_rows: bool = False
    ) -> None:
        self.stream = stream
        self.operators = tuple(operators)
        self.catalogue = catalogue
        self.with_rows = with_rows
        self.view, self.seed, self.backend = stream.view, stream.seed, stream.backend
        self.pairs_per_epoch = stream.pairs_per_epoch

    @property
    def draws(self) -> int:
        """How an epoch of the pairs is drawn."""
        return self.stream.draws

    def pairs(self, epoch: int, indices: ArrayLike) -> Pairs:
        """Return the pairs with these indices of the epoch; operators do not change them."""
        return self.stream.pairs(epoch, indices)

    def addresses(self, epoch: int, indices: ArrayLike) -> tuple[Pairs, Pairs]:
        """Return the pairs with these indices and their histories before the change; see `PairStream`."""
        return self.stream.addresses(epoch, indices)

    def histories(self, epoch: int, indices: Int64, addresses: Pairs, max_length: int) -> ChangedHistories:
        """Return the changed histories of the pairs with these indices of the epoch.

        An operator sees the last `max_length` items of a history as a model would. Its result is cut to its last
        `max_length` items again. A history is a pure function of (seed, epoch, index) and `max_length`.

        Parameters
        ----------
        epoch : int in [0, 2³²)
        indices : int64 [n]
        addresses : n histories before the change, from `addresses`
        max_length : from 1 to 2²⁴
        """
        max_length = whole_number("max_length with augment", max_length, 1, MAX_LENGTH)
        drawn = StoreHistories.of(self.view.store, addresses, max_length, self.backend)
        histories = ChangedHistories.of(drawn, with_rows=self.with_rows)
        for number, operator in enumerate(self.operators):
            if not operator.identity:
                draws = Draws(self.seed, epoch, number, indices, self.backend)
                histories = operator.apply(histories, draws, self.catalogue).last(max_length)
        return histories


def augment_stream(stream: PairStream, operators: Sequence[Operator] | None, *, with_rows: bool = False) -> PairStream:
    """Return `stream` with its histories changed by `operators` or itself without operators.

    The view is counted once here if an operator needs neighbours.

    Examples
    --------
    >>> from genpas_plugins import SamplingPolicy, SequenceStore, pair_stream
    >>> from genpas_plugins.augment import operators_of
    >>> store = SequenceStore.from_arrays([1, 2, 3, 4, 5, 6], [0, 6])
    >>> stream = pair_stream(store.leave_last_out().train, SamplingPolicy.named("last_target"), seed=7)
    >>> stream = augment_stream(stream, operators_of({"operator": "delete", "rate": 0.4}))
    >>> stream.batch(epoch=0, indices=[0], max_length=50).histories.lengths
    array([2])
    """
    if not operators:
        return stream
    needed = any(operator.needs_neighbours and not operator.identity for operator in operators)
    neighbours = nearest_items(stream.view) if needed else None
    return AugmentedStream(stream, operators, Catalogue(stream.view.store.n_items, neighbours), with_rows=with_rows)
