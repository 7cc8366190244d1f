"""Random orders of ties move tied interactions and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from genpas_plugins import SequenceStore
from genpas_plugins.data.ties import shuffle_ties, tied_last


@pytest.fixture
def store() -> SequenceStore:
    times = np.array([1, 1, 1, 2, 3, 3, 1, 2, 2, 2, 2, 5])
    columns = {"timestamp": times, "row": np.arange(12)}
    return SequenceStore.from_arrays(np.arange(1, 13), [0, 6, 7, 12], columns=columns)


def test_only_ties_move_and_columns_go_with_them(store: SequenceStore):
    orders = set()
    for seed in range(20):
        shuffled = shuffle_ties(store, seed)
        assert shuffled.columns["timestamp"].tolist() == store.columns["timestamp"].tolist()
        assert (shuffled.values == shuffled.columns["row"] + 1).all()
        assert sorted(shuffled.values[:3]) == [1, 2, 3] and sorted(shuffled.values[4:6]) == [5, 6]
        assert shuffled.values[[3, 6, 11]].tolist() == [4, 7, 12]
        orders.add(tuple(shuffled.values))
    assert len(orders) > 10
    assert tuple(shuffle_ties(store, 3).values) == tuple(shuffle_ties(store, 3).values)


def test_the_share_of_tied_ends(store: SequenceStore):
    assert tied_last(store) == 0.5
