"""Files as people publish them give the right sequences, worked out by hand."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from genpas_plugins.data.prepare.build import build_store
from genpas_plugins.data.readers import reader_of
from genpas_plugins.data.sequences import SequenceStore
from genpas_plugins.data.source import ReadOptions, usual_columns
from genpas_plugins.support.errors import InputError


def sequences(store: SequenceStore) -> dict[Any, list[Any]]:
    users, items = store.user_ids.to_pylist(), store.item_ids.to_pylist()
    return {
        user: [items[value - 1] for value in store.values[store.offsets[row] : store.offsets[row + 1]]]
        for row, user in enumerate(users)
    }


@pytest.fixture
def prepared(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Callable[..., dict[Any, list[Any]]]:
    """Write a file and return the sequences of its store; the columns are user, item and t."""
    caplog.set_level("WARNING", "genpas_plugins")  # RecBole, in an earlier test, may have raised the root's level

    def prepare(name: str, content: str | bytes, **options: Any) -> dict[Any, list[Any]]:
        data = content.encode() if isinstance(content, str) else content
        (tmp_path / name).write_bytes(data)
        given = {"user": "user", "item": "item", "order": "t"} | options
        return sequences(build_store(tmp_path / name, tmp_path / "store", overwrite=True, **given))

    return prepare


NANO = "2014-07-23 15:00:00.000000"
# The item that each value of `t` belongs to comes second, in the right order third.
ORDERS = {
    "nanoseconds": ([NANO + "900", NANO + "100", NANO + "5"], [1, 2, 0]),
    "one to nine digits": ([f"2014-07-23 15:00:00.{d}" for d in ("9", "89", "123456789", "1234567")], [3, 2, 1, 0]),
    "a fraction beside large integers": (
        ["1694183400000000003", "1694183400000000002", "1694183400000000001", "1694183400000000000.5"],
        [3, 2, 1, 0],
    ),
    "negative fractions": (["-0.25", "-0.5", "0", "-1.5", "-10"], [4, 3, 1, 0, 2]),
    "unsigned 64 bits": (["18446744073709551615", "18446744073709551614", "4"], [2, 1, 0]),
    "exponents": (["1e3", "2.5", "1e-2"], [2, 1, 0]),
    "zones": (["2014-07-23T15:00:00+02:00", "2014-07-23T14:00:00Z", "2014-07-23 12:30:00+0000"], [2, 0, 1]),
    "hours of a zone": (["2014-07-23T15:00:00+02", "2014-07-23T14:00:00-01"], [0, 1]),
    "UTC": (["2014-07-23 15:00:01 UTC", "2014-07-23 15:00:00.5 UTC"], [1, 0]),
    "no seconds": (["2014-07-23 15:00", "2014-07-23 14:00"], [1, 0]),
    "no seconds with a zone": (["2014-07-23T15:00+02:00", "2014-07-23T14:00Z"], [0, 1]),
    "dates of any year": (["9999-12-31", "0001-01-01", "2014-07-23"], [1, 2, 0]),
    "forms in one column": (["2014-07-24", "2014-07-23 15:00", "2014-07-23T15:00:00.000000001"], [1, 2, 0]),
}


@pytest.mark.parametrize("quoted", [True, False], ids=["csv", "tsv"])
@pytest.mark.parametrize("kind", ORDERS)
def test_texts_sort_exactly(prepared, kind: str, quoted: bool):
    times, order = ORDERS[kind]
    name, mark = ("t.csv", ",") if quoted else ("t.tsv", "\t")
    lines = [mark.join(("user", "item", "t")), *(mark.join(("1", str(n), t)) for n, t in enumerate(times))]
    assert prepared(name, "\n".join(lines)) == {1: order}


@pytest.mark.parametrize(
    ("values", "order"),
    [
        (pl.Series([900, 100, 500]).cast(pl.Datetime("ns")), [1, 2, 0]),
        (pl.Series([900, 100, 500]).cast(pl.Datetime("ms", "Europe/Berlin")), [1, 2, 0]),
        (pl.Series([2**64 - 1, 2**64 - 2, 0], dtype=pl.UInt64), [2, 1, 0]),
        (pl.Series([127, -128, 0], dtype=pl.Int8), [1, 2, 0]),
        (pl.Series(["1000000000000000000.50", "1000000000000000000.25"]).str.to_decimal(scale=2), [1, 0]),
        (pl.Series([3, 1, 2]).cast(pl.Time), [1, 2, 0]),
        (pl.Series([0.5, float("-inf"), -0.25]), [1, 2, 0]),
        (pl.Series(["2014-07-24", "2014-07-23"]), [1, 0]),
    ],
    ids=lambda value: str(getattr(value, "dtype", "")),
)
def test_typed_columns_sort_exactly(tmp_path: Path, values: pl.Series, order: list[int]):
    frame = pl.DataFrame({"user": [1] * len(values), "item": range(len(values)), "t": values})
    frame.write_parquet(tmp_path / "t.parquet")
    store = build_store(tmp_path / "t.parquet", tmp_path / "store", user="user", item="item", order="t")
    assert sequences(store) == {1: order}


def test_two_orders(prepared):
    text = "user;item;day;clock\n1;81766;2016-05-09;526309\n1;31331;2016-05-09;1031018\n1;32118;2016-05-10;243569\n"
    assert prepared("t.csv", text, order=["day", "clock"]) == {1: [81766, 31331, 32118]}
    assert prepared("t.csv", text, order=["clock", "day"]) == {1: [32118, 81766, 31331]}


def test_a_form_of_times(prepared):
    text = "user,item,t\n1,1,01/12/2014\n1,2,02/11/2014\n"
    assert prepared("t.csv", text, time_format="%d/%m/%Y") == {1: [2, 1]}
    form = "%a %b %d %H:%M:%S %z %Y"
    text = "user,item,t\n1,1,Fri Oct 13 10:00:01 -0700 2017\n1,2,Fri Oct 13 18:00:00 +0100 2017\n"
    assert prepared("goodreads.csv", text, time_format=form) == {1: [2, 1]}
    text = "user,item,t\n1,1,01/12/2014\n1,2,02/11/2014\n"
    with pytest.raises(InputError, match=r"line 2: 't' is '01/12/2014'.*--time-format"):
        prepared("t.csv", text)
    with pytest.raises(InputError, match=r"line 2: 't' is '01/12/2014'.*a time of the form '%Y'"):
        prepared("t.csv", text, time_format="%Y")


def test_times_with_and_without_a_zone_are_refused(prepared):
    with pytest.raises(InputError, match=r"line [23]: 't' is '2014.*a zone in every row or in none"):
        prepared("t.csv", "user,item,t\n1,1,2014-07-23 15:00:00\n1,2,2014-07-23 15:00:00Z\n")


@pytest.mark.parametrize("name", ["t.tsv", "u.txt", "t.inter"])
def test_a_quote_in_a_format_without_quotes_is_a_character(prepared, name: str):
    types = (":token", ":token", ":float") if name == "t.inter" else ("", "", "")
    header = "\t".join(map(str.__add__, ("user", "item", "t"), types))
    text = f'{header}\n1\t"a\t2\n1\tb"\t1\n2\t"c"\t1\n'
    assert prepared(name, text) == {1: ['b"', '"a'], 2: ['"c"']}


@pytest.mark.parametrize("row", ['1,"2,3\n', '1,2,"3\n'])
def test_an_open_quote_names_its_line(prepared, row: str):
    with pytest.raises(InputError, match=r"t\.csv, line 3"):
        prepared("t.csv", "user,item,t\n1,1,1\n" + row + "1,5,9\n" * 20)


def test_blank_lines_are_no_rows(prepared):
    assert prepared("t.csv", "user,item,t\n1,1,3\n\n1,2,1\n\n") == {1: [2, 1]}


TABLE = "user,item,t\n1,1,3\n1,2,1\n"


@pytest.mark.parametrize("name", ["t.csv", "t.CSV.GZ", "named.csv"])
@pytest.mark.parametrize(
    "compress", [gzip.compress, bz2.compress, lzma.compress, lambda data: pa.compress(data, "zstd", asbytes=True)]
)
def test_compression_goes_by_content(prepared, compress, name: str):
    assert prepared(name, compress(TABLE.encode())) == {1: [2, 1]}


def zipped(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, TABLE.replace(",", "\t") if name.endswith(".tsv") else TABLE)
    return stream.getvalue()


@pytest.mark.parametrize("inside", ["t.csv", "folder/t.tsv"])
def test_one_file_in_a_zip_archive_is_read(prepared, inside: str):
    assert prepared("archive.zip", zipped(inside)) == {1: [2, 1]}


def test_a_zip_archive_of_several_files_is_named(prepared):
    with pytest.raises(InputError, match="is a zip archive of 2 files; unpack it"):
        prepared("t.csv", zipped("a.csv", "b.csv"))
    with pytest.raises(InputError, match="cannot be unpacked"):
        prepared("t.csv", zipped("a.csv")[:-30])


FOREIGN = {
    "a pickle, which can run code": b"\x80\x04\x95",
    "an SQLite database": b"SQLite format 3\0",
    "an Arrow or Feather file": b"ARROW1\0\0",
    "a tar archive": bytes(257) + b"ustar",
}


@pytest.mark.parametrize("what", FOREIGN)
@pytest.mark.parametrize("name", ["t.csv", "t.bin"])
def test_other_files_are_named_for_what_they_are(prepared, what: str, name: str):
    with pytest.raises(InputError, match=f"{name} is {what}.*;"):
        prepared(name, FOREIGN[what] + bytes(99))


@pytest.mark.parametrize("damage", [lambda data: data[:-20], lambda data: data[:40] + b"\xff" * 9 + data[49:]])
@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_damaged_compression_is_one_sentence(prepared, compress, damage):
    rows = "".join(f"1,{number * 7919},{number}\n" for number in range(3000))
    with pytest.raises(InputError, match=r"breaks off after line \d+ .*; copy it again"):
        prepared("t.csv.gz", damage(compress(f"user,item,t\n{rows}".encode())))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_a_byte_order_mark_names_the_encoding(prepared, encoding: str):
    assert prepared("t.csv", "user,item,t\n1,é,3\n1,b,1\n".encode(encoding)) == {1: ["b", "é"]}


def test_bytes_of_letters_are_no_separators(prepared):
    header = "user;item;t\n"
    assert prepared("t.csv", f"{header}听;a,听;3\n听;b;1\n".encode("utf-16")) == {"听": ["b", "a,听"]}
    options = ReadOptions(encoding="shift-jis", columns=("user", "item", "t"))  # the second byte of ポ is |
    assert prepared("t.csv", "1 ポ 3\n1 b 1\n".encode("shift-jis"), options=options) == {1: ["b", "ポ"]}


def test_other_encodings_are_named(prepared):
    data = "user,item,t\n1,é,3\n1,b,1\n".encode("latin-1")
    assert prepared("t.csv", data, options=ReadOptions(encoding="latin-1")) == {1: ["b", "é"]}
    with pytest.raises(InputError, match=r"line 2 is not UTF-8 text; .*--encoding"):
        prepared("t.csv", data)


@pytest.mark.parametrize("encoding", ["utf-99", "rot13", "base64"])
def test_an_encoding_that_is_none_is_refused(encoding: str):
    with pytest.raises(InputError, match=f"encoding '{encoding}'.*use a name such as utf-8"):
        ReadOptions(encoding=encoding)


def test_one_column_for_user_and_item_is_refused(prepared):
    with pytest.raises(InputError, match="User and item are both the column 'user'"):
        prepared("t.csv", TABLE, item="user")


def test_a_folder_may_hold_other_files_and_no_store(prepared, tmp_path: Path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "notes.db").write_bytes(b"SQLite format 3\0")
    (folder / "model.pkl").write_bytes(b"\x80\x04\x95")
    (folder / "t.csv").write_text(TABLE)
    assert reader_of(folder).name == "csv"
    prepared("t.csv", TABLE)
    with pytest.raises(InputError, match="is a sequence store, not a source"):
        reader_of(tmp_path / "store")


def test_line_ends_of_old_macs(prepared):
    assert prepared("t.csv", TABLE.replace("\n", "\r")) == {1: [2, 1]}


def test_the_index_column_of_pandas_is_ignored(prepared, caplog):
    assert prepared("t.csv", ",user,item,t\n0,1,1,3\n1,1,2,1\n") == {1: [2, 1]}
    assert "the first column has no name, as pandas writes its index; it is ignored" in caplog.text


@pytest.mark.parametrize("mark", [",", "\t", "::", ";", "|", " "])
def test_columns_of_a_file_without_a_header(prepared, mark: str):
    text = "\n".join(mark.join(row) for row in (("1", "1", "5", "3"), ("1", "2", "4", "1")))
    options = ReadOptions(columns=("user", "item", "rating", "t"))
    assert prepared("ratings_Beauty.dat", text + "\n", options=options) == {1: [2, 1]}


def test_a_first_row_of_numbers_is_no_header(prepared):
    with pytest.raises(InputError, match=r"has no column 'user'.*no header line, name its columns with --columns"):
        prepared("ratings_Beauty.csv", "A39,0205616461,5.0,1369699200\nA3J,0558925278,3.0,1355443200\n")


def test_json_lines_with_any_fields(prepared):
    rows = [{"user": "u", "item": "1", "t": 2**63, "more": {"a": [1]}}, {"user": "u", "item": "01", "t": 4}]
    assert prepared("t.json", "\n".join(map(json.dumps, rows))) == {"u": ["01", "1"]}


def test_lists_in_json_lines(prepared):
    rows = [
        {"user": "a", "item": ["x", 1, "[y]"], "t": [3, 1, 2]},
        {"user": "b", "item": "z", "t": 4},
        {"user": "c", "item": [], "t": []},
    ]
    assert prepared("t.jsonl", "\n".join(map(json.dumps, rows))) == {"a": ["1", "[y]", "x"], "b": ["z"]}
    rows[0]["t"] = [1, 2]
    with pytest.raises(InputError, match=r"line 1: the list 't' is of another length than 'item', as in 1 row"):
        prepared("t.jsonl", "\n".join(map(json.dumps, rows)))


@pytest.mark.parametrize(("value", "what"), [({"id": 1}, "an object"), (["a"], "a list")])
def test_an_id_that_is_no_plain_value_names_its_line(prepared, value, what: str):
    rows = [{"user": "[u]", "item": "1", "t": 1}] * 1500 + [{"user": value, "item": "1", "t": 1}]
    with pytest.raises(InputError, match=rf"line 1501: 'user' holds {what}, but ids are numbers or text"):
        prepared("t.jsonl", "\n".join(map(json.dumps, rows)))
    assert prepared("t.jsonl", json.dumps(rows[0])) == {"[u]": ["1"]}


@pytest.mark.parametrize("indent", [None, 1])
def test_one_json_array_is_named(prepared, indent: int | None):
    with pytest.raises(InputError, match=r"line 1 .*write one object a line, for example with jq -c '\.\[\]'"):
        prepared("t.json", json.dumps([{"user": "u", "item": "1", "t": 1}], indent=indent))


def test_a_late_change_of_type_names_its_line(prepared):
    rows = [{"user": "u", "item": "1", "t": number} for number in range(1500)] + [{"user": "u", "item": 1, "t": "x"}]
    with pytest.raises(InputError, match=r"line 1501: 't' is 'x'"):
        prepared("t.jsonl", "\n".join(map(json.dumps, rows)))


def test_python_literals_are_read_and_never_run(prepared, tmp_path: Path):
    text = """{'user': 'u1', 'item': '35140', 't': '2014-11-26', 'text': u"it's ok"}\n"""
    assert prepared("t.json", text + text.replace("35140", "7").replace("26", "25")) == {"u1": ["7", "35140"]}
    attack = f"{{'user': __import__('os').mkdir('{tmp_path / 'ran'}')}}\n"
    with pytest.raises(InputError, match="line 2 is not a Python literal"):
        prepared("t.json", text + attack)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("row", ['{"user":' * 100_000, "[" * 100_000])
@pytest.mark.parametrize("before", [0, 2000])
def test_deep_json_is_one_sentence(prepared, row: str, before: int):
    with pytest.raises(InputError, match=r"t\.json, line \d+ is nested too deep; write the line without the fields"):
        prepared("t.json", '{"user": 1, "item": 2, "t": 3}\n' * before + row + "\n")


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress])
@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.json"])
def test_a_line_without_end_is_refused(prepared, compress, name: str):
    data = compress(b"user,item,t\n" * (name != "t.json") + b'{"user": ' * (name == "t.json") + b"0" * (1 << 24))
    with pytest.raises(InputError, match=r"longer than 16,777,216 bytes.*--max-line"):
        prepared(name, data)


def test_sequences_as_lines_as_an_object_and_as_lists(prepared, tmp_path: Path):
    options = {"user": "user_id", "item": "item_id", "order": None}
    right = {1: [5, 3, 2], 2: [4]}
    assert prepared("sequential_data.txt", "1 5 3 2\n2 4\n", **options) == right
    assert prepared("Beauty.inter.json", '{"1": [5, 3, 2], "2": [4], "3": []}', **options) == right
    pl.DataFrame({"user_id": [2, 1, 3], "item_id": [[4], [5, 3, 2], []]}).write_parquet(tmp_path / "t.parquet")
    assert sequences(build_store(tmp_path / "t.parquet", tmp_path / "lists", **options)) == right


def test_parts_of_two_types(tmp_path: Path):
    folder = tmp_path / "parts"
    folder.mkdir()
    for number, kind in enumerate((pl.Int32, pl.Int64)):
        rows = pl.DataFrame({"user": [1], "item": [number], "t": [1 - number]})
        rows.cast({"t": kind, "item": kind}).write_parquet(folder / f"{number}.parquet")
    assert sequences(build_store(folder, tmp_path / "s", user="user", item="item", order="t")) == {1: [1, 0]}
    pl.DataFrame({"user": [1], "item": ["x"], "t": [1]}).write_parquet(folder / "2.parquet")
    with pytest.raises(InputError, match=r"2\.parquet: column 'item' is of type .*string.* but of type int32"):
        build_store(folder, tmp_path / "s", user="user", item="item", order="t", overwrite=True)


WRITERS = {
    "0.parquet": lambda item, file: pl.DataFrame({"user": ["u"], "item": [item]}).write_parquet(file),
    "0.csv": lambda item, file: file.write_text(f"user,item\nu,{item}\n"),
    "0.csv.gz": lambda item, file: file.write_bytes(gzip.compress(f"user,item\nu,{item}\n".encode())),
    "utf16.csv": lambda item, file: file.write_bytes(f"user,item\nu,{item}\n".encode("utf-16")),
    "0.dat": lambda item, file: file.write_text(f"user::item\nu::{item}\n"),
    "0.jsonl": lambda item, file: file.write_text(json.dumps({"user": "u", "item": item})),
}


@pytest.mark.parametrize("name", WRITERS)
def test_folders_can_be_columns(tmp_path: Path, name: str):
    for day in ("2014-07-24", "2014-07-23 15%3A00"):
        folder = tmp_path / "parts" / f"day={day}"
        folder.mkdir(parents=True)
        WRITERS[name](f"i{day[8:10]}", folder / name)
    store = build_store(tmp_path / "parts", tmp_path / "s", user="user", item="item", order="day")
    assert sequences(store) == {"u": ["i23", "i24"]}


def test_folders_of_other_names_and_without_a_value(tmp_path: Path):
    for folder in ("day=__HIVE_DEFAULT_PARTITION__", "week=3"):
        (tmp_path / "parts" / folder).mkdir(parents=True)
        (tmp_path / "parts" / folder / "t.csv").write_text("user,item\n1,1\n")
    with pytest.raises(InputError, match=r"week=3.t\.csv is in folders of the columns week, .* of day"):
        build_store(tmp_path / "parts", tmp_path / "s", user="user", item="item")
    with pytest.raises(InputError, match=r"line 2: 'day' is missing"):
        build_store(tmp_path / "parts" / "day*" / "t.csv", tmp_path / "s", user="user", item="item", order="day")


def test_movielens_by_content_in_a_file_and_a_folder(tmp_path: Path):
    (tmp_path / "ml").mkdir()
    (tmp_path / "ml" / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,10,4,300\n1,20,4,100\n")
    (tmp_path / "ml" / "movies.csv").write_text('movieId,title,genres\n1,"Toy, Story",A\n')
    for source in (tmp_path / "ml", tmp_path / "ml" / "ratings.csv"):
        reader = reader_of(source)
        found = usual_columns(reader.scan(source, ReadOptions()).columns)
        assert (reader.name, found) == ("movielens", ("userId", "movieId", "timestamp"))


NULLS = "user,item,t\n1,NA,3\n1,null,1\n1,x,6\nNULL,x,7\nNULL,NA,8\n1, x,2\n"


def test_null_words_and_blanks_are_counted_and_an_option_decides(prepared, caplog):
    assert prepared("t.csv", NULLS) == {"1": ["null", " x", "NA", "x"], "NULL": ["x", "NA"]}
    assert "'user' is a word for a missing value (NULL) in 2 rows; --null-values NULL" in caplog.text
    assert "'item' is a word for a missing value (NA, null) in 3 rows" in caplog.text
    assert "'item' begins or ends with a blank in 1 row; 1 of these 1 ids" in caplog.text
    caplog.clear()
    assert prepared("t.csv", NULLS, null_values=["NA", "null", "NULL"], strip=True) == {1: ["x", "x"]}
    assert "4 rows with an id out of NA, null, NULL are dropped" in caplog.text


def test_duplicates_are_counted_and_dropped_when_asked(prepared, caplog):
    text = "user,item,t\n1,1,3\n1,2,3\n1,1,3\n1,1,4\n2,1,3\n"
    assert prepared("t.csv", text, bucket_rows=1) == {1: [1, 2, 1, 1], 2: [1]}
    assert "1 of 5 interactions have user, item and order of an earlier one and are kept" in caplog.text
    assert prepared("t.csv", text, drop_duplicates=True) == {1: [1, 2, 1], 2: [1]}
    assert prepared("t.csv", text, drop_duplicates=True, user_core=3) == {1: [1, 2, 1]}


def test_remote_addresses_and_pipes_are_named(tmp_path: Path):
    import os

    for source, message in {
        "s3://bucket/t.csv": "s3://bucket/t.csv is a remote address",
        "file:///tmp/t.csv": "file:///tmp/t.csv is an address, and a source is a path; name /tmp/t.csv",
        "/dev/null": "is a pipe",
        "-": "is a pipe",
        "": "is an empty text",
    }.items():
        with pytest.raises(InputError, match=message):
            build_store(source, tmp_path / "s", user="user", item="item")
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(InputError, match="is a pipe or device"):
        build_store(tmp_path / "pipe.csv", tmp_path / "s", user="user", item="item")
