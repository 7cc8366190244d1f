"""Tables in memory give the store that the same table in a file gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genpas_plugins import InputError, SequenceStore

rows = st.lists(st.tuples(st.integers(0, 5), st.sampled_from("abé"), st.integers(-2, 2)), min_size=1, max_size=30)


@settings(max_examples=40, deadline=None)
@given(rows=rows, order=st.sampled_from([None, "t", ["t", "n"]]))
def test_a_table_gives_the_store_of_its_file(tmp_path_factory: pytest.TempPathFactory, rows: Any, order: Any):
    from genpas_plugins.data.prepare.build import build_store

    table = pa.table(dict(zip(("u", "i", "t"), map(list, zip(*rows, strict=True)), strict=True)))
    table = table.append_column("n", pa.array(np.arange(len(rows))[::-1].copy()))
    folder = tmp_path_factory.mktemp("tables")
    pq.write_table(table, folder / "t.parquet")
    how = {"user": "u", "item": "i", "order": order, "columns": ["n"]}
    one, other = SequenceStore.from_arrow(table, **how), build_store(folder / "t.parquet", folder / "store", **how)
    assert one.to_arrow().equals(other.to_arrow())
    assert (one.n_items, one.user_ids, one.item_ids) == (other.n_items, other.user_ids, other.item_ids)
    assert SequenceStore.from_arrow(one.to_arrow(), columns=list(one.columns)).to_arrow().equals(one.to_arrow())


def test_pandas_and_polars_there_and_back():
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    columns = {"user_id": [2, 1, 2], "item_id": ["b", "b", "a"], "when": [5, 4, 3]}
    frame = pd.DataFrame(columns, index=[7, 8, 9]).astype({"user_id": "Int64", "item_id": "category", "when": "Int64"})
    frame["when"] = pd.to_datetime(frame["when"], unit="ns", utc=True)
    store = SequenceStore.from_pandas(frame, order="when")
    assert store.to_arrow().column("item_id").to_pylist() == ["b", "a", "b"]  # 3 ns, then 5 ns
    assert store.to_pandas().to_dict("list")["user_id"] == [1, 2, 2]
    same = SequenceStore.from_polars(pl.from_pandas(frame), order="when")
    assert same.to_polars().equals(store.to_polars())


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"user_id": [1, None], "item_id": [1, 2], "t": [1, 2]}, "row 2: 'user_id' is missing, as in 1 rows"),
        ({"user_id": [1.5, 2.5], "item_id": [1, 2], "t": [1, 2]}, "'user_id' is of type double"),
        ({"user_id": [1, 2], "item_id": [1, 2], "t": [1.0, float("nan")]}, "row 2: 't' is missing"),
        ({"user_id": [1, 2], "item_id": [1, 2], "t": ["x", "y"]}, "'t' is of type string"),
        ({"user_id": [1, 2], "Item_id": [1, 2], "t": [1, 2]}, r"no column 'item_id'\. Did you mean 'Item_id'"),
    ],
)
def test_unusable_columns_are_one_sentence(columns: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        SequenceStore.from_arrow(pa.table(columns), order="t")


def test_a_frame_of_mixed_types_is_one_sentence():
    pd = pytest.importorskip("pandas")
    with pytest.raises(InputError, match=r"column of several types .*convert the column"):
        SequenceStore.from_pandas(pd.DataFrame({"user_id": [1, "a"], "item_id": [1, 2]}))


def test_names_are_short(tmp_path: Path):
    store = SequenceStore.from_arrays([1, 2, 3, 4], [0, 4], columns={"t": np.arange(4)})
    assert repr(store) == "<SequenceStore: 1 users, 4 items, 4 interactions, columns t>"
    assert repr(store.leave_last_out().train) == f"<SequenceView: 1 pairs of {store!r}>"
