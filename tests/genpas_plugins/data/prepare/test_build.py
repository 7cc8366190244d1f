"""Against group-and-sort and the k-core written out in plain Python, on random interactions."""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genpas_plugins.data.prepare import tally
from genpas_plugins.data.prepare.build import Buckets, build_store
from genpas_plugins.data.prepare.scratch import scratch_folder
from genpas_plugins.data.sequences import SequenceStore
from genpas_plugins.support.errors import InputError

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=3)
ids = st.one_of(
    st.just(st.integers(0, 8)), st.just(st.integers(0, 2**62)), st.just(texts), st.just(st.sampled_from("abcdé"))
)
orders = st.one_of(
    st.just(st.integers(-3, 3)),
    st.just(st.sampled_from([0.0, -0.0, 1.5, -2.25, float("inf")])),
    st.just(st.booleans()),
)


@st.composite
def tables(draw: st.DrawFn) -> pl.DataFrame:
    size = draw(st.integers(1, 40))
    columns = {name: draw(kind) for name, kind in (("user", ids), ("item", ids), ("time", orders))}
    return pl.DataFrame(
        {name: draw(st.lists(values, min_size=size, max_size=size)) for name, values in columns.items()}
    ).with_columns(place=pl.int_range(size, dtype=pl.Int32))


def k_core_by_hand(rows: list[dict], user_core: int, item_core: int) -> list[dict]:
    while True:
        users, items = Counter(row["user"] for row in rows), Counter(row["item"] for row in rows)
        kept = [row for row in rows if users[row["user"]] >= user_core and items[row["item"]] >= item_core]
        if len(kept) == len(rows):
            return rows
        rows = kept


def in_code_point_order(values: set) -> list:
    return sorted(values, key=lambda value: value.encode() if isinstance(value, str) else value)


def check(store: SequenceStore, rows: list[dict], order: str | None) -> None:
    users = in_code_point_order({row["user"] for row in rows})
    items = in_code_point_order({row["item"] for row in rows})
    assert store.user_ids.to_pylist() == users
    assert store.item_ids.to_pylist() == items
    number = {item: index + 1 for index, item in enumerate(items)}
    expected = [[row for row in rows if row["user"] == user] for user in users]
    if order is not None:
        expected = [sorted(sequence, key=lambda row: row[order]) for sequence in expected]
    assert store.offsets.tolist() == np.cumsum([0, *map(len, expected)]).tolist()
    flat = [row for sequence in expected for row in sequence]
    assert store.values.tolist() == [number[row["item"]] for row in flat]
    assert store.columns["place"].tolist() == [row["place"] for row in flat]


@settings(max_examples=80, deadline=None)
@given(
    table=tables(),
    order=st.sampled_from(["time", None]),
    bucket_rows=st.sampled_from([1, 3, 10, 1000]),
    row_group_size=st.sampled_from([1, 7, 100]),
    cores=st.sampled_from([(0, 0), (0, 0), (2, 2), (3, 1), (1, 2)]),
)
def test_equals_group_and_sort_by_hand(table, order, bucket_rows, row_group_size, cores):
    rows = k_core_by_hand(table.to_dicts(), *cores)
    with tempfile.TemporaryDirectory() as directory:
        source, out = Path(directory) / "t.parquet", Path(directory) / "store"
        pq.write_table(table.to_arrow(), source, row_group_size=row_group_size)
        options = {"user": "user", "item": "item", "order": order, "columns": ["place"]}
        options |= {"user_core": cores[0], "item_core": cores[1], "bucket_rows": bucket_rows}
        if rows:
            check(build_store(source, out, **options), rows, order)
        else:
            with pytest.raises(InputError, match="lower the k-core"):
                build_store(source, out, **options)
            assert not out.exists()


def test_k_core_takes_rounds_until_nothing_changes(tmp_path):
    # A chain: without user 4 item 3 is rare, and without item 3 user 3; only users 1, 2 with items 1, 2 stay.
    pairs = [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 3), (4, 3)]
    pl.DataFrame(pairs, schema=["user", "item"], orient="row").write_csv(tmp_path / "t.csv")
    rounds = []
    store = build_store(
        tmp_path / "t.csv",
        tmp_path / "store",
        user="user",
        item="item",
        k_core=2,
        progress=lambda step, done, _: rounds.append((step, done)),
    )
    assert [told for told in rounds if told[0].startswith("k-core")] == [
        ("k-core round 1", 6),
        ("k-core round 2", 5),
        ("k-core round 3", 4),
    ]
    assert store.user_ids.to_pylist() == store.item_ids.to_pylist() == [1, 2]
    assert store.values.tolist() == [1, 2, 1, 2]
    assert store.offsets.tolist() == [0, 2, 4]


def test_k_core_counts_a_repeated_interaction_as_often_as_it_occurs(tmp_path):
    pl.DataFrame({"user": [1, 1, 2], "item": [1, 1, 2]}).write_csv(tmp_path / "t.csv")
    store = build_store(tmp_path / "t.csv", tmp_path / "store", user="user", item="item", k_core=2)
    assert store.values.tolist() == [1, 1]


def test_many_batches_and_buckets(tmp_path, monkeypatch):
    for module in ("build", "survey"):
        monkeypatch.setattr(f"genpas_plugins.data.prepare.{module}.BATCH_ROWS", 1000)
    monkeypatch.setattr("genpas_plugins.data.prepare.tally.FLUSH_ROWS", 3000)
    generator = np.random.default_rng(5)
    table = pl.DataFrame(
        {
            "user": (generator.random(20_000) ** 2 * 500).astype(np.int64),
            "item": generator.integers(0, 300, 20_000),
            "time": generator.integers(0, 50, 20_000),
            "place": np.arange(20_000),
        }
    )
    pq.write_table(table.to_arrow(), tmp_path / "t.parquet", row_group_size=1500)
    options = {"user": "user", "item": "item", "order": "time", "columns": ["place"], "bucket_rows": 600}
    store = build_store(tmp_path / "t.parquet", tmp_path / "store", **options, user_core=20, item_core=40)
    kept = k_core_by_hand(table.to_dicts(), 20, 40)
    assert 0 < len(kept) < 20_000
    check(store, kept, "time")


@pytest.mark.parametrize("kind", [pl.Int64, pl.String])
def test_a_table_sorted_by_ranges_is_the_sorted_table(kind, monkeypatch):
    monkeypatch.setattr(tally, "FLUSH_ROWS", 100)
    values = np.random.default_rng(0).permutation(3000)
    table = pl.DataFrame({"key": pl.Series(values).cast(kind), "count": values})
    assert tally.sort_by(table, "key").equals(table.sort("key"))
    assert tally.sort_by(table[:1], "key").equals(table[:1])


def hold_in_turn(out: Path) -> int:
    """Hold the scratch folder again and again for half a second; return how often another run held it as well."""
    mark, end, n_shared = out.parent / "held", time.monotonic() + 0.5, 0
    while time.monotonic() < end:
        try:
            with scratch_folder(out):
                try:
                    os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    n_shared += 1
                else:
                    mark.unlink()
        except InputError:
            pass
    return n_shared


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_three_runs_never_share_ascratch_folder(tmp_path):
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            os._exit(min(hold_in_turn(tmp_path / "store"), 1))
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    assert list(tmp_path.iterdir()) == []


def test_buckets_hold_whole_users():
    starts = np.array([0, 2, 3, 9, 10, 11])
    assert Buckets.cut(starts, 3).edges.tolist() == [0, 2, 3, 5]
    assert Buckets.cut(starts, 3).starts.tolist() == [0, 3, 9, 11]
    assert Buckets.cut(starts, 100).edges.tolist() == [0, 5]
