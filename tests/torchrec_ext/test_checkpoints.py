from __future__ import annotations

import errno
import json
import os
import pickle
import re
import resource
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torchrec")
pytest.importorskip("recbole")

import torch
import torch.distributed as dist
from checkpointing import CASES, Training, loaded_and_trained_on
from spawned_ranks import run_ranks
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.metadata import BytesStorageMetadata, Metadata

from genpas_plugins.support.errors import InputError
from torchrec_ext.checkpointing import manifest
from torchrec_ext.checkpointing.checkpoints import Checkpoints
from torchrec_ext.checkpointing.safe_metadata import read_safely


@pytest.fixture(scope="module", autouse=True)
def _world_of_one() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def run(world_size: int, directory: Path) -> list[dict[str, Any]]:
    """Run the script on so many ranks and return what each of them wrote."""
    run_ranks("checkpointing.py", world_size, directory)
    return [json.loads((directory / f"results{world_size}{rank}.json").read_text()) for rank in range(world_size)]


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    directory = tmp_path_factory.mktemp("two")
    return directory, run(2, directory)


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_one_rank_goes_on_where_two_stopped(two_ranks: tuple[Path, list[dict[str, Any]]], case: tuple[str, str]):
    directory, results = two_ranks
    expected = results[0]["losses"]["-".join(case)]
    assert loaded_and_trained_on(directory, case) == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
@pytest.mark.distributed
def test_three_ranks_go_on_where_two_stopped(two_ranks: tuple[Path, list[dict[str, Any]]]):
    directory, results = two_ranks
    for of_rank in run(3, directory):
        assert set(of_rank["losses"]) == {"-".join(case) for case in CASES}
        for name, losses in of_rank["losses"].items():
            assert losses == pytest.approx(results[0]["losses"][name], abs=1e-6), name


@pytest.mark.slow
@pytest.mark.distributed
def test_a_disk_that_is_full_on_one_rank_stops_neither_training_nor_later_checkpoints(
    two_ranks: tuple[Path, list[dict[str, Any]]],
):
    first, second = (of_rank["full"] for of_rank in two_ranks[1])
    (sentence,) = first["log"]
    assert "step-000000002 was not written: [Errno 28] No space left on device (rank 1)" in sentence
    assert second["log"] == []
    for of_rank in (first, second):
        assert of_rank["directory"] == ["step-000000001"]
        assert of_rank["steps"] == [1, 3]


@pytest.mark.slow
@pytest.mark.distributed
def test_a_run_killed_before_the_rename_leaves_the_checkpoint_before(two_ranks: tuple[Path, list[dict[str, Any]]]):
    directory = two_ranks[0] / "killed"
    (left,) = directory.glob(".step-*")
    assert manifest.read(left)["step"] == 2  # all was written
    saved = Checkpoints(directory)
    assert [path.name for path in directory.iterdir()] == ["step-000000001"]
    assert saved.load_newest(Training().state()) == 1


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[float]]:
    """A directory with steps 1 and 2, and the next losses."""
    directory = tmp_path_factory.mktemp("steps") / "checkpoints"
    training, saved = Training(), Checkpoints(directory)
    for step in (1, 2):
        training.train(1)
        saved.save(step, training.state(), best=step == 1)
    saved.wait()
    return directory, training.train(2)


@pytest.fixture
def steps(two_steps: tuple[Path, list[float]], tmp_path: Path) -> Path:
    return Path(shutil.copytree(two_steps[0], tmp_path / "checkpoints"))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("name", "damage", "reason"),
    [
        ("__0_0.distcp", flip, "the checksum of __0_0.distcp is wrong"),
        ("__0_0.distcp", truncate, "__0_0.distcp has [0-9]+ bytes, not [0-9]+"),
        ("__0_0.distcp", Path.unlink, "__0_0.distcp is missing"),
        (".metadata", flip, "the checksum of .metadata is wrong"),
        ("manifest.json", flip, "its manifest.json is not as it was written"),
        ("manifest.json", truncate, "its manifest.json is not as it was written"),
        ("manifest.json", Path.unlink, "it has no manifest.json"),
    ],
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_loaded(
    steps: Path, name: str, damage: Callable[[Path], None], reason: str
):
    damage(steps / "step-000000002" / name)
    training, log = Training(), []
    assert Checkpoints(steps, log=log.append).load_newest(training.state()) == 1
    assert training.progress["step"] == 1
    (sentence,) = log
    assert sentence.startswith(f"{steps / 'step-000000002'} is broken and passed over: ")
    assert re.search(reason, sentence)
    flip(steps / "step-000000001" / "__0_0.distcp")
    with pytest.raises(InputError, match=r"No whole checkpoint in .*: step-000000002, step-000000001 cannot be read"):
        Checkpoints(steps, log=log.append).load_newest(training.state())


def test_the_next_losses_need_the_state_of_both_optimizers(two_steps: tuple[Path, list[float]]):
    directory, expected = two_steps
    for forgotten in (None, "table_optimizer", "optimizer"):
        training = Training()
        state = training.state()
        assert Checkpoints(directory).load_newest(state) == 2
        if forgotten == "optimizer":
            for values in state["optimizer"].values():
                for value in values.values():
                    value.zero_()
        elif forgotten:
            for values in state["table_optimizer"]["state"].values():
                for value in values.values():
                    value.local_shards()[0].tensor.zero_()
        losses = training.train(2)
        assert losses[0] == pytest.approx(expected[0], abs=1e-6)
        assert (losses[1] == pytest.approx(expected[1], abs=1e-6)) == (forgotten is None)


def small(step: int) -> dict[str, Any]:
    return {"model": {"weight": torch.full((2, 3), float(step))}, "progress": {"step": step}}


def save_all(saved: Checkpoints, steps: list[int], best: int | None = None) -> None:
    for step in steps:
        saved.save(step, small(step), best=step == best)
    saved.wait()


def test_the_last_few_and_the_best_are_kept(tmp_path: Path):
    saved = Checkpoints(tmp_path, keep_last=2)
    save_all(saved, [1, 2, 3], best=1)
    assert (saved.steps(), saved.best_step()) == ([1, 2, 3], 1)
    save_all(saved, [4])
    assert (saved.steps(), saved.best_step()) == ([1, 3, 4], 1)
    again = Checkpoints(tmp_path, keep_last=2)
    state = small(0)
    assert again.load_best(state) == 1
    assert state["progress"] == {"step": 1}
    assert torch.equal(state["model"]["weight"], torch.ones(2, 3))
    save_all(again, [5, 6], best=5)
    assert (again.steps(), again.best_step()) == ([5, 6], 5)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["step-000000005", "step-000000006"]


def test_saving_after_going_back_deletes_what_came_later(tmp_path: Path):
    saved = Checkpoints(tmp_path, keep_last=3)
    save_all(saved, [1, 2, 3], best=3)
    flip(tmp_path / "step-000000003" / ".metadata")
    assert saved.load_newest(small(0)) == 2
    save_all(saved, [2])
    assert (saved.steps(), saved.best_step()) == ([1, 2], None)


def test_a_step_saved_twice_is_replaced(tmp_path: Path):
    saved = Checkpoints(tmp_path)
    save_all(saved, [7])
    assert saved.best_step() is None
    save_all(saved, [7], best=7)
    assert (saved.steps(), saved.best_step()) == ([7], 7)


def test_a_start_clears_away_what_a_killed_run_left(tmp_path: Path):
    save_all(Checkpoints(tmp_path), [1, 2])
    shutil.copytree(tmp_path / "step-000000002", tmp_path / ".step-000000003.abc")
    (tmp_path / "step-000000002").rename(tmp_path / ".step-000000002.abc.old")
    saved = Checkpoints(tmp_path)
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["step-000000001", "step-000000002"]
    assert saved.load_newest(small(0)) == 2


def test_nothing_saved_is_none(tmp_path: Path):
    state = small(4)
    saved = Checkpoints(tmp_path / "new")
    assert saved.load_newest(state) is saved.load_best(state) is None
    assert torch.equal(state["model"]["weight"], torch.full((2, 3), 4.0))


def test_save_returns_before_it_is_written_and_keeps_what_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    going, write_data = threading.Event(), FileSystemWriter.write_data

    def held_back(*arguments: Any) -> Any:
        assert going.wait(timeout=60)
        return write_data(*arguments)

    monkeypatch.setattr(FileSystemWriter, "write_data", held_back)
    saved, state = Checkpoints(tmp_path), small(1)
    saved.save(1, state)
    assert saved.steps() == []
    state["model"]["weight"].zero_()
    state["progress"]["step"] = 0
    going.set()
    saved.wait()
    assert saved.load_newest(state) == 1
    assert state["progress"] == {"step": 1}
    assert torch.equal(state["model"]["weight"], torch.ones(2, 3))


@pytest.mark.parametrize("stage", ["tensors", "manifest"])
def test_a_full_disk_is_one_sentence_and_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
):
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    log: list[str] = []
    saved = Checkpoints(tmp_path, keep_last=1, log=log.append)
    save_all(saved, [1])
    with monkeypatch.context() as patch:
        patch.setattr(*((FileSystemWriter, "write_data") if stage == "tensors" else (manifest, "write")), full)
        save_all(saved, [2])
    assert log == [
        f"{tmp_path / 'step-000000002'} was not written: [Errno 28] No space left on device (rank 0). Training goes "
        "on; older checkpoints stay."
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001"]
    save_all(saved, [3])
    assert saved.steps() == [3]


def test_a_file_that_the_system_cuts_off_is_reported_in_its_words(tmp_path: Path):
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    log: list[str] = []
    saved = Checkpoints(tmp_path, log=log.append)
    save_all(saved, [1])
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
        saved.save(2, {"weight": torch.zeros(1 << 16)})
        saved.wait()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    (sentence,) = log
    assert "step-000000002 was not written: [Errno 27] File too large (rank 0)" in sentence
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001"]


class Counter:
    """What DCP calls Stateful."""

    def __init__(self, n: int) -> None:
        self.n = n

    def state_dict(self) -> dict[str, int]:
        return {"n": self.n}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.n = state["n"]


def test_objects_with_a_state_are_given_it_back(tmp_path: Path):
    saved = Checkpoints(tmp_path)
    saved.save(1, {"counter": Counter(3)})
    counter = Counter(0)
    assert saved.load_newest({"counter": counter}) == 1
    assert counter.n == 3


def test_a_model_of_other_shapes_or_names_is_refused(two_steps: tuple[Path, list[float]], tmp_path: Path):
    with pytest.raises(InputError, match=r"item.weight is float32 \[11, 8\] there, float32 \[9, 8\] here"):
        Checkpoints(two_steps[0]).load_newest(Training(n_rows=9).state())
    with pytest.raises(InputError, match=r"table_optimizer/.*/item.momentum1 is missing here"):
        Checkpoints(two_steps[0]).load_newest(Training(optimizer="sgd").state())
    saved = Checkpoints(tmp_path)
    save_all(saved, [1])
    for state, message in (
        ({**small(1), "more": {"epoch": 1}}, "more/epoch is missing there"),
        ({"model": small(1)["model"]}, "progress/step is missing here"),
        ({**small(1), "model": {"weight": 1.0}}, r"weight is float32 \[2, 3\] there, a plain value here"),
        ({**small(1), "model": {"weight": torch.zeros(2, 3, dtype=torch.int64)}}, "float32 .* there, int64"),
    ):
        with pytest.raises(InputError, match=message):
            saved.load_newest(state)
    with pytest.raises(InputError, match="entry model/a is a list"):
        saved.save(1, {"model": {"a": [1]}})


class Runs:
    """Pickled, it is a call of `function`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def of_bytes(name: str) -> Metadata:
    return Metadata(state_dict_metadata={name: BytesStorageMetadata()}, storage_data={})


@pytest.mark.parametrize("kind", ["call", "bytes", "class", "elsewhere", "nothing"])
def test_metadata_that_is_more_than_a_description_is_refused_unrun(tmp_path: Path, kind: str):
    save_all(Checkpoints(tmp_path), [1])
    path, ran = tmp_path / "step-000000001", tmp_path / "ran"
    name = "torch.distributed.checkpoint.metadata"
    content = {
        "call": pickle.dumps(Runs(os.mkdir, str(ran))),
        "bytes": pickle.dumps(of_bytes("model/weight")),
        "class": f"c{name}\nMetadata\n(N}}Valtered\nI1\nstb.".encode(),
        "elsewhere": (path / ".metadata").read_bytes().replace(b"\x0c__0_0.distcp", b"\x0c../../ab.cde"),
        "nothing": b"",
    }[kind]
    (path / ".metadata").write_bytes(content)
    # An attacker would mend the checksums.
    written = manifest.read(path)
    manifest.write(path, {**written, "files": manifest.measure(path, written["files"])})
    expected = {
        "call": "it names (posix|os).mkdir",
        "bytes": "it names .*BytesStorageMetadata",
        "class": "it fills a type",
        "elsewhere": "model/weight lies in ../../ab.cde",
        "nothing": "EOFError",
    }[kind]
    with pytest.raises(InputError, match=rf"metadata is refused: .*\({expected}"):
        Checkpoints(tmp_path).load_newest(small(0))
    assert not ran.exists()
    assert not hasattr(Metadata, "altered")
    if kind == "call":
        pickle.loads(content)
        assert ran.exists()  # the attack works on an ordinary unpickler


@pytest.mark.parametrize("name", ["../x", "below/x"])
def test_a_manifest_that_names_files_elsewhere_is_refused(name: str, tmp_path: Path):
    step = tmp_path / "step"
    (step / "below").mkdir(parents=True)
    (step / name).touch()
    manifest.write(step, {"files": {name: (0, 0)}})
    with pytest.raises(ValueError, match="names files elsewhere"):
        manifest.read(step)


def test_shards_that_hold_objects_are_refused(tmp_path: Path):
    save_all(Checkpoints(tmp_path), [1])
    path, ran = tmp_path / "step-000000001", tmp_path / "ran"
    torch.save(Runs(os.mkdir, str(ran)), path / "__0_0.distcp")
    metadata = read_safely(path / ".metadata", ["__0_0.distcp"])
    (place,) = metadata.storage_data.values()
    place.length = (path / "__0_0.distcp").stat().st_size
    (path / ".metadata").write_bytes(pickle.dumps(metadata))
    written = manifest.read(path)
    manifest.write(path, {**written, "files": manifest.measure(path, written["files"])})
    log: list[str] = []
    with pytest.raises(InputError, match="No whole checkpoint"):
        Checkpoints(tmp_path, log=log.append).load_newest(small(0))
    assert "Weights only load failed" in log[0]
    assert not ran.exists()


def test_arguments_that_cannot_be(tmp_path: Path):
    with pytest.raises(InputError, match="keep_last must be a whole number from 1 on, not 0"):
        Checkpoints(tmp_path, keep_last=0)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file cannot hold checkpoints"):
        Checkpoints(tmp_path / "file")
    with pytest.raises(InputError, match="step must be a whole number from 0 on, not -1"):
        Checkpoints(tmp_path).save(-1, {})
