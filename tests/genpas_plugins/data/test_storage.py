import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins import InputError, SamplingPolicy, SequenceStore, pair_stream
from genpas_plugins.data.storage import HEADER, STORE
from genpas_plugins.support import directory_header
from genpas_plugins.support.atomic import clear_temporary_files, replace_file

ODD_NAMES = ["timestamp", "", "two words", "a/b", "../up", "naïve · ★", "con.npy", "%2f", "A", "a", "/1", "˱", "я" * 80]


@pytest.fixture
def saved(tmp_path: Path, store: SequenceStore) -> Path:
    path = tmp_path / "store"
    store.save(path)
    return path


def assert_same(one: SequenceStore, other: SequenceStore) -> None:
    assert one.values.dtype == other.values.dtype
    assert np.array_equal(one.values, other.values)
    assert np.array_equal(one.offsets, other.offsets)
    assert one.n_items == other.n_items
    assert (one.user_ids, one.item_ids) == (other.user_ids, other.item_ids)
    assert list(one.columns) == list(other.columns)
    for name, column in one.columns.items():
        assert column.dtype == other.columns[name].dtype
        assert np.array_equal(column, other.columns[name])


@given(store=st.from_type(SequenceStore))
def test_what_was_saved_is_opened(tmp_path_factory: pytest.TempPathFactory, store: SequenceStore):
    path = tmp_path_factory.mktemp("stores") / "store"
    store.save(path)
    assert_same(SequenceStore.open(path), store)
    STORE.verify(path)


@pytest.mark.parametrize(
    "ids",
    [
        ["x", "", "naïve"],
        [-5, 2**62, 0],
        pa.array(["p", "q", "r"], pa.large_string()),
        pa.array(["p", "q", "p"]).dictionary_encode(),
        pa.array([1, 2, 3], pa.timestamp("us")),
    ],
    ids=lambda ids: str(getattr(ids, "type", type(ids[0]))),
)
def test_ids_of_any_type_come_back(tmp_path: Path, ids):
    store = SequenceStore.from_arrays([1, 2, 3], [0, 1, 2, 3], user_ids=ids, item_ids=ids)
    store.save(tmp_path / "store")
    opened = SequenceStore.open(tmp_path / "store")
    assert_same(opened, store)
    assert opened.user_ids is not None
    assert opened.user_ids.type == store.user_ids.type


def test_columns_of_any_name_come_back(tmp_path: Path):
    columns = {name: np.full(3, number) for number, name in enumerate(ODD_NAMES)}
    store = SequenceStore.from_arrays([1, 2, 3], [0, 3], columns=columns)
    store.save(tmp_path / "store")
    assert_same(SequenceStore.open(tmp_path / "store"), store)
    assert [file.name for file in tmp_path.iterdir()] == ["store"]


@pytest.mark.parametrize("dtype", ["int8", "uint16", "float32", "float64", "bool", "datetime64[s]", "U5", "S2"])
def test_columns_of_any_type_come_back(tmp_path: Path, dtype: str):
    columns = {"flat": np.arange(3).astype(dtype), "rows": np.arange(6).reshape(3, 2).astype(dtype)}
    store = SequenceStore.from_arrays([1, 2, 3], [0, 3], columns=columns)
    store.save(tmp_path / "store")
    assert_same(SequenceStore.open(tmp_path / "store"), store)


def test_an_empty_store_and_empty_columns_come_back(tmp_path: Path):
    columns = {"flat": np.zeros(0), "rows": np.zeros((0, 4), np.float32)}
    store = SequenceStore.from_arrays([], [0, 0, 0], n_items=0, user_ids=["a", "b"], item_ids=[], columns=columns)
    store.save(tmp_path / "store")
    opened = SequenceStore.open(tmp_path / "store")
    assert_same(opened, store)
    assert opened.columns["rows"].shape == (0, 4)


def test_the_opened_arrays_are_read_only_maps(saved: Path):
    opened = SequenceStore.open(saved)
    for array in (opened.values, opened.offsets, opened.columns["timestamp"]):
        base = array
        while base is not None and not isinstance(base, np.memmap):
            base = base.base
        assert isinstance(base, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_the_length_index_is_saved_not_computed_again(saved: Path, store: SequenceStore, monkeypatch):
    monkeypatch.setattr("genpas_plugins.data.sequences.np.argsort", None)
    opened = SequenceStore.open(saved)
    for mine, theirs in zip(opened.leave_last_out(), (2, 1, 0), strict=True):
        assert mine.n_pairs == sum(max(int(n) - theirs - 1, 0) for n in store.lengths())


def test_a_saved_store_is_pickled_as_its_path(saved: Path):
    pickled = pickle.dumps(SequenceStore.open(saved))
    assert len(pickled) < 500
    assert_same(pickle.loads(pickled), SequenceStore.open(saved))


def test_the_pickle_of_a_stream_does_not_grow_with_the_store(tmp_path: Path):
    """A worker process gets addresses, not arrays: ten thousand users weigh as much as ten."""
    SequenceStore.from_arrays(np.ones(50_000, np.int32), np.arange(0, 50_001, 5)).save(tmp_path / "store")
    view = SequenceStore.open(tmp_path / "store").leave_last_out().train
    for policy in (SamplingPolicy(1, 0, 0), SamplingPolicy.named("multi_target")):
        assert len(pickle.dumps(pair_stream(view, policy, seed=1))) < 5_000


def test_pickling_uses_the_absolute_path(saved: Path, monkeypatch):
    monkeypatch.chdir(saved.parent)
    pickled = pickle.dumps(SequenceStore.open(saved.name))
    monkeypatch.chdir("/")
    assert pickle.loads(pickled).n_sequences == 5


def test_the_header_keeps_its_form(saved: Path):
    """Experiments name a store by the bytes of its header, so that another form would orphan their results."""
    text = (saved / HEADER).read_text(encoding="utf-8")
    header = json.loads(text)
    assert text == json.dumps(header, indent=1) + "\n"
    assert list(header) == [
        "magic", "version", "n_sequences", "n_items", "n_interactions", "columns", "files", "checksum",
    ]  # fmt: skip


def test_a_place_without_a_store_is_refused(tmp_path: Path):
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InputError, match=rf"{path} holds no sequence store: .*genpas prepare"):
            SequenceStore.open(path)


@pytest.mark.parametrize("content", [b"", b"not json", b"[1, 2]", b"3", b'{"name": "other"}', b"\xff\xfe\x00"])
def test_a_foreign_header_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / HEADER).write_bytes(content)
    with pytest.raises(InputError, match=r"header\.json is no header"):
        SequenceStore.open(tmp_path)


def change_header(path: Path, **changes: object) -> None:
    header = json.loads((path / HEADER).read_text()) | changes
    header["checksum"] = directory_header._checksum(header)
    (path / HEADER).write_text(json.dumps(header))


def test_another_magic_is_refused(saved: Path):
    change_header(saved, magic="somebody-elses")
    with pytest.raises(InputError, match="has the magic 'somebody-elses'"):
        SequenceStore.open(saved)


@pytest.mark.parametrize("version", [0, 2, "1"])
def test_another_version_is_refused(saved: Path, version: object):
    change_header(saved, version=version)
    with pytest.raises(
        InputError, match=rf"format version {version}; this release reads version 1\. Make .* with .genpas prepare"
    ):
        SequenceStore.open(saved)


def test_a_flipped_byte_anywhere_in_the_header_is_noticed(saved: Path):
    original = (saved / HEADER).read_bytes()
    for place in range(0, len(original), 7):
        if original[place : place + 1].isspace():
            continue
        damaged = bytearray(original)
        damaged[place] ^= 1
        (saved / HEADER).write_bytes(damaged)
        with pytest.raises(InputError, match=r"header\.json"):
            SequenceStore.open(saved)


def test_a_truncated_file_is_named(saved: Path):
    file = saved / "values.npy"
    size = file.stat().st_size
    with file.open("r+b") as stream:
        stream.truncate(size - 4)
    with pytest.raises(InputError, match=rf"values\.npy has {size - 4} bytes where header\.json names {size}.*again"):
        SequenceStore.open(saved)
    with pytest.raises(InputError, match=r"values\.npy"):
        STORE.verify(saved)


def test_a_missing_file_is_named(saved: Path):
    (saved / "offsets.npy").unlink()
    with pytest.raises(InputError, match=r"offsets\.npy is missing from the sequence store"):
        SequenceStore.open(saved)
    with pytest.raises(InputError, match=r"offsets\.npy is missing"):
        STORE.verify(saved)


def test_verifying_finds_a_flipped_byte_in_any_file(tmp_path: Path):
    store = SequenceStore.from_arrays(
        [1, 2, 3], [0, 3], user_ids=["u"], item_ids=["a", "b", "c"], columns={"price": np.arange(3.0)}
    )
    store.save(tmp_path / "store")
    STORE.verify(tmp_path / "store")
    files = sorted(file.name for file in (tmp_path / "store").iterdir() if file.name != HEADER)
    assert len(files) == 7
    for name in files:
        shutil.copytree(tmp_path / "store", tmp_path / "damaged")
        file = tmp_path / "damaged" / name
        content = bytearray(file.read_bytes())
        content[-1] ^= 0x10
        file.write_bytes(content)
        with pytest.raises(InputError, match=rf"{name} does not have the checksum.*Make the sequence store again"):
            STORE.verify(tmp_path / "damaged")
        shutil.rmtree(tmp_path / "damaged")


def test_an_existing_store_is_not_overwritten_unasked(saved: Path, store: SequenceStore):
    with pytest.raises(
        InputError, match="exists already; choose another output directory or replace it with --overwrite"
    ):
        SequenceStore.from_arrays([1, 2], [0, 2]).save(saved)
    assert_same(SequenceStore.open(saved), store)


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_store_is_never_overwritten(tmp_path: Path, store: SequenceStore, overwrite: bool):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter").write_text("years of work")
    (tmp_path / "file").write_text("a file")
    for name in ("thesis", "file"):
        with pytest.raises(InputError, match="exists already and holds no sequence store"):
            store.save(tmp_path / name, overwrite=overwrite)
    assert (tmp_path / "thesis" / "chapter").read_text() == "years of work"
    assert (tmp_path / "file").read_text() == "a file"
    assert len(list(tmp_path.iterdir())) == 2


def test_overwriting_replaces_the_store_and_leaves_open_ones_readable(saved: Path, store: SequenceStore):
    before = SequenceStore.open(saved)
    SequenceStore.from_arrays([1, 2], [0, 2]).save(saved, overwrite=True)
    assert SequenceStore.open(saved).n_interactions == 2
    assert_same(before, store)
    assert [file.name for file in saved.parent.iterdir()] == ["store"]


def test_a_store_can_be_saved_over_the_one_it_is_mapped_from(saved: Path, store: SequenceStore):
    SequenceStore.open(saved).save(saved, overwrite=True)
    assert_same(SequenceStore.open(saved), store)
    STORE.verify(saved)


def test_parent_directories_are_made(tmp_path: Path, store: SequenceStore):
    store.save(tmp_path / "a" / "b" / "store")
    assert_same(SequenceStore.open(tmp_path / "a" / "b" / "store"), store)


@pytest.mark.parametrize("exception", [OSError("disk full"), KeyboardInterrupt()], ids=["full disk", "interrupt"])
@pytest.mark.parametrize(
    "step", ["support.directory_header.file_crc32", "data.storage.write_ids", "data.storage.np.save"]
)
def test_a_killed_save_leaves_nothing_new(tmp_path: Path, monkeypatch, exception: BaseException, step: str):
    def fail(*_: object, **__: object) -> None:
        raise exception

    store = SequenceStore.from_arrays([1, 2], [0, 2], user_ids=["u"])
    monkeypatch.setattr(f"genpas_plugins.{step}", fail)
    with pytest.raises(type(exception)):
        store.save(tmp_path / "store")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("exception", [OSError("disk full"), KeyboardInterrupt()], ids=["full disk", "interrupt"])
@pytest.mark.parametrize("failing", [1, 2])
def test_a_killed_overwrite_leaves_the_old_store(
    saved: Path, store: SequenceStore, monkeypatch, exception: BaseException, failing: int
):
    rename, calls = Path.rename, []

    def fail_once(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == failing:
            raise exception
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_once)
    monkeypatch.setattr("genpas_plugins.support.atomic._exchanged", lambda one, other: False)  # as where Linux is not
    with pytest.raises(type(exception)):
        SequenceStore.from_arrays([1, 2], [0, 2]).save(saved, overwrite=True)
    assert_same(SequenceStore.open(saved), store)
    assert [file.name for file in saved.parent.iterdir()] == ["store"]


def test_temporary_files_of_killed_runs_are_removed_and_others_stay(tmp_path: Path):
    (tmp_path / ".model-1.pth.abcdefgh").write_text("killed")
    names = (".model.json.abcdefgh", "model-1.pth", ".model-1.pth.ABCDEFGH", ".env.template", ".model-2.pth.new45678")
    others = [tmp_path / name for name in names]
    for file in others:
        file.write_text("" if file.name.endswith("new45678") else "x")
    with replace_file(tmp_path / "model-3.pth") as temporary:
        temporary.write_text("at work")
        clear_temporary_files(tmp_path, "")
        assert (tmp_path / ".model-1.pth.abcdefgh").exists()
        clear_temporary_files(tmp_path, ".pth")
        assert {*tmp_path.iterdir()} == {*others, temporary}


def test_a_replaced_file_appears_whole_or_not_at_all(tmp_path: Path):
    path = tmp_path / "out" / "table.csv"
    with replace_file(path) as temporary:
        temporary.write_text("old")
        assert not path.exists()
    with pytest.raises(RuntimeError), replace_file(path) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError
    assert path.read_text() == "old"
    with replace_file(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert [file.name for file in path.parent.iterdir()] == ["table.csv"]
