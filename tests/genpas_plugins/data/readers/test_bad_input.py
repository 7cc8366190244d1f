"""Every fault is told by file, place and mend, and leaves nothing behind."""

from __future__ import annotations

import errno
import gzip
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from genpas_plugins.data.prepare.build import build_store
from genpas_plugins.data.readers import READERS
from genpas_plugins.support.errors import InputError

HEADER = "user,item,time\n"
GOOD = "1,1,1\n1,2,2\n"


def check(tmp_path: Path, source: Path, *parts: str, **options: object) -> None:
    """The message names the file and holds the parts in this order, and only what stood there before stands there."""
    before = sorted(tmp_path.rglob("*"))
    given = {"user": "user", "item": "item", "order": "time"} | options
    with pytest.raises(InputError) as caught:
        build_store(source, tmp_path / "store", **given)  # type: ignore[arg-type]
    message = str(caught.value)
    assert re.search(".*".join(re.escape(part) for part in (str(source), *parts)), message, re.DOTALL), message
    assert message.endswith((".", "?")), message
    assert sorted(tmp_path.rglob("*")) == before


CSV_FAULTS = {
    "blank header": ("\n1,1,1\n", ["line 1", "header is blank", "begin the file"]),
    "header only": (HEADER, ["holds no interactions", "name a file with rows"]),
    "duplicate column": ("user,item,item,time\n1,1,1,1\n", ["line 1", "'item'", "rename"]),
    "missing column": ("user,item,Time\n" + GOOD, ["no column 'time'", "Did you mean 'Time'?", "user, item, Time"]),
    "too few fields": (HEADER + GOOD + "1,2\n" + GOOD, ["line 4", "2 fields where 3", "fix the line"]),
    "too many fields": (HEADER + GOOD + "1,2,3,4\n", ["line 4", "4 fields where 3", "quote fields"]),
    "too many fields after a quoted line end": (
        'user,item,time\n1,"a\nb",1\n1,2,3,4\n',
        ["line 4", "4 fields where 3", "fix the line"],
    ),
    "open quote": (
        HEADER + GOOD + '1,2,"3\n' + GOOD,
        ["line 4", "no row can be read from here on", "close its quotes"],
    ),
    "open quote in an early field": (HEADER + GOOD + '1,"2,3\n' + GOOD, ["line 4", "2 fields where 3", "fix"]),
    "fields all empty": (HEADER + GOOD + ",,\n" + GOOD, ["4 rows are read where 5 are counted", "empty rows"]),
    "no user": (HEADER + GOOD + ",2,3\n,2,3\n", ["line 4", "'user' is missing, as in 2 rows", "drop the rows"]),
    "no item": (HEADER + GOOD + "1,,3\n", ["line 4", "'item' is missing, as in 1 row", "fill in the ids"]),
    "negative user": (HEADER + GOOD + "-1,2,3\n", ["line 4", "'user' is negative, as in 1 row", "Renumber"]),
    "negative item": (HEADER + GOOD + "1,-2,3\n", ["line 4", "'item' is negative", "drop the rows"]),
    "no time": (HEADER + GOOD + "1,2,\n1,2, \n", ["line 4", "'time' is missing, as in 2 rows", "order by another"]),
    "time is no number": (HEADER + GOOD + "1,2,soon\n", ["line 4", "'time' is 'soon'", "name another column"]),
    "time is not a number": (HEADER + GOOD + "1,2,nan\n", ["line 4", "'time' is missing", "order by another"]),
    "some times are dates": (HEADER + "1,2,2014-07-23\n1,2,5\n", ["line 2", "'2014-07-23'", "in every row a date"]),
}


@pytest.mark.parametrize("fault", CSV_FAULTS)
@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_csv(tmp_path, fault, name):
    content, parts = CSV_FAULTS[fault]
    data = content.encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    check(tmp_path, tmp_path / name, *parts)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.inter", "t.json", "t.json.gz", "ratings.dat"])
def test_empty_file(tmp_path, name):
    (tmp_path / name).touch()
    check(tmp_path, tmp_path / name, "is empty; name a file")


def test_csv_that_is_not_utf8(tmp_path):
    (tmp_path / "t.csv").write_bytes(HEADER.encode() + GOOD.encode() + "1,é,3\n".encode("latin-1"))
    check(tmp_path, tmp_path / "t.csv", "line 4", "not UTF-8", "convert")


def test_gzip_that_breaks_off(tmp_path):
    whole = gzip.compress((HEADER + "".join(f"{n},{n * 7919},{n}\n" for n in range(5000))).encode())
    (tmp_path / "t.csv.gz").write_bytes(whole[: len(whole) // 2])
    check(tmp_path, tmp_path / "t.csv.gz", "breaks off after line", "copy it again")


def test_part_files_with_other_columns(tmp_path):
    (tmp_path / "a.csv").write_text(HEADER + GOOD)
    (tmp_path / "b.csv").write_text("item,user,time\n" + GOOD)
    with pytest.raises(InputError, match=r"b\.csv, line 1: the columns are item, user, time where .*a\.csv has user"):
        build_store(tmp_path / "*.csv", tmp_path / "store", user="user", item="item")


def test_the_second_part_file_is_named(tmp_path):
    (tmp_path / "a.csv").write_text(HEADER + GOOD)
    (tmp_path / "b.csv").write_text(HEADER + GOOD + "1,,3\n")
    with pytest.raises(InputError, match=r"b\.csv, line 4: 'item' is missing"):
        build_store(tmp_path / "*.csv", tmp_path / "store", user="user", item="item")


PARQUET_FAULTS = {
    "no user": ({"user": [1, None], "item": [1, 2], "time": [1, 2]}, ["row 2", "'user' is missing, as in 1 row"]),
    "empty user": ({"user": ["a", ""], "item": [1, 2], "time": [1, 2]}, ["row 2", "'user' is missing"]),
    "no item": ({"user": [1, 1], "item": [None, "b"], "time": [1, 2]}, ["row 1", "'item' is missing"]),
    "negative": ({"user": [1, 1, 1], "item": [1, -5, -6], "time": [1, 2, 3]}, ["row 2", "'item' is negative, as in 2"]),
    "no time": (
        {"user": [1, 1, 1], "item": [1, 2, 3], "time": [1, None, None]},
        ["row 2", "'time'", "2 rows", "order by"],
    ),
    "time nan": ({"user": [1, 1], "item": [1, 2], "time": [1.0, float("nan")]}, ["row 2", "'time' is missing"]),
    "time is text": ({"user": [1], "item": [1], "time": ["x"]}, ["row 1", "'time' is 'x'", "name another column"]),
    "ids are floats": ({"user": [1.0], "item": [1], "time": [1]}, ["'user' is of type Float64", "convert"]),
    "ids are lists": ({"user": [1], "item": [[[1]]], "time": [1]}, ["'item' is of type List", "name another"]),
    "no rows": ({"user": [], "item": [], "time": []}, ["holds no interactions"]),
    "missing column": ({"user_id": [1], "item": [1], "time": [1]}, ["no column 'user'", "Did you mean 'user_id'?"]),
}


@pytest.mark.parametrize("fault", PARQUET_FAULTS)
def test_parquet(tmp_path, fault):
    columns, parts = PARQUET_FAULTS[fault]
    frame = pl.DataFrame(columns)
    if fault == "no rows":
        frame = frame.cast(pl.Int64)
    frame.write_parquet(tmp_path / "t.parquet")
    check(tmp_path, tmp_path / "t.parquet", *parts)


def test_parquet_cut_short(tmp_path):
    pl.DataFrame({"user": [1], "item": [1]}).write_parquet(tmp_path / "t.parquet")
    (tmp_path / "t.parquet").write_bytes((tmp_path / "t.parquet").read_bytes()[:-9])
    check(tmp_path, tmp_path / "t.parquet", "not a whole parquet file", "copy it again")


def test_parquet_with_damaged_pages(tmp_path):
    pl.DataFrame({"user": range(5000), "item": range(5000), "time": range(5000)}).write_parquet(tmp_path / "t.parquet")
    data = bytearray((tmp_path / "t.parquet").read_bytes())
    data[100:5000] = b"\xff" * 4900
    (tmp_path / "t.parquet").write_bytes(data)
    check(tmp_path, tmp_path / "t.parquet", "damaged after row", "copy it again")


REVIEW = '{"reviewerID": "A", "asin": "B", "unixReviewTime": 1, "overall": 5.0}\n'
REVIEW_FAULTS = {
    "blank": ("\n \n", ["holds no objects"]),
    "not JSON": (REVIEW * 3 + "{'reviewerID': 'A'}\n", ["line 4 is not JSON", "fix or delete the line"]),
    "not JSON, far down": (REVIEW * 300 + '{"reviewerID": "A", "asi\n' + REVIEW, ["line 301 is not JSON"]),
    "no object": (REVIEW + "[1]\n", ["line 2 is not a JSON object"]),
    "other fields": ('{"who": "A", "what": "B"}\n', ["no column 'reviewerID'", "who, what"]),
    "no user": (REVIEW * 150 + "\n" + '{"asin": "B", "unixReviewTime": 1}\n', ["line 152: 'reviewerID' is missing"]),
    "time is text": (REVIEW * 150 + REVIEW.replace(": 1,", ': "soon",'), ["line 151: 'unixReviewTime' is 'soon'"]),
    "no time": (REVIEW + REVIEW.replace(": 1,", ": null,"), ["line 2: 'unixReviewTime' is missing", "order by"]),
}


@pytest.mark.parametrize("fault", REVIEW_FAULTS)
def test_reviews(tmp_path, fault):
    content, parts = REVIEW_FAULTS[fault]
    (tmp_path / "t.jsonl").write_text(content)
    check(
        tmp_path,
        tmp_path / "t.jsonl",
        *(part for part in parts if "|" not in part),
        user="reviewerID",
        item="asin",
        order="unixReviewTime",
    )


def test_movielens(tmp_path):
    options = {"user": "userId", "item": "movieId", "order": "timestamp"}
    (tmp_path / "ratings.dat").write_text("1::1::5::1\n1::2::5\n")
    check(tmp_path, tmp_path / "ratings.dat", "line 2", "3 fields where 4", "fix the line", **options)
    (tmp_path / "ratings.dat").write_text("1::1::5::1\n1::2::5::x\n")
    check(tmp_path, tmp_path / "ratings.dat", "line 2", "'timestamp' is 'x'", **options)
    (tmp_path / "ratings.dat").write_bytes("1::1::5::1\n1::é::5::1\n".encode("latin-1"))
    check(tmp_path, tmp_path / "ratings.dat", "not UTF-8", "convert", **options)


def test_recbole_header(tmp_path):
    (tmp_path / "t.inter").write_text("user:token\titem:tokens\n1\t1\n")
    check(tmp_path, tmp_path / "t.inter", "line 1", "'item:tokens'", "token, token_seq, float, float_seq")
    (tmp_path / "t.inter").write_text("user,item\n1,1\n")
    check(tmp_path, tmp_path / "t.inter", "line 1", "separated by tabs")


def test_paths(tmp_path):
    check(tmp_path, tmp_path / "nowhere.csv", "does not exist", "check the path")
    check(tmp_path, tmp_path / "*.csv", "check the pattern")
    (tmp_path / "folder").mkdir()
    check(tmp_path, tmp_path / "folder", "no file of a known format", ", ".join(READERS))
    (tmp_path / "folder" / "t.csv").write_text(HEADER + GOOD)
    (tmp_path / "folder" / "t.inter").write_text("user:token\n1\n")
    check(tmp_path, tmp_path / "folder", "several formats (csv, recbole)", "name the file")
    (tmp_path / "t.xlsx").write_text("?")
    check(tmp_path, tmp_path / "t.xlsx", "does not tell its format", "name one")
    with pytest.raises(InputError, match=r"Unknown format 'parket'.* Did you mean 'parquet'"):
        build_store(tmp_path / "t.xlsx", tmp_path / "store", user="user", item="item", format="parket")


def test_output_that_exists_stays(tmp_path):
    (tmp_path / "t.csv").write_text(HEADER + GOOD)
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "precious").write_text("kept")
    for overwrite in (False, True):
        with pytest.raises(
            InputError, match="store exists already and holds no sequence store; choose another output directory"
        ):
            build_store(tmp_path / "t.csv", tmp_path / "store", user="user", item="item", overwrite=overwrite)
    assert (tmp_path / "store" / "precious").read_text() == "kept"


def test_kept_column_with_gaps(tmp_path):
    (tmp_path / "t.csv").write_text("user,item,stars,price\n1,1,4,1.5\n1,2,,\n")
    check(
        tmp_path,
        tmp_path / "t.csv",
        "line 3",
        "'stars' is missing",
        "leave the column out",
        order=None,
        columns=["stars"],
    )
    store = build_store(tmp_path / "t.csv", tmp_path / "store", user="user", item="item", columns=["price"])
    assert str(store.columns["price"].tolist()) == "[1.5, nan]"


@pytest.mark.skipif(os.name != "posix", reason="kills a process by signal")
def test_a_killed_run_leaves_no_store(tmp_path):
    pl.DataFrame({"user": [1, 1], "item": [1, 2]}).write_csv(tmp_path / "t.csv")
    program = f"""
import time
from genpas_plugins.data.prepare.build import build_store
def progress(step, done, total):
    if step == "saving":
        print("saving", flush=True)
        time.sleep(60)
build_store({str(tmp_path / "t.csv")!r}, {str(tmp_path / "store")!r}, user="user", item="item", progress=progress)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=Path(__file__).parents[4])
    assert process.stdout is not None
    assert process.stdout.readline() == b"saving\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not (tmp_path / "store").exists()
    assert len(list(tmp_path.glob(".store.build.*/*"))) > 0
    build_store(tmp_path / "t.csv", tmp_path / "store", user="user", item="item")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["store", "t.csv"]  # the next run clears the scratch


def test_two_runs_do_not_write_one_store(tmp_path):
    (tmp_path / "t.csv").write_text(HEADER + GOOD)

    def second(step: str, done: int, total: int | None) -> None:
        if step == "grouping":
            with pytest.raises(InputError, match=r"Another run prepares .*store\. Wait until it has ended"):
                build_store(tmp_path / "t.csv", tmp_path / "store", user="user", item="item")

    build_store(tmp_path / "t.csv", tmp_path / "store", user="user", item="item", progress=second)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["store", "t.csv"]


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "t.csv").write_text(HEADER + GOOD)
    monkeypatch.setattr("genpas_plugins.data.prepare.scratch.ScratchColumn.write", full)
    with pytest.raises(InputError, match=f"{tmp_path} has no space left for store; free some or choose another --out"):
        build_store(tmp_path / "t.csv", tmp_path / "store", user="user", item="item")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["t.csv"]


@pytest.mark.slow
def test_no_random_change_of_a_file_ends_in_a_traceback(tmp_path):
    from benchmarks.faults.fuzzed_readers import campaign

    counts, failures = campaign(40, 3, tmp_path)
    assert failures == []
    assert min(counts["read"], counts["refused"]) > 30
