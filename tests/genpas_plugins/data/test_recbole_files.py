"""RecBole's atomic file: the order survives float32, and nothing is written that RecBole would read differently."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given

from genpas_plugins import InputError, SequenceStore
from genpas_plugins.data import recbole_files
from genpas_plugins.data.recbole_files import export_recbole, field_names


def fields_and_rows(file: Path) -> tuple[list[str], list[list[str]]]:
    header, *lines = file.read_text().splitlines()
    return header.split("\t"), [line.split("\t") for line in lines]


def test_the_file_is_what_the_store_holds(store: SequenceStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(recbole_files, "_ROWS", 4)
    told: list[int] = []
    written = export_recbole(store, tmp_path, "five", progress=told.append)
    assert written.file == tmp_path / "five" / "five.inter"
    assert told == [4, 8, 12, 16, 18]
    fields, rows = fields_and_rows(written.file)
    assert fields == written.fields == ["user_id:token", "item_id:token", "timestamp:float", "time:float"]
    assert [int(row[1]) for row in rows] == store.values.tolist()
    assert [int(row[0]) for row in rows] == np.repeat(np.arange(5), store.lengths()).tolist()
    assert [int(row[2]) for row in rows] == [k for length in store.lengths() for k in range(length)]
    assert [int(row[3]) for row in rows] == store.columns["timestamp"].tolist()


@given(store=...)
def test_sorting_by_the_float32_time_gives_the_order_of_the_store(
    store: SequenceStore, tmp_path_factory: pytest.TempPathFactory
):
    written = export_recbole(store, tmp_path_factory.mktemp("data"), "x")
    _, rows = fields_and_rows(written.file)
    user = np.array([int(row[0]) for row in rows])
    time = np.array([float(row[2]) for row in rows], np.float32)
    shuffled = np.random.default_rng(0).permutation(len(rows))
    order = shuffled[np.lexsort([time[shuffled], user[shuffled]])]
    assert [int(rows[i][1]) for i in order] == store.values.tolist()


def test_columns_become_float_fields_of_their_name():
    columns = {
        "timestamp": np.arange(2.0),
        "time": np.arange(2),
        "item_id": np.arange(2, dtype=np.int8),
        "liked": np.array([True, False]),
        "words": np.zeros((2, 3)),
        "name": np.array(["a", "b"]),
    }
    store = SequenceStore.from_arrays([1, 2], [0, 2], columns=columns)
    assert field_names(store) == {"timestamp": "time_", "time": "time", "item_id": "item_id_", "liked": "liked"}


USERS, ITEMS = ["ann", "bob", "cal"], [f"item {letter}" for letter in "abc"]


@pytest.fixture
def original() -> SequenceStore:
    """Three users, one of them without items, with ids and a column."""
    columns = {"rating": np.arange(7.0)}
    return SequenceStore.from_arrays(
        [1, 2, 3, 1, 3, 2, 1], [0, 4, 4, 7], user_ids=USERS, item_ids=ITEMS, columns=columns
    )


def with_added(store: SequenceStore) -> SequenceStore:
    """Two patterns of two and three items, and a sequence made from the last user's."""
    pytest.importorskip("torch")
    from genpas_plugins.neural.dr4sr.inference import Regenerated
    from genpas_plugins.neural.dr4sr.mining import Patterns
    from genpas_plugins.neural.dr4sr.regenerated_store import regenerated_store

    none = np.empty(0, np.int64)
    patterns = Patterns(np.array([2, 3, 3, 2, 1]), np.array([0, 2, 5]), np.array([2, 2]), none, none)
    return regenerated_store(store, patterns, Regenerated(np.array([2]), np.array([[[3, 1]]]), np.array([[False]])))


@pytest.mark.parametrize("named", [True, False])
def test_a_regenerated_store_is_the_original_and_a_file_of_added_sequences(
    original: SequenceStore, named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(recbole_files, "_ROWS", 2)
    if not named:
        original = replace(original, user_ids=None, item_ids=None)
    told: list[int] = []
    plain = export_recbole(original, tmp_path, "plain")
    written = export_recbole(with_added(original), tmp_path, "new", progress=told.append)
    assert plain.added is None and plain.interactions == 7
    assert written._replace(file=plain.file, config=plain.config, added=None) == plain
    assert written.file.read_bytes() == plain.file.read_bytes()
    assert told == sorted(told) and told[-1] == 14
    assert written.added == tmp_path / "new" / "new.added.inter"
    fields, rows = fields_and_rows(written.added)
    assert fields == ["sequence:float", "user_id:token", "item_id:token"]
    items = [ITEMS[item - 1] if named else str(item) for item in (2, 3, 3, 2, 1, 3, 1)]
    users = ["[PAD]"] * 5 + ["cal" if named else "2"] * 2
    assert rows == [list(row) for row in zip("0011122", users, items, strict=True)]


def test_an_original_store_leaves_no_added_sequences_of_another_behind(original: SequenceStore, tmp_path: Path):
    export_recbole(with_added(original), tmp_path, "x")
    assert export_recbole(original, tmp_path, "x", overwrite=True).added is None
    assert {file.name for file in (tmp_path / "x").iterdir()} == {"x.inter", "x.yaml"}


def test_a_failed_export_leaves_no_file(original: SequenceStore, tmp_path: Path):
    def stop(done: int) -> None:
        if done > 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_recbole(with_added(original), tmp_path, "x", progress=stop)
    assert not list((tmp_path / "x").iterdir())


def test_columns_without_a_type_in_recbole_are_named(tmp_path: Path):
    store = SequenceStore.from_arrays([1, 2], [0, 2], columns={"words": np.zeros((2, 3)), "liked": [True, False]})
    written = export_recbole(store, tmp_path, "x")
    assert written.left_out == ["words"]
    assert fields_and_rows(written.file)[1] == [["0", "1", "0", "1"], ["0", "2", "1", "0"]]


@pytest.mark.parametrize("bad", ["a\tb", "a\nb", 'a"b', "", "NA", "null", "[PAD]", None])
def test_ids_that_recbole_reads_differently_are_refused(tmp_path: Path, bad: str | None):
    store = SequenceStore.from_arrays([1, 2], [0, 2], item_ids=pa.array(["fine", bad]))
    with pytest.raises(InputError, match="item id") as raised:
        export_recbole(store, tmp_path, "x")
    assert repr(bad) in str(raised.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "..", "a/b", "ml-100k"])
def test_names_that_are_no_data_set_are_refused(store: SequenceStore, tmp_path: Path, name: str):
    with pytest.raises(InputError, match="choose another name"):
        export_recbole(store, tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_a_column_that_cannot_name_a_field_is_refused(tmp_path: Path):
    store = SequenceStore.from_arrays([1, 2], [0, 2], columns={"a:b": [1, 2]})
    with pytest.raises(InputError, match="'a:b'"):
        export_recbole(store, tmp_path, "x")


def test_recbole_takes_for_missing_what_we_refuse():
    readers = pytest.importorskip("pandas._libs.parsers")
    assert set(readers.STR_NA_VALUES) <= set(recbole_files._RESERVED)


def test_recbole_reads_the_sequences_back_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("recbole")
    pytest.importorskip("recbole_ext")
    from recbole.config import Config
    from recbole.data import create_dataset

    monkeypatch.setattr("sys.argv", ["pytest"])  # RecBole reads settings from it
    items, users = [f"item {letter}" for letter in "abcde"], ["ann", "bob"]
    store = SequenceStore.from_arrays([1, 2, 3, 4, 5, 5, 4, 3, 4], [0, 5, 9], user_ids=users, item_ids=items)
    export_recbole(store, tmp_path, "two")
    settings = {"data_path": str(tmp_path), "load_col": {"inter": ["user_id", "item_id", "timestamp"]}}
    dataset = create_dataset(Config("SASRec", "two", config_dict=settings | {"train_neg_sample_args": None}))
    table = dataset.inter_feat.sample(frac=1, random_state=0).astype({"timestamp": np.float32})
    table = table.sort_values(["user_id", "timestamp"])
    read = {user: group for user, group in table.groupby("user_id")["item_id"]}
    for row, user in enumerate(users):
        numbers = store.values[store.offsets[row] : store.offsets[row + 1]]
        tokens = dataset.id2token("item_id", read[dataset.token2id("user_id", user)].to_numpy())
        assert list(tokens) == [items[number - 1] for number in numbers]
