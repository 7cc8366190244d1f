from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from genpas_plugins import InputError
from genpas_plugins.semantic_ids import storage
from genpas_plugins.semantic_ids.codebook import SemanticIds
from genpas_plugins.semantic_ids.index_file import read_index_json
from genpas_plugins.semantic_ids.storage import HEADER
from genpas_plugins.support.checksums import file_crc32

tables = st.integers(1, 3).flatmap(
    lambda depth: st.lists(st.lists(st.integers(0, 3), min_size=depth, max_size=depth), min_size=1, max_size=30)
)


@pytest.fixture
def ids() -> SemanticIds:
    return SemanticIds.of([[0, 1], [2, 0], [0, 0]], (4, 2), item_ids=["a", "b", "c"], origin={"method": "by hand"})


@pytest.fixture
def saved(tmp_path: Path, ids: SemanticIds) -> Path:
    ids.save(tmp_path / "ids")
    return tmp_path / "ids"


def index_file(folder: Path, content: object) -> Path:
    file = folder / "index.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return file


def test_codes_are_int32_and_sizes_are_found():
    ids = SemanticIds.of([[0, 7], [3, 0]])
    assert (ids.codes.dtype, ids.sizes, ids.depth, ids.n_items) == (np.int32, (4, 8), 2, 2)


@pytest.mark.parametrize(
    ("codes", "sizes", "message"),
    [
        ([[0, 1], [1], [1, 1]], None, "Item 2 has 1 codes where most have 2"),
        ([[0, 1], [1, 2]], (2, 2), "Item 2 has code 2 at level 2, whose codebook has the codes 0 to 1; 1 items"),
        ([[0, 1], [-1, 0]], (2, 2), "Item 2 has code -1 at level 1"),
        ([[0, 1], [1, 0], [0, 1]], None, "1 of 3 items have the semantic ID of an earlier item, 1 and 3 the first: "),
        ([[0.0, 1.0]], None, "whole numbers, not float64"),
        ([0, 1], None, "table"),
        ([[0, 1]], (2,), "1 sizes for IDs of 2 codes"),
        ([[0, 1]], (2, 0), "number of codes must be a whole number from 1"),
        (np.empty((0, 2), np.int32), None, "no items"),
    ],
)
def test_what_is_no_table_of_distinct_ids_is_refused(codes, sizes, message: str):
    with pytest.raises(InputError, match=message):
        SemanticIds.of(codes, sizes)


def test_messages_name_items_by_their_ids():
    with pytest.raises(InputError, match="Item 'y' has code 9"):
        SemanticIds.of([[0], [9]], (2,), item_ids=["x", "y"])
    with pytest.raises(InputError, match="names an item twice"):
        SemanticIds.of([[0], [1]], item_ids=["x", "x"])
    with pytest.raises(InputError, match="3 entries for 2 items"):
        SemanticIds.of([[0], [1]], item_ids=["x", "y", "z"])


@given(codes=tables)
def test_count_numbers_the_items_of_a_group_in_order(codes: list[list[int]]):
    ids = SemanticIds.resolve(codes, [4] * len(codes[0]))
    seen: Counter[tuple[int, ...]] = Counter()
    for row, code in zip(codes, ids.codes.tolist(), strict=True):
        assert code == [*row, seen[tuple(row)]]
        seen[tuple(row)] += 1
    assert ids.sizes == (*[4] * len(codes[0]), max(4, *seen.values()))


@given(codes=tables, seed=st.integers(0, 5))
def test_random_draws_free_codes_by_the_seed(codes: list[list[int]], seed: int):
    ids = SemanticIds.resolve(codes, [4] * len(codes[0]), policy="random", seed=seed)
    assert ids.codes[:, :-1].tolist() == codes
    assert len({tuple(row) for row in ids.codes.tolist()}) == len(codes)
    again = SemanticIds.resolve(codes, [4] * len(codes[0]), policy="random", seed=seed)
    assert np.array_equal(ids.codes, again.codes)


def test_random_uses_the_added_codes_evenly():
    codes = np.repeat(np.arange(2000), 2)[:, None]  # 2,000 groups of two
    last = SemanticIds.resolve(codes, (2000,), policy="random", size=8).codes[:, 1]
    counts = np.bincount(last, minlength=8)
    assert stats.chisquare(counts).pvalue > 0.001
    assert not np.array_equal(last, SemanticIds.resolve(codes, (2000,), policy="random", size=8, seed=1).codes[:, 1])


@pytest.mark.parametrize("policy", ["count", "random"])
def test_the_added_level_grows_to_the_largest_group(policy):
    ids = SemanticIds.resolve([[0, 1]] * 5 + [[1, 1]], (2, 2), policy=policy, size=3)
    assert ids.sizes == (2, 2, 5)
    assert sorted(ids.codes[:5, 2].tolist()) == [0, 1, 2, 3, 4]
    assert ids.origin["collisions"] == policy


def test_an_unknown_policy_is_refused():
    with pytest.raises(InputError, match="Did you mean 'count'"):
        SemanticIds.resolve([[0]], policy="counts")  # type: ignore[arg-type]


@given(codes=tables)
def test_the_report_counts_as_plain_loops_do(codes: list[list[int]]):
    report = SemanticIds.resolve(codes, [4] * len(codes[0]), origin={"reconstruction_error": 0.25}).report()
    groups = Counter(map(tuple, codes))
    alone = sum(1 for row in codes if groups[tuple(row)] == 1)
    assert report["distinct"] == len(groups)
    assert report["unique_share"] == pytest.approx(alone / len(codes))
    assert report["collision_rate"] == pytest.approx(1 - alone / len(codes))
    assert report["largest_group"] == max(groups.values())
    assert report["reconstruction_error"] == 0.25
    for level, row in enumerate(zip(*codes, strict=True)):
        counts = np.array(list(Counter(row).values())) / len(row)
        found = report["levels"][level]
        assert (found["level"], found["codes"], found["used"]) == (level + 1, 4, len(counts))
        assert found["perplexity"] == pytest.approx(np.prod(counts**-counts))


def test_a_report_of_fewer_levels(ids: SemanticIds):
    assert ids.report()["compared_codes"] == 1
    assert ids.report()["collision_rate"] == pytest.approx(2 / 3)
    assert ids.report(2)["collision_rate"] == 0
    with pytest.raises(InputError, match="levels"):
        ids.report(3)


@pytest.mark.parametrize(
    "item_ids",
    [
        None,
        ["x", "", "naïve"],
        [-5, 2**62, 0],
        pa.array(["p", "q", "r"], pa.large_string()),
        pa.array(["p", "q", "r"]).dictionary_encode(),
        pa.array([1, 2, 3], pa.timestamp("us")),
    ],
    ids=lambda ids: str(getattr(ids, "type", ids)),
)
def test_what_was_saved_is_opened(tmp_path: Path, item_ids):
    ids = SemanticIds.of([[0, 1], [2, 0], [0, 0]], (4, 2), item_ids=item_ids, origin={"seed": 3, "model": "m"})
    ids.save(tmp_path / "ids")
    opened = SemanticIds.open(tmp_path / "ids")
    assert np.array_equal(opened.codes, ids.codes)
    assert opened.codes.dtype == np.int32
    assert (opened.sizes, opened.item_ids, opened.origin) == (ids.sizes, ids.item_ids, ids.origin)


def test_saving_replaces_ids_only_and_only_when_asked(tmp_path: Path, saved: Path, ids: SemanticIds):
    with pytest.raises(InputError, match="replace it with --overwrite"):
        ids.save(saved)
    SemanticIds.of([[5]]).save(saved, overwrite=True)
    assert SemanticIds.open(saved).codes.tolist() == [[5]]
    (tmp_path / "notes").mkdir()
    with pytest.raises(InputError, match="holds no semantic IDs"):
        ids.save(tmp_path / "notes", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ids", "notes"]


def test_a_failed_write_leaves_nothing(tmp_path: Path, ids: SemanticIds, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(storage, "write_ids", fail)
    with pytest.raises(OSError, match="disk full"):
        ids.save(tmp_path / "ids")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["codes.npz", "item_ids.arrow"])
@pytest.mark.parametrize("damage", ["cut", "changed", "missing"])
def test_damaged_files_are_refused(saved: Path, name: str, damage: str):
    message = {"missing": "is missing", "cut": "truncated or changed", "changed": "checksum"}[damage]
    content = (saved / name).read_bytes()
    if damage == "missing":
        (saved / name).unlink()
    else:
        (saved / name).write_bytes(content[:-9] if damage == "cut" else content[:-9] + b"\1" * 9)
    with pytest.raises(InputError, match=message):
        SemanticIds.open(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "format version 2; this release reads version 1"),
        ({"magic": "genpas-sequence-store"}, "has the magic 'genpas-sequence-store'"),
        ({"sizes": [4, 1]}, "Item 'a' has code 1 at level 2"),
        ({"sizes": [4]}, "1 sizes for IDs of 2 codes"),
        ({"files": []}, "does not list the files"),
        ({"origin": None}, "is damaged .*Make the semantic IDs again"),
    ],
)
def test_foreign_headers_are_refused(saved: Path, change: dict[str, object], message: str):
    header = json.loads((saved / HEADER).read_text(encoding="utf-8")) | change
    if "version" not in change and "magic" not in change:
        (saved / HEADER).write_text(json.dumps(header), encoding="utf-8")
        with pytest.raises(InputError, match="does not match its own checksum"):
            SemanticIds.open(saved)
    del header["checksum"]  # as the first headers were
    (saved / HEADER).write_text(json.dumps(header), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        SemanticIds.open(saved)


def test_what_holds_no_ids_is_refused(tmp_path: Path, saved: Path):
    with pytest.raises(InputError, match=r"ids.json is missing"):
        SemanticIds.open(tmp_path)
    (saved / HEADER).write_text("[]", encoding="utf-8")
    with pytest.raises(InputError, match="is no header"):
        SemanticIds.open(saved)


def test_pickled_codes_are_never_loaded(saved: Path):
    np.savez(saved / "codes.npz", codes=np.array([{"a": 1}], object))
    header = json.loads((saved / HEADER).read_text(encoding="utf-8"))
    file = saved / "codes.npz"
    header["files"]["codes.npz"] = [file.stat().st_size, file_crc32(file)]
    del header["checksum"]
    (saved / HEADER).write_text(json.dumps(header), encoding="utf-8")
    with pytest.raises(InputError, match="damaged"):
        SemanticIds.open(saved)


def test_another_numbering_gets_the_same_ids(ids: SemanticIds):
    other = ids.for_items(["c", "a"])
    assert other.codes.tolist() == [[0, 0], [0, 1]]
    assert (other.sizes, other.item_ids.to_pylist()) == (ids.sizes, ["c", "a"])


def test_ids_of_another_type_are_compared_as_text():
    ids = SemanticIds.of([[0], [1], [2]], item_ids=pa.array([30, 10, 20], pa.int32()))
    assert ids.for_items(["10", "30"]).codes.tolist() == [[1], [0]]
    assert ids.for_items([20]).codes.tolist() == [[2]]
    assert SemanticIds.of([[0], [1]]).for_items(["2", "1"]).codes.tolist() == [[1], [0]]
    with pytest.raises(InputError, match="'030'"):  # the text of no id
        ids.for_items(["030"])


def test_missing_items_are_named(ids: SemanticIds):
    with pytest.raises(InputError, match="2 of 3 items are missing, 'x', 'y' the first"):
        ids.for_items(["a", "x", "y"])
    with pytest.raises(InputError, match="one item twice"):
        ids.for_items(["a", "a"])


@pytest.mark.parametrize(
    "content",
    [{"7": [0, 3], "8": [1, 2]}, {"7": ["<a_0>", "<b_3>"], "8": ["<a_1>", "<b_2>"]}],
    ids=["integers", "tokens"],
)
def test_an_index_file_of_another_tool(tmp_path: Path, content: dict[str, list[object]]):
    file = index_file(tmp_path, content)
    assert read_index_json(file).codes.tolist() == [[0, 3], [1, 2]]
    ids = read_index_json(file, [8, 7], sizes=(5, 5))
    assert (ids.codes.tolist(), ids.sizes, ids.item_ids.to_pylist()) == ([[1, 2], [0, 3]], (5, 5), [8, 7])


def test_an_index_with_duplicates_needs_a_policy(tmp_path: Path):
    file = index_file(tmp_path, {"1": [0, 3], "2": [1, 2], "3": [0, 3]})
    with pytest.raises(InputError, match="'1' and '3' the first: "):
        read_index_json(file)
    assert read_index_json(file, collisions="count").codes.tolist() == [[0, 3, 0], [1, 2, 0], [0, 3, 1]]
    assert read_index_json(file, ["3", "2"], collisions="count").codes.tolist() == [[0, 3], [1, 2]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a JSON file"),
        ("[1]", "one JSON object"),
        ("{}", "one JSON object"),
        ('{"1": [0], "1": [1]}', "item '1' twice"),
        ({"1": 5}, "needs a list of codes, not 5"),
        ({"1": []}, "needs a list of codes"),
        ({"1": [True]}, "has the code True"),
        ({"1": [1.5]}, "has the code 1.5"),
        ({"1": ["a_1"]}, "has the code 'a_1'"),
        ({"1": [0, 1], "2": [1], "3": [2, 2]}, "Item '2' has 1 codes where most have 2"),
        ({"1": [0], "2": [-1]}, "Item '2' has code -1"),
        ({"1": [0], "2": [10**30]}, "whole numbers"),
        ({"1": ["<a_0>", "<b_0>"], "2": ["<a_1>", "<c_0>"]}, "level 2 has the letters 'b' and 'c'"),
    ],
)
def test_what_is_no_index_is_refused(tmp_path: Path, content, message: str):
    with pytest.raises(InputError, match=message):
        read_index_json(index_file(tmp_path, content))


def test_an_index_is_checked_against_items_and_codebooks(tmp_path: Path):
    file = index_file(tmp_path, {"1": [0, 3], "2": [1, 2]})
    with pytest.raises(InputError, match=r"1 of 2 items are missing, '5' the first, in .*index\.json"):
        read_index_json(file, ["1", "5"])
    with pytest.raises(InputError, match="Item '1' has code 3 at level 2"):
        read_index_json(file, sizes=(3, 3))
    with pytest.raises(InputError, match="cannot be read"):
        read_index_json(tmp_path / "absent.json")


def test_the_published_index_of_letter(published_data):
    store = published_data("beauty")
    file = Path(os.environ["GENPAS_DATA_DIR"]) / "beauty" / "semantic_ids_letter.json"
    with pytest.raises(InputError, match="13 of 12101 items have the semantic ID of an earlier item"):
        read_index_json(file, store.item_ids)
    ids = read_index_json(file, store.item_ids, collisions="count")
    assert (ids.n_items, ids.depth) == (12_101, 5)
    assert ids.report(4)["distinct"] == 12_088
    assert ids.report(3)["distinct"] == 11_696
    assert [level["used"] for level in ids.report()["levels"]] == [197, 256, 256, 256, 3]
    content = json.loads(file.read_text(encoding="utf-8"))
    groups = defaultdict(list)
    for item, codes in zip(ids.item_ids.to_pylist(), ids.codes.tolist(), strict=True):
        assert codes[:4] == content[str(item)]
        groups[tuple(codes[:4])].append(codes[4])
    assert all(last == list(range(len(last))) for last in groups.values())
