"""The order of ties: its word, and what a prepared store has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars
import pytest

from genpas_plugins import InputError
from genpas_plugins.data.prepare.build import build_store
from genpas_plugins.data.storage import read_history
from genpas_plugins.data.ties import parse_ties, tie_keys


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


@pytest.mark.parametrize("word", ["random", "random:", "random:-1", "random:1.5", "random:" + "9" * 5000, "random:²"])
def test_a_seed_is_a_short_whole_number(word: str):
    with pytest.raises(InputError, match="no seed of 1 to 18 digits"):
        parse_ties(word)
