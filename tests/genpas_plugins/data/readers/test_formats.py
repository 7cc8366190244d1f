"""The same literal table in every format gives the same store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from genpas_plugins.data.prepare.build import build_store
from genpas_plugins.data.readers import READERS, read, reader_of
from genpas_plugins.data.sequences import SequenceStore
from genpas_plugins.data.source import usual_columns

# user, item, time, rating
TEXT_ROWS = [
    ("u2", "i9", 30, 4.0),
    ("u1", "i3", 20, 5.0),
    ("u2", "i3", 10, 3.5),
    ("u1", "i7", 20, 1.0),
    ("u1", "i9", 10, 2.0),
    ("u3", "i3", 5, 4.5),
]
NUMBER_ROWS = [(int(user[1:]) * 10, int(item[1:]) * 4, time, rating) for user, item, time, rating in TEXT_ROWS]


@pytest.mark.parametrize("name", READERS)
def test_every_reader_is_tested_and_described(name, readers):
    reader = READERS[name]
    assert name in {*readers.values(), "sequences"}, "add a file to FILES in conftest.py"
    assert reader.name == name and reader.what and reader.suffixes


@pytest.mark.parametrize(
    "usual",
    [
        ("user_id", "item_id", "timestamp"),
        ("userId", "movieId", "timestamp"),
        ("reviewerID", "asin", "unixReviewTime"),
        ("user_id", "parent_asin", "timestamp"),
    ],
)
def test_usual_columns_have_one_rule_in_every_format(usual):
    user, item, time = usual
    assert usual_columns([time, item, user, "more"]) == usual
    assert usual_columns([user, item]) == (user, item, None)
    assert usual_columns([time])[2] == time, "a time counts beside ids of any name"


def test_the_content_and_the_name_tell_the_format(write, file_name, readers, tmp_path):
    source, _ = write(file_name, TEXT_ROWS)
    assert reader_of(source).name == readers[file_name]
    assert reader_of(tmp_path).name == readers[file_name], "the same in a directory"


def test_the_usual_columns_are_there(write, file_name):
    source, options = write(file_name, TEXT_ROWS)
    if options["user"] != "user":
        found = usual_columns(read(source).columns)
        assert found == (options["user"], options["item"], options["order"])


def test_rows_have_places(write, file_name):
    source, _ = write(file_name, TEXT_ROWS)
    places = {read(source).place(row) for row in range(len(TEXT_ROWS))}
    assert len(places) == len(TEXT_ROWS)
    assert all(str(source) in place for place in places)


def check_table(store: SequenceStore, time: str, rating: str) -> None:
    # u1: i9 at 10, then i3 and i7, both at 20, as in the file; u2: i3, i9; u3: i3
    assert store.values.tolist() == [3, 1, 2, 1, 3, 1]
    assert store.offsets.tolist() == [0, 3, 5, 6]
    assert store.n_items == 3
    assert store.values.dtype == np.int32
    assert store.columns[time].tolist() == [10, 20, 20, 10, 30, 5]
    assert store.columns[time].dtype == np.int64
    assert store.columns[rating].tolist() == [2.0, 5.0, 1.0, 3.5, 4.0, 4.5]
    assert store.columns[rating].dtype == np.float64


def test_text_ids(write, file_name, tmp_path):
    source, options = write(file_name, TEXT_ROWS)
    store = build_store(source, tmp_path / "store", **options)
    check_table(store, options["order"], options["columns"][0])
    assert store.user_ids.equals(pa.array(["u1", "u2", "u3"]))
    assert store.item_ids.equals(pa.array(["i3", "i7", "i9"]))


def test_integer_ids(write, file_name, tmp_path):
    source, options = write(file_name, NUMBER_ROWS)
    store = build_store(source, tmp_path / "store", **options)
    check_table(store, options["order"], options["columns"][0])
    # Amazon's ids are text, whatever they look like.
    kind = pa.string() if options["order"] == "unixReviewTime" else pa.int64()
    if kind == pa.int64():
        assert store.user_ids.equals(pa.array([10, 20, 30]))
        assert store.item_ids.equals(pa.array([12, 28, 36]))
    else:
        assert store.item_ids.equals(pa.array(["12", "28", "36"]))


def test_without_an_order_the_file_is_in_order(write, file_name, tmp_path):
    source, options = write(file_name, TEXT_ROWS)
    store = build_store(source, tmp_path / "store", user=options["user"], item=options["item"])
    assert store.values.tolist() == [1, 2, 3, 3, 1, 1]
    assert store.offsets.tolist() == [0, 3, 5, 6]
    assert dict(store.columns) == {}


def test_several_buckets_give_the_same_store(write, file_name, tmp_path):
    source, options = write(file_name, TEXT_ROWS)
    store = build_store(source, tmp_path / "store", **options, bucket_rows=1)
    check_table(store, options["order"], options["columns"][0])


def test_nothing_but_the_store_is_left(write, tmp_path):
    source, options = write("t.csv", TEXT_ROWS)
    build_store(source, tmp_path / "store", **options)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["store", "t.csv"]


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_part_files_are_read_by_name(write, tmp_path, ending):
    parts = tmp_path / "parts"
    parts.mkdir()
    for number, rows in enumerate([TEXT_ROWS[:2], TEXT_ROWS[2:3], TEXT_ROWS[3:]]):
        source, options = write(f"t.{ending}", rows)
        source.rename(parts / f"part-{number}.{ending}")
    (parts / "_SUCCESS").touch()
    for number, source in enumerate([parts, parts / f"*.{ending}"]):
        store = build_store(source, tmp_path / f"store{number}", **options)
        check_table(store, options["order"], options["columns"][0])


def test_a_movielens_or_recbole_directory(write, tmp_path):
    for name in ("ratings.dat", "t.inter"):
        source, options = write(name, TEXT_ROWS)
        folder = tmp_path / f"folder of {name}"
        folder.mkdir()
        source.rename(folder / name)
        (folder / "movies.dat").write_text("1::Toy Story::Animation\n")
        if name == "t.inter":
            (folder / "movies.dat").rename(folder / "t.item")
        store = build_store(folder, tmp_path / f"store of {name}", **options)
        check_table(store, options["order"], options["columns"][0])


def test_ids_with_leading_zeros_stay_text(tmp_path):
    (tmp_path / "t.csv").write_text("user,item\n1,07\n1,7\n")
    store = build_store(tmp_path / "t.csv", tmp_path / "store", user="user", item="item")
    assert store.item_ids.to_pylist() == ["07", "7"]
    assert store.user_ids.to_pylist() == [1]


def test_quoted_fields_and_carriage_returns_and_byte_order_mark(tmp_path):
    (tmp_path / "t.csv").write_bytes('\ufeffuser,title,item\r\n1,"a, b\r\nc ""d""",5\r\n1,e,4\r\n'.encode())
    store = build_store(tmp_path / "t.csv", tmp_path / "store", user="user", item="item")
    assert store.values.tolist() == [2, 1]
    assert read(tmp_path / "t.csv").place(1) == f"{tmp_path / 't.csv'}, line 4"


def test_columns_of_every_kind(tmp_path):
    frame = pl.DataFrame(
        {
            "key": ["b", "a", "a"],
            "count": [2, 2, 1],
            "when": ["2014-07-23 15:00:00", "1970-01-01 00:00:01.5", "1970-01-02 00:00:00"],
            "liked": [True, False, True],
            "price": [1.5, None, 2.5],
            "small": [1, 2, 3],
        },
    ).with_columns(pl.col("when").str.to_datetime(time_unit="ms"), pl.col("small").cast(pl.UInt8))
    frame = frame.with_columns(day=pl.col("when").dt.date())
    frame.write_parquet(tmp_path / "t.parquet")
    store = build_store(
        tmp_path / "t.parquet",
        tmp_path / "store",
        user="key",
        item="count",
        order="when",
        columns=["day", "liked", "price", "small", "count"],
    )
    assert store.values.tolist() == [2, 1, 2]
    assert store.columns["when"].tolist() == [1_500_000, 86_400_000_000, 1_406_127_600_000_000]
    assert store.columns["day"].tolist() == [0, 86_400_000_000, 1_406_073_600_000_000]
    assert store.columns["liked"].tolist() == [False, True, True]
    assert store.columns["liked"].dtype == np.bool_
    assert np.isnan(store.columns["price"][0])
    assert store.columns["price"][1:].tolist() == [2.5, 1.5]
    assert store.columns["small"].dtype == np.uint8
    assert store.columns["count"].tolist() == [2, 1, 2]


def test_dates_as_text(tmp_path):
    (tmp_path / "t.csv").write_text("user,item,when\n1,5,2014-07-23 15:00:00\n1,4,2014-07-22 09:30:00\n")
    store = build_store(tmp_path / "t.csv", tmp_path / "store", user="user", item="item", order="when")
    assert store.values.tolist() == [1, 2]
    assert store.columns["when"].tolist() == [1_406_021_400_000_000, 1_406_127_600_000_000]


def test_categories_are_text_ids(tmp_path):
    frame = pl.DataFrame({"user": ["z", "a"], "item": ["y", "x"]}).with_columns(pl.col("user").cast(pl.Categorical))
    frame.write_parquet(tmp_path / "t.parquet")
    store = build_store(tmp_path / "t.parquet", tmp_path / "store", user="user", item="item")
    assert store.user_ids.to_pylist() == ["a", "z"]
    assert store.values.tolist() == [1, 2]


def test_integers_too_large_for_a_float_keep_their_order(tmp_path):
    (tmp_path / "t.csv").write_text(f"user,item,time\n1,5,{2**60 + 1}\n1,4,{2**60}\n")
    store = build_store(tmp_path / "t.csv", tmp_path / "store", user="user", item="item", order="time")
    assert store.values.tolist() == [1, 2]


def test_progress_names_every_step(write, tmp_path):
    source, options = write("t.csv", TEXT_ROWS)
    told: list[tuple[str, int, int | None]] = []
    build_store(source, tmp_path / "store", **options, k_core=2, progress=lambda *told_now: told.append(told_now))
    steps = list(dict.fromkeys(step for step, _, _ in told))
    assert steps == ["counting", "grouping", "k-core round 1", "sorting", "saving"]


def test_replace_a_store(write, tmp_path):
    source, options = write("t.csv", TEXT_ROWS[:2])
    build_store(source, tmp_path / "store", **options)
    source, options = write("t.csv", TEXT_ROWS)
    check_table(build_store(source, tmp_path / "store", **options, overwrite=True), "time", "rating")


@pytest.mark.parametrize(
    ("name", "format"),
    [("a.tsv.gz", "csv"), ("reviews_Beauty_5.json.gz", "json"), ("day=*/part-*.parquet", "parquet")],
)
def test_the_name_tells_the_format_of_what_is_not_there(name, format):
    assert reader_of(Path(name)).name == format
