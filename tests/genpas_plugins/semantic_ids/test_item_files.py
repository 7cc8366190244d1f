"""The user's texts and vectors of items, put into the order of the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("polars")

from genpas_plugins import InputError, SequenceStore
from genpas_plugins.semantic_ids.item_files import read_embeddings, read_texts, rows_of


def a_store(ids: Any = None) -> SequenceStore:
    return SequenceStore.from_arrays([1, 2, 3, 4], [0, 4], item_ids=ids)


def parquet(folder: Path, **columns: Any) -> Path:
    file = folder / "items.parquet"
    pq.write_table(pa.table(columns), file)
    return file


def test_texts_follow_the_item_numbers_and_join_text_and_lists(tmp_path: Path):
    file = parquet(
        tmp_path,
        item_id=["d", "x", "a", "c", "b"],
        price=[1, 2, 3, 4, 5],
        categories=[["D", " E  F"], [], None, ["C", None], [""]],
        title=["dee", "not in the store", "ay", None, " bee\n"],
    )
    assert read_texts(file, a_store(list("abcd"))) == ["ay", "bee", "C", "dee. D, E F"]
    assert read_texts(file, a_store(list("abcd")), columns=["categories", "title"])[3] == "D, E F. dee"
    titles = read_texts(file, a_store(list("abcd")), first_only=True, allow_missing=True)
    assert titles == ["ay", "bee", "", "dee"]


def test_lists_of_lists_are_flattened(tmp_path: Path):
    file = parquet(tmp_path, item_id=[1, 2, 3, 4], categories=[[["A", "B"], ["C"]]] * 4)
    assert read_texts(file, a_store())[0] == "A, B, C"


def test_quotes_in_tab_separated_texts_are_characters(tmp_path: Path):
    (tmp_path / "items.tsv").write_text('item_id\ttitle\n1\t"Heroes" by B\n2\t"Weird Al\n3\tOther\n4\tZero"\n')
    assert read_texts(tmp_path / "items.tsv", a_store()) == ['"Heroes" by B', '"Weird Al', "Other", 'Zero"']


def test_csv_ids_are_found_among_numbers(tmp_path: Path):
    file = tmp_path / "items.csv"
    file.write_text("movieId,title,genres\n40,Four,Drama\n10,One,\n30,Three,War\nnone,No film,\n20,Two,Comedy\n")
    assert read_texts(file, a_store([10, 20, 30, 40])) == ["One", "Two. Comedy", "Three. War", "Four. Drama"]


@pytest.mark.parametrize(
    ("columns", "options", "told"),
    [
        ({"item_id": [1, 2], "title": ["a", "b"]}, {}, r"2 of the store's 4 items \(3, 4\) have no row"),
        (
            {"item_id": [1, 2, 3, 4], "title": ["a", None, "b", " "]},
            {},
            r"2 of the store's 4 items \(2, 4\) have no text",
        ),
        ({"item_id": [1, 2, 3, 4, 2], "title": list("abcde")}, {}, "1 items have several rows, as 2"),
        ({"item_id": [1, 2, 3, None], "title": list("abcd")}, {}, "1 rows have no item id"),
        (
            {"item_id": [1, 2, 3, 4], "title": list("abcd")},
            {"columns": ["titel"]},
            "no column 'titel'. Did you mean 'title'",
        ),
        ({"item_id": [1, 2, 3, 4], "price": [1, 2, 3, 4]}, {"columns": ["price"]}, "holds int64, not text"),
        ({"item_id": [1, 2, 3, 4], "price": [1, 2, 3, 4]}, {}, "no column of text"),
        ({"number": [1, 2, 3, 4], "title": list("abcd")}, {}, "no column item_id; name the one"),
        (
            {"item_id": [1, 2, 3, 4], "title": list("abcd")},
            {"id_column": "item"},
            "no column 'item'. Did you mean 'item_id'",
        ),
    ],
)
def test_texts_that_cannot_be_used(tmp_path: Path, columns: dict[str, Any], options: dict[str, Any], told: str):
    with pytest.raises(InputError, match=told):
        read_texts(parquet(tmp_path, **columns), a_store(), **options)


def test_missing_texts_may_be_allowed_but_not_repeated_ids(tmp_path: Path):
    file = parquet(tmp_path, item_id=[4, 1], title=["dee", None])
    assert read_texts(file, a_store(), allow_missing=True) == ["", "", "", "dee"]
    with pytest.raises(InputError, match="several rows"):
        read_texts(parquet(tmp_path, item_id=[4, 4], title=["d", "e"]), a_store(), allow_missing=True)


@given(st.permutations(range(12)), st.integers(1, 12), st.booleans(), st.booleans())
def test_rows_are_those_of_a_dictionary(order: list[int], n: int, as_text: bool, text_store: bool):
    ids = [7 * number - 20 for number in range(12)]
    kept = ids[:n]
    store = SequenceStore.from_arrays(
        np.arange(1, n + 1), [0, n], item_ids=list(map(str, kept)) if text_store else kept
    )
    rows = [str(ids[place]) if as_text else ids[place] for place in order]
    found = rows_of(store, rows, "here")
    assert [int(rows[row]) for row in found] == kept


VECTORS = np.arange(12, dtype=np.float64).reshape(4, 3)


def written(folder: Path, kind: str) -> tuple[Path, SequenceStore]:
    store, shuffled = a_store(list("abcd")), [2, 0, 3, 1]
    ids = [list("abcd")[row] for row in shuffled]
    if kind == "npy":
        np.save(folder / "v.npy", VECTORS)
    elif kind == "npz":
        np.savez(folder / "v.npz", anything=VECTORS)
    elif kind == "npz with ids":
        np.savez(folder / "v.npz", embeddings=VECTORS[shuffled], item_ids=np.array(ids))
    else:
        vectors = pa.array(VECTORS[shuffled].tolist())
        if kind == "fixed parquet":
            vectors = vectors.cast(pa.list_(pa.float64(), 3))
        pq.write_table(pa.table({"item_id": ids, "vector": vectors}), folder / "v.parquet")
    return next(folder.glob("v.*")), store


@pytest.mark.parametrize("kind", ["npy", "npz", "npz with ids", "parquet", "fixed parquet"])
def test_embeddings_follow_the_item_numbers(tmp_path: Path, kind: str):
    vectors = read_embeddings(*written(tmp_path, kind))
    assert vectors.dtype == np.float32 and vectors.flags.c_contiguous
    np.testing.assert_array_equal(vectors, VECTORS)


def broken(values: np.ndarray, row: int, value: float) -> np.ndarray:
    values = values.copy()
    values[row, 1] = value
    return values


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (VECTORS[:3], "3 rows for 4 items"),
        (np.vstack([VECTORS[:1], VECTORS]), "5 rows for 4 items.*without a row for padding"),
        (VECTORS[0], r"shape \[3\]"),
        (VECTORS[:, :0], r"shape \[4, 0\]"),
        (VECTORS.astype(str), "embeddings are numbers"),
        (broken(VECTORS, 2, np.nan), r"1 of the store's 4 items \('c'\) have values that are not finite"),
        (broken(VECTORS, 1, 1e300), r"\('b'\) have values that are not finite"),
    ],
)
def test_arrays_that_cannot_be_used(tmp_path: Path, array: np.ndarray, told: str):
    np.save(tmp_path / "v.npy", array)
    with pytest.raises(InputError, match=told):
        read_embeddings(tmp_path / "v.npy", a_store(list("abcd")))


def test_files_that_cannot_be_used(tmp_path: Path):
    store = a_store(list("abcd"))

    def refused(name: str, told: str) -> None:
        with pytest.raises(InputError, match=told):
            read_embeddings(tmp_path / name, store)

    refused("none.npy", "does not exist")
    (tmp_path / "a.pt").write_bytes(b"x")
    refused("a.pt", "read from .npy, .npz and .parquet")
    for name in ("a.npy", "a.npz"):
        (tmp_path / name).write_bytes(b"not an array")
        refused(name, "could not be read")
    np.save(tmp_path / "objects.npy", np.array([[{}]] * 4), allow_pickle=True)
    refused("objects.npy", "could not be read")
    np.savez(tmp_path / "two.npz", a=VECTORS, b=VECTORS)
    refused("two.npz", "holds a, b; call the one")
    np.savez(tmp_path / "ids.npz", embeddings=VECTORS, item_ids=np.array(list("abc")))
    refused("ids.npz", "3 item ids for 4 rows")
    pq.write_table(pa.table({"item_id": list("abcd"), "v": [[1.0, 2], [1], [1, 2], [3, 4]]}), tmp_path / "a.parquet")
    refused("a.parquet", "unequal lengths")
    pq.write_table(pa.table({"item_id": list("abcd"), "v": [[1.0, None]] * 4}), tmp_path / "a.parquet")
    refused("a.parquet", "4 values that are missing")
    pq.write_table(pa.table({"item_id": list("abcx"), "v": [[1.0]] * 4}), tmp_path / "a.parquet")
    refused("a.parquet", r"\('d'\) have no row")
    pq.write_table(pa.table({"item_id": list("abcd"), "v": list("abcd")}), tmp_path / "a.parquet")
    refused("a.parquet", "0 columns of lists of numbers")
