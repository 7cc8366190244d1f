"""The public data sets have the sizes their publications print."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest

from genpas_plugins.data.prepare.build import build_store
from genpas_plugins.support.errors import InputError

pytestmark = pytest.mark.slow


@pytest.fixture
def data() -> Path:
    if "GENPAS_DATA_DIR" not in os.environ:
        pytest.skip("set GENPAS_DATA_DIR to a directory with beauty/interactions.parquet, toys/…, yelp/…, ml-1m/…")
    return Path(os.environ["GENPAS_DATA_DIR"])


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("beauty", (22_363, 12_101, 198_502)),
        ("toys", (19_412, 11_924, 167_597)),
        ("sports", (35_598, 18_357, 296_337)),
        ("yelp", (30_431, 20_033, 316_354)),
        ("ml-1m", (6_040, 3_416, 999_611)),
    ],
)
def test_sizes_and_order(data, tmp_path, name, sizes):
    source = data / name / "interactions.parquet"
    if not source.is_file():
        pytest.skip(f"{source} is not there")
    store = build_store(source, tmp_path / "store", user="user_id", item="item_id", order="position")
    assert (store.n_sequences, store.n_items, store.n_interactions) == sizes
    table = pl.read_parquet(source).sort("user_id", "position")
    assert store.item_ids.take(store.values - 1).equals(table["item_id"].cast(pl.Int64).to_arrow())
    assert store.user_ids.to_pylist() == table["user_id"].unique().sort().to_list()


def test_beauty_is_its_own_5_core(data, tmp_path):
    source = data / "beauty" / "interactions.parquet"
    store = build_store(source, tmp_path / "store", user="user_id", item="item_id", order="position", k_core=5)
    assert store.n_interactions == 198_502


def test_users_without_times_are_told(data, tmp_path):
    source = data / "toys" / "interactions.parquet"
    with pytest.raises(
        InputError, match=r"interactions\.parquet, row \d+: 'timestamp' is missing, as in \d+ rows .*order by"
    ):
        build_store(source, tmp_path / "store", user="user_id", item="item_id", order="timestamp")
