"""Where a table's data sets are: stores that exist, and stores prepared once from a folder of data."""

from __future__ import annotations

from pathlib import Path

import polars
import pytest

from genpas_plugins import InputError, SequenceStore
from genpas_plugins.experiments.stores import bring_files, find_stores


def quiet(step: str, done: int, total: int | None) -> None:
    pass


def test_data_are_prepared_once_in_the_order_of_their_positions(tmp_path: Path):
    (tmp_path / "data" / "toys").mkdir(parents=True)
    frame = polars.DataFrame({"user_id": [1, 2, 1, 2], "item_id": [5, 5, 9, 7], "position": [2, 1, 1, 2]})
    frame.write_parquet(tmp_path / "data" / "toys" / "interactions.parquet")
    work = tmp_path / "work"
    found = find_stores(["toys"], [], tmp_path / "data", work, quiet)
    store = SequenceStore.open(found["toys"])
    assert store.values.tolist() == [3, 1, 1, 2]  # items 5, 7, 9; the first user's are the other way round
    assert find_stores(["toys"], [], tmp_path / "data", work, quiet) == found
    assert (work / ".gitignore").read_text() == "*\n"

    given = find_stores(["mine", "toys"], [tmp_path / "mine"], tmp_path / "data", work, quiet)
    assert given == {"mine": tmp_path / "mine", **found}


def test_a_source_that_has_changed_is_refused(tmp_path: Path):
    data, work = tmp_path / "data", tmp_path / "work"
    (data / "toys").mkdir(parents=True)
    file = data / "toys" / "interactions.parquet"
    frame = polars.DataFrame({"user_id": [1, 2, 1, 2], "item_id": [5, 5, 9, 7], "timestamp": [2, 1, 1, 2]})
    frame.write_parquet(file)
    found = find_stores(["toys"], [], data, work, quiet)
    before = file.read_bytes()

    # The same content elsewhere is the same source.
    data.rename(tmp_path / "moved")
    (tmp_path / "moved" / "toys" / "interactions.parquet").write_bytes(before)
    assert find_stores(["toys"], [], tmp_path / "moved", work, quiet) == found
    (tmp_path / "moved").rename(data)

    for changed in (before[:-9] + bytes(9), before + b"0"):
        file.write_bytes(changed)
        with pytest.raises(InputError, match=r"parquet has other content than when \S+toys was prepared from it"):
            find_stores(["toys"], [], data, work, quiet)
    note = work / "stores" / "toys.source.json"
    note.write_text("{}")
    with pytest.raises(InputError, match=r"source\.json does not name"):
        find_stores(["toys"], [], data, work, quiet)
    note.unlink()  # of an older version
    assert find_stores(["toys"], [], data, work, quiet) == found


def test_a_file_of_the_settings_is_taken_from_the_folder_of_the_data(tmp_path: Path):
    source, work = tmp_path / "data" / "toys", tmp_path / "work"
    source.mkdir(parents=True)
    (source / "ids.json").write_text("[1]")
    (tmp_path / "data" / "outside.json").write_text("[2]")
    for name in ("ids.json", "nowhere.json", "../outside.json", str(source / "ids.json"), None):
        bring_files({"semantic_ids": name}, source, work)
    assert [file.name for file in work.iterdir()] == ["ids.json"]
    bring_files({"semantic_ids": "ids.json"}, source, work)
    (source / "ids.json").write_text("[3]")
    with pytest.raises(InputError, match=r"work/ids\.json and .*toys/ids\.json have different content"):
        bring_files({"semantic_ids": "ids.json"}, source, work)


def test_data_without_an_order_are_refused(tmp_path: Path):
    (tmp_path / "toys").mkdir()
    file = tmp_path / "toys" / "interactions.parquet"
    polars.DataFrame({"user_id": [1, 1], "item_id": [5, 9], "time": [2, 1]}).write_parquet(file)
    told = "neither position nor timestamp .* its columns are user_id, item_id, time. Rename one .*--order"
    with pytest.raises(InputError, match=told):
        find_stores(["toys"], [], tmp_path, tmp_path / "work", quiet)
    assert not list((tmp_path / "work").glob("stores/*"))


def test_a_directory_without_data_is_not_a_list_of_nothing(tmp_path: Path):
    with pytest.raises(InputError, match="does not exist; check the path"):
        find_stores(["toys"], [], tmp_path / "nodir", tmp_path / "work", quiet)
    with pytest.raises(InputError, match=r"has no data set. .* here toys/interactions\.parquet"):
        find_stores(["toys"], [], tmp_path, tmp_path / "work", quiet)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["toy"], "Did you mean 'toys'"),
        (["toys", "toys"], "different names"),
        (["toys", ""], "different names"),
        ([], "different names"),
    ],
)
def test_data_that_are_not_there_are_refused(names: list[str], told: str, tmp_path: Path):
    (tmp_path / "toys").mkdir()
    (tmp_path / "toys" / "interactions.parquet").touch()
    with pytest.raises(InputError, match=told):
        find_stores(names, [], tmp_path, tmp_path / "work", quiet)
    assert not (tmp_path / "work").exists()


def test_a_store_that_is_not_named_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"no store 'beauty'\. Did you mean 'beaut'"):
        find_stores(["beauty"], [tmp_path / "beaut"], None, tmp_path / "work", quiet)
    with pytest.raises(InputError, match="two stores have one name"):
        find_stores(["a"], [tmp_path / "a", tmp_path / "b" / "a"], None, tmp_path / "work", quiet)
