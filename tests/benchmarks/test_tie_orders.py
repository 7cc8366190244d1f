"""The spread over orders of ties of a small store."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import tie_orders
from genpas_plugins import SamplingPolicy, SequenceStore


def test_orders_have_figures_and_ranks(medium: SequenceStore):
    times = np.zeros(medium.n_interactions, np.int64)
    tied = SequenceStore.from_arrays(
        medium.values, medium.offsets, n_items=medium.n_items, columns={"timestamp": times}
    )
    content = tie_orders.spread(tied, [SamplingPolicy(1, 0, 0), SamplingPolicy(0, 0, 0)])
    assert content["tied_last"] == 1 and 0 < content["same_test_item"] < 1
    for row in content["policies"].values():
        assert len(row["random"]) == tie_orders.ORDERS and set(row["ranks"]) <= {1, 2}


@pytest.fixture
def store() -> SequenceStore:
    times = np.array([1, 1, 1, 2, 3, 3, 1, 2, 2, 2, 2, 5])
    columns = {"timestamp": times, "row": np.arange(12)}
    return SequenceStore.from_arrays(np.arange(1, 13), [0, 6, 7, 12], columns=columns)


def test_only_ties_move_and_columns_go_with_them(store: SequenceStore):
    orders = set()
    for seed in range(20):
        shuffled = tie_orders.shuffle_ties(store, seed)
        assert shuffled.columns["timestamp"].tolist() == store.columns["timestamp"].tolist()
        assert (shuffled.values == shuffled.columns["row"] + 1).all()
        assert sorted(shuffled.values[:3]) == [1, 2, 3] and sorted(shuffled.values[4:6]) == [5, 6]
        assert shuffled.values[[3, 6, 11]].tolist() == [4, 7, 12]
        orders.add(tuple(shuffled.values))
    assert len(orders) > 10
    assert tuple(tie_orders.shuffle_ties(store, 3).values) == tuple(tie_orders.shuffle_ties(store, 3).values)


def test_the_share_of_tied_ends(store: SequenceStore):
    assert tie_orders.tied_last(store) == 0.5
