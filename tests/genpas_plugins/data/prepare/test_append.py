"""Appending in parts makes the sequences that one preparation of all interactions makes."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genpas_plugins.data.prepare.append import append_interactions
from genpas_plugins.data.prepare.build import build_store
from genpas_plugins.data.sequences import SequenceStore
from genpas_plugins.data.storage import HEADER, STORE, read_history
from genpas_plugins.support import atomic
from genpas_plugins.support.errors import InputError

HOW: dict[str, Any] = {"user": "user", "item": "item", "order": "time"}


def by_id(store: SequenceStore) -> dict[Any, list[tuple[Any, ...]]]:
    """Return each user's rows as tuples of item id and columns."""
    items = store.item_ids.take((store.values - 1).astype(np.int64)).to_pylist()
    rows = list(zip(items, *(column.tolist() for column in store.columns.values()), strict=True))
    edges = store.offsets.tolist()
    return {user: rows[edges[u] : edges[u + 1]] for u, user in enumerate(store.user_ids.to_pylist())}


def write(folder: Path, name: str, rows: list[tuple[int, int, int]], place: int = 0) -> Path:
    frame = pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")
    frame.with_columns(place=pl.int_range(pl.len()) + place).write_parquet(folder / name)
    return folder / name


interactions = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9), st.integers(0, 8)), min_size=1, max_size=60)


@settings(max_examples=60)
@given(
    rows=interactions,
    n_parts=st.integers(1, 10),
    in_time_order=st.booleans(),
    drop=st.booleans(),
    bucket_rows=st.sampled_from([1, 7, 1000]),
)
def test_ten_parts_are_one_whole(rows, n_parts, in_time_order, drop, bucket_rows):
    rows = sorted(rows, key=lambda row: row[2]) if in_time_order else rows
    cuts = np.linspace(0, len(rows), n_parts + 1).astype(int)
    how = {**HOW, "drop_duplicates": drop, "note": lambda text: None}
    with tempfile.TemporaryDirectory() as directory:
        folder, path = Path(directory), Path(directory) / "store"
        whole = build_store(write(folder, "all.parquet", rows), folder / "whole", **how, columns=["place"])
        parts = [(a, b) for a, b in itertools.pairwise(cuts.tolist()) if a < b]
        for number, (a, b) in enumerate(parts):
            part = write(folder, f"{number}.parquet", rows[a:b], int(a))
            if number == 0:
                store = build_store(part, path, **how, columns=["place"])
                continue
            before = (store.user_ids.to_pylist(), store.item_ids.to_pylist())
            late = "refuse" if in_time_order else "merge"
            store = append_interactions(path, part, **how, late=late, again=True, bucket_rows=bucket_rows)
            for was, ids in zip(before, (store.user_ids, store.item_ids), strict=True):
                assert ids.to_pylist()[: len(was)] == was
        assert by_id(store) == by_id(whole)
        assert store.n_items == whole.n_items
        assert len(read_history(path)) == (len(parts) if len(parts) > 1 else 0)
        STORE.verify(path)
        store.check_content()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    build_store(write(tmp_path, "a.parquet", [(1, 5, 10), (1, 6, 20), (2, 5, 15)]), tmp_path / "store", **HOW)
    return tmp_path / "store"


def test_numbers_follow_and_the_history_says_so(saved: Path):
    more = write(saved.parent, "b.parquet", [(0, 4, 1), (1, 9, 20)])
    before = STORE.fingerprint(saved)
    store = append_interactions(saved, more, **HOW)
    assert (store.user_ids.to_pylist(), store.item_ids.to_pylist()) == ([1, 2, 0], [5, 6, 4, 9])
    assert (store.values.tolist(), store.offsets.tolist()) == ([1, 2, 4, 1, 3], [0, 3, 4, 5])
    first, second = read_history(saved)
    assert first == {"step": "prepare", "users": 2, "items": 2, "interactions": 3}
    assert second.pop("content")
    assert second == {
        "step": "append", "source": "b.parquet", "users": 3, "items": 4, "interactions": 5, "order": ["time"],
        "late_users": 0, "before": before,
    }  # fmt: skip
    with pytest.raises(InputError, match=r"holds the interactions of .*b\.parquet already\. Use --again"):
        append_interactions(saved, more, **HOW)
    assert append_interactions(saved, more, **HOW, again=True).n_interactions == 7


REFUSED = {
    "late": ([(1, 7, 19)], {}, "new interactions of user 1 come before .*--late merge"),
    "text ids": ([("x", 7, 30)], {}, "user ids are of type .*string.*store's type int64"),
    "another column": ([(1, 7, 30)], {"order": "item"}, "no column 'item' to order by; it has time"),
    "a choice": ([(1, 7, 30)], {"late": "drop"}, "late is 'drop'; choose refuse or merge"),
    "a float": ([(1, 7, 30.5)], {}, "'time' is int64 in the store, and new values of float64"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_and_the_store_stays(saved: Path, name: str):
    rows, how, message = REFUSED[name]
    before = (saved / HEADER).read_bytes()
    with pytest.raises(InputError, match=message):
        append_interactions(saved, write(saved.parent, "b.parquet", rows), **{**HOW, **how})
    assert (saved / HEADER).read_bytes() == before
    assert sorted(file.name for file in saved.parent.iterdir()) == ["a.parquet", "b.parquet", "store"]


def test_a_store_in_another_order_is_not_merged_into(tmp_path: Path):
    rows = write(tmp_path, "a.parquet", [(1, 5, 20), (1, 6, 10)])
    build_store(rows, tmp_path / "store", **{**HOW, "order": None}, columns=["time"])
    with pytest.raises(InputError, match="a sequence is not in order of time"):
        append_interactions(tmp_path / "store", write(tmp_path, "b.parquet", [(1, 5, 30)]), **HOW)


def test_a_text_number_that_changes_is_refused(saved: Path):
    (saved.parent / "b.csv").write_text("user,item,time\n07,5,30\n")
    with pytest.raises(InputError, match="some have no equal of the store's type int64"):
        append_interactions(saved, saved.parent / "b.csv", **HOW)


def test_without_an_exchange_of_the_system_the_directories_are_renamed(saved: Path, monkeypatch):
    monkeypatch.setattr(atomic, "_exchanged", lambda one, other: False)
    store = append_interactions(saved, write(saved.parent, "b.parquet", [(3, 5, 1)]), **HOW)
    assert store.user_ids.to_pylist() == [1, 2, 3]
    assert sorted(file.name for file in saved.parent.iterdir()) == ["a.parquet", "b.parquet", "store"]


KILLED_AT = ("build_store", "write_arrays", "exchange_directory")
CODE = """
import os, signal, sys
from genpas_plugins.data.prepare import append
step, after, path, more = sys.argv[1:]
function = getattr(append, step)
def killing(*args, **kwargs):
    if after == "after":
        function(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(append, step, killing)
append.append_interactions(path, more, user="user", item="item", order="time")
"""


@pytest.mark.parametrize("step", KILLED_AT)
@pytest.mark.parametrize("after", ["before", "after"])
def test_a_killed_append_leaves_the_old_store_or_the_new_one(saved: Path, step: str, after: str):
    more = write(saved.parent, "b.parquet", [(0, 4, 1), (1, 9, 20)])
    done = subprocess.run([sys.executable, "-c", CODE, step, after, saved, more], check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    STORE.verify(saved)
    complete = (step, after) == ("exchange_directory", "after")
    assert SequenceStore.open(saved).n_interactions == (5 if complete else 3)
    if not complete:
        append_interactions(saved, more, **HOW)
        assert SequenceStore.open(saved).n_interactions == 5
        left = {file.name for file in saved.parent.iterdir()}
        assert left == {"a.parquet", "b.parquet", "store"}
