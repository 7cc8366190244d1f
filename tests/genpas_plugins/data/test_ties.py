"""Random orders of ties move tied interactions and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars
import pytest

from genpas_plugins import InputError, SequenceStore
from genpas_plugins.data.prepare.build import build_store
from genpas_plugins.data.storage import read_history
from genpas_plugins.data.ties import shuffle_ties, tie_keys, tied_last


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


@pytest.mark.parametrize("bucket_rows", [3, 1000])
def test_a_prepared_store_has_ties_in_the_order_of_the_keys_of_the_rows(bucket_rows: int, tmp_path: Path):
    rng = np.random.default_rng(0)
    users, items, times = rng.integers(0, 6, 90), rng.integers(0, 30, 90), rng.integers(0, 4, 90)
    file, key = tmp_path / "rows.parquet", tie_keys(np.arange(90), 7)
    polars.DataFrame({"u": users, "i": items, "t": times}).write_parquet(file)
    how = {"user": "u", "item": "i", "order": "t", "bucket_rows": bucket_rows}
    store = build_store(file, tmp_path / "store", ties="random:7", **how)
    assert np.array_equal(store.columns["t"], times[np.lexsort((key, times, users))])
    assert np.array_equal(np.asarray(store.item_ids)[store.values - 1], items[np.lexsort((key, times, users))])
    assert read_history(tmp_path / "store")[0]["step"] == "prepare, ties random:7"
    with pytest.raises(InputError, match="Did you mean 'random'"):
        build_store(file, tmp_path / "other", ties="randon:7", **how)
