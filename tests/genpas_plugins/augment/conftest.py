"""What an operator does to the histories of an epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest

from genpas_plugins import SamplingPolicy, SequenceStore, pair_stream
from genpas_plugins.augment import AugmentedStream, Operator
from genpas_plugins.augment.augmented_stream import augment_stream
from genpas_plugins.sampling.batch import StoreHistories

DRAWS = 8_000


class Change(NamedTuple):
    """A history before and after: its items, and the rows of the store that they are from."""

    old: list[int]
    new: list[int]
    rows: list[int]
    new_rows: list[int]

    @property
    def is_one(self) -> bool:
        return (self.new, self.new_rows) != (self.old, self.rows)


def changes_of(stream: AugmentedStream, max_length: int, epoch: int = 0) -> list[Change]:
    index, store = np.arange(stream.pairs_per_epoch), stream.view.store
    pairs, after = stream.pairs(epoch, index), stream.batch(epoch, index, max_length).histories
    assert after.items.dtype == store.values.dtype
    assert after.offsets[0] == 0 and after.offsets[-1] == len(after.items) == len(after.rows)
    before = StoreHistories.of(store, pairs, max_length, "numpy")
    begin = (before.stop - before.lengths).tolist()
    values, items, rows = (array.tolist() for array in (store.values, after.items, after.rows))
    return [
        Change(values[a:b], items[c:d], list(range(a, b)), rows[c:d])
        for a, b, (c, d) in zip(begin, before.stop.tolist(), pairwise(after.offsets.tolist()), strict=True)
    ]


@pytest.fixture(scope="session")
def changed_stream() -> Callable[..., AugmentedStream]:
    """Return `changed_stream(store, operators)`: a multi_target stream of 60 pairs."""

    def make(
        store: SequenceStore, operators: Sequence[Operator], backend: str = "numpy", seed: int = 7
    ) -> AugmentedStream:
        view, policy = store.leave_last_out().train, SamplingPolicy.named("multi_target")
        pairs = pair_stream(view, policy, seed=seed, pairs_per_epoch=60, backend=backend)
        return augment_stream(pairs, operators, with_rows=True)

    return make


@pytest.fixture(scope="session")
def changes(changed_stream: Callable[..., AugmentedStream]) -> Callable[..., list[Change]]:
    """Return `changes(store, operators)`: what happens to every history of an epoch."""

    def of(
        store: SequenceStore, *operators: Operator, max_length: int = 9, epoch: int = 0, **options: object
    ) -> list[Change]:
        return changes_of(changed_stream(store, operators, **options), max_length, epoch)

    return of


@pytest.fixture(scope="session")
def stream_of_one() -> Callable[..., AugmentedStream]:
    """Return `stream_of_one(length, operator)`: one history of `length` different items, drawn DRAWS times."""

    def make(length: int, operator: Operator, pairs: int = DRAWS, n_items: int | None = None) -> AugmentedStream:
        store = SequenceStore.from_arrays(np.arange(1, length + 4), [0, length + 3], n_items=n_items)
        policy = SamplingPolicy(0, math.inf, -math.inf)  # the last target; one pass of one pair is slow to enumerate
        drawn = pair_stream(store.leave_last_out().train, policy, seed=11, pairs_per_epoch=pairs)
        return augment_stream(drawn, [operator], with_rows=True)

    return make


@pytest.fixture(scope="session")
def changes_of_six(stream_of_one: Callable[..., AugmentedStream]) -> Callable[[Operator], list[Change]]:
    """Return `changes_of_six(operator)`: DRAWS changes of the history 1 … 6 in rows 0 … 5.

    The catalogue has 2³¹ - 1 items, so a new item is never an old one by chance.
    """
    return lambda operator: changes_of(stream_of_one(6, operator, n_items=2**31 - 1), 50)


@pytest.fixture(scope="session")
def counts_are_even(p_value: Callable[..., float]) -> Callable[..., bool]:
    """Return `counts_are_even(counts, values)`: whether a chi-square test lets all values be equally likely."""
    return lambda counts, values: p_value(counts, {value: 1 / len(values) for value in values}) > 1e-4
