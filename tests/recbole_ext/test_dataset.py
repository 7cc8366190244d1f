"""The window data set: the order of time, its splits and matrices, what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import recbole
import torch

from genpas_plugins import InputError
from genpas_plugins.data.ties import tie_keys
from recbole_ext.dataset import ROW, WindowDataset

EXACT = {"strategy": "multi_target"}
STOCK_ORDER = {"strategy": "multi_target", "time_order": "stock"}
ML_100K = {"dataset": "ml-100k", "load_col": {"inter": ["user_id", "item_id", "timestamp"]}}
RAW_TIME = {**ML_100K, "normalize_all": False}  # RecBole's settings for ml-100k scale the times to [0, 1] otherwise


def raw(file: Path) -> pd.DataFrame:
    """Read an atomic file as it stands."""
    table = pd.read_csv(file, sep="\t", dtype=str)
    table.columns = [name.split(":")[0] for name in table.columns]
    return table.assign(timestamp=table["timestamp"].astype(float))


def ml_100k() -> pd.DataFrame:
    return raw(Path(recbole.__file__).parent / "dataset_example/ml-100k/ml-100k.inter")


def sequences(data: WindowDataset) -> dict[str, list[str]]:
    """Return every user's items as the data set orders them, by the ids of the file."""
    users, items = data.field2id_token["user_id"], data.field2id_token["item_id"]
    pieces = np.split(data.store.values, data.store.offsets[1:-1])
    return {users[number]: items[piece].tolist() for number, piece in enumerate(pieces) if number}


def in_order_of(table: pd.DataFrame, time: np.ndarray[Any, Any]) -> dict[str, list[str]]:
    table = table.assign(time=time).sort_values("time", kind="stable")
    return {user: rows["item_id"].tolist() for user, rows in table.groupby("user_id")}


@pytest.mark.parametrize("settings_of_ml_100k", [ML_100K, RAW_TIME], ids=["scaled", "raw"])
def test_exact_order_is_that_of_the_full_precision_time_and_ties_keep_file_order(
    settings_of_ml_100k: dict[str, Any], prepare: Callable[..., Any]
):
    table = ml_100k()
    made = prepare(EXACT, **settings_of_ml_100k)
    assert sequences(made.train.dataset) == in_order_of(table, table["timestamp"].to_numpy())


def test_random_ties_are_in_the_order_of_the_keys_of_the_rows(prepare: Callable[..., Any]):
    table = ml_100k()
    shuffled = table.iloc[np.argsort(tie_keys(np.arange(len(table)), 1))]
    made = prepare({**EXACT, "ties": "random:1"}, **ML_100K)
    found = sequences(made.train.dataset)
    assert found == in_order_of(shuffled, shuffled["timestamp"].to_numpy())
    assert found != in_order_of(table, table["timestamp"].to_numpy())


def test_stock_order_is_that_of_float32_time(prepare: Callable[..., Any]):
    table = ml_100k()
    made = prepare(STOCK_ORDER, **RAW_TIME)
    assert sequences(made.train.dataset) == in_order_of(table, table["timestamp"].to_numpy(np.float32))


@pytest.mark.parametrize(("settings_of_ml_100k", "targets"), [(RAW_TIME, 149), (ML_100K, 4)], ids=["raw", "scaled"])
def test_float32_time_moves_this_many_test_targets_of_ml_100k(
    settings_of_ml_100k: dict[str, Any], targets: int, prepare: Callable[..., Any]
):
    exact, stock = (sequences(prepare(key, **settings_of_ml_100k).train.dataset) for key in (EXACT, STOCK_ORDER))
    assert sum(exact[user][-1] != stock[user][-1] for user in exact) == targets


@pytest.mark.parametrize(("key", "precision"), [(EXACT, np.float64), (STOCK_ORDER, np.float32)])
def test_both_orders_on_a_file_in_no_order(key: Any, precision: type, prepare: Callable[..., Any], data_path: Path):
    table = raw(data_path / "tiny/tiny.inter")
    order = in_order_of(table, table["timestamp"].to_numpy(precision))
    assert sequences(prepare(key).train.dataset) == order


def test_the_two_orders_differ_on_the_small_data_too(prepare: Callable[..., Any]):
    exact, stock = (sequences(prepare(key).train.dataset) for key in (EXACT, STOCK_ORDER))
    assert exact != stock and exact.keys() == stock.keys()


@pytest.mark.parametrize("value_field", [None, "rating"])
@pytest.mark.parametrize("form", ["coo", "csr"])
def test_inter_matrix_is_stocks(form: str, value_field: str | None, prepare: Callable[..., Any]):
    stock, ours = prepare(), prepare(STOCK_ORDER)
    for part in ("train", "valid", "test"):
        a, b = (getattr(made, part).dataset.inter_matrix(form, value_field) for made in (stock, ours))
        assert (a.format, a.shape, a.dtype) == (b.format, b.shape, b.dtype)
        assert (a.tocsr() != b.tocsr()).nnz == 0


@pytest.mark.parametrize(
    "index",
    [3, slice(2, 9), [5, 1], np.array([7, 7]), torch.tensor([1]), slice(None)],
    ids=lambda index: f"{type(index).__name__} {index}",
)
def test_rows_are_stocks_however_they_are_asked_for(index: Any, prepare: Callable[..., Any], same: Callable[..., None]):
    stock, ours = prepare(), prepare(STOCK_ORDER)
    same(stock.train.dataset[index], ours.train.dataset[index])
    same(stock.train.dataset.__getitem__(index, join=False), ours.train.dataset.__getitem__(index, join=False))


def test_what_it_tells_of_itself_is_what_stock_tells(prepare: Callable[..., Any]):
    stock, ours = prepare(), prepare(STOCK_ORDER)
    assert str(stock.train.dataset) == str(ours.train.dataset)
    assert stock.train.dataset.field2seqlen == ours.train.dataset.field2seqlen
    assert stock.train.dataset.field2type == ours.train.dataset.field2type
    assert len(stock.train.dataset) == len(ours.train.dataset)


def test_it_keeps_one_row_a_target_and_no_history(prepare: Callable[..., Any]):
    data = prepare(EXACT).train.dataset
    assert not [field for field in data.inter_feat.columns if field.endswith("_list")]
    assert ROW not in data[[0]].columns, "models never see the store's row"


@pytest.fixture
def spoilt(data_path: Path, tmp_path: Path) -> Callable[[Callable[[list[str]], list[str]]], dict[str, Any]]:
    """Return `spoilt(change)`: settings that read a copy of `tiny` whose .inter lines went through `change`."""

    def of(change: Callable[[list[str]], list[str]]) -> dict[str, Any]:
        (tmp_path / "tiny").mkdir()
        for file in (data_path / "tiny").iterdir():
            lines = file.read_text().splitlines()
            (tmp_path / "tiny" / file.name).write_text(
                "\n".join(change(lines) if file.suffix == ".inter" else lines) + "\n"
            )
        return {"data_path": str(tmp_path)}

    return of


def test_a_missing_time_is_refused_by_file_and_row(prepare: Callable[..., Any], spoilt: Callable[..., Any]):
    def change(lines: list[str]) -> list[str]:
        return [line.rsplit("\t", 1)[0] + "\t" if row in (4, 9) else line for row, line in enumerate(lines)]

    with pytest.raises(InputError) as caught:
        prepare(EXACT, **spoilt(change))
    for word in ("tiny.inter", "2 interactions have no timestamp", "the 4th", "Remove them"):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [{"load_col": {"inter": ["user_id", "item_id"]}}, {"TIME_FIELD": "when"}],
    ids=["not loaded", "another name"],
)
def test_a_missing_time_column_is_refused_by_file(changes: dict[str, Any], prepare: Callable[..., Any]):
    with pytest.raises(InputError, match=r"tiny\.inter: there is no column '(timestamp|when)' \(TIME_FIELD\)"):
        prepare(EXACT, **changes)


def test_times_without_an_order_are_refused(prepare: Callable[..., Any], spoilt: Callable[..., Any]):
    def change(lines: list[str]) -> list[str]:
        return [lines[0].replace("timestamp:float", "timestamp:token"), *lines[1:]]

    with pytest.raises(InputError, match=r"'timestamp' \(TIME_FIELD\) is of type token.*timestamp:float"):
        prepare(EXACT, **spoilt(change))


def test_a_split_that_trains_on_the_middle_of_a_sequence_is_refused(prepare: Callable[..., Any]):
    data = prepare(EXACT).train.dataset
    rows = np.flatnonzero(data.inter_feat["item_length"].numpy() != 2)
    with pytest.raises(InputError, match=r"held-out items\. Use eval_args with order: TO and split: LS, RS or TS"):
        data.copy(data.inter_feat[rows]).training_view()


def test_data_in_which_nobody_has_two_training_items_are_refused(
    prepare: Callable[..., Any], spoilt: Callable[..., Any]
):
    def first_of_every_user(lines: list[str]) -> list[str]:
        return [lines[0], *{line.split("\t")[0]: line for line in lines[1:]}.values()]

    with pytest.raises(InputError, match=r"[Nn]o training pair|two items|two training items"):
        prepare(EXACT, **spoilt(first_of_every_user))
