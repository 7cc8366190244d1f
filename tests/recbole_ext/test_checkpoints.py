"""Checkpoints: plain files that hold all a trainer needs, refused instead of executed when they are anything else."""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import resource
import signal
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import recbole.quick_start
import recbole.trainer.trainer as trainer_module
import scipy.sparse
import torch
from hypothesis import given
from hypothesis import strategies as st
from recbole.config import Config
from recbole.model.sequential_recommender import SASRec, SASRecF
from recbole.quick_start import load_data_and_model
from recbole.trainer import Trainer
from recbole.utils import EvaluatorType, FeatureType, InputType, ModelType

from genpas_plugins import InputError
from recbole_ext import random_state
from recbole_ext.checkpoints import as_plain, item_vectors, load, restore, save

SAMPLED = {"strategy": "sampled", "alpha": 1, "beta": 0, "gamma": float("-inf")}


@pytest.fixture
def trained(prepare: Callable[..., Any]) -> tuple[Any, Trainer]:
    """Train SASRec for an epoch on drawn pairs."""
    made = prepare(SAMPLED)
    trainer = Trainer(made.config, SASRec(made.config, made.train.dataset))
    trainer.fit(made.train, made.valid)
    return made, trainer


def test_the_file_holds_tensors_and_plain_values_only(trained: tuple[Any, Trainer]):
    made, trainer = trained
    content = torch.load(trainer.saved_model_file, weights_only=True)
    assert content["epoch"] == 0 and content["config"]["final"]["genpas"]["strategy"] == "sampled"
    assert content["config"]["final"]["genpas"]["gamma"] == float("-inf")
    assert content["config"]["final"]["seed"] == made.config["seed"]


def test_evaluate_and_resume_read_it(trained: tuple[Any, Trainer], prepare: Callable[..., Any]):
    made, trainer = trained
    expected = trainer.evaluate(made.test)
    fresh = Trainer(made.config, SASRec(made.config, made.train.dataset))
    assert fresh.evaluate(made.test, model_file=trainer.saved_model_file) == expected
    fresh.resume_checkpoint(trainer.saved_model_file)
    assert fresh.start_epoch == 1
    for name, state in trainer.optimizer.state_dict()["state"].items():
        for key, value in state.items():
            assert torch.equal(value, fresh.optimizer.state_dict()["state"][name][key])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # RecBole leaves its log open
def test_load_data_and_model_brings_everything_back(trained: tuple[Any, Trainer], same: Callable[..., None]):
    made, trainer = trained
    config, model, dataset, train, _valid, test = load_data_and_model(trainer.saved_model_file)
    assert load_data_and_model is recbole.quick_start.quick_start.load_data_and_model
    assert isinstance(config, Config) and isinstance(model, SASRec)
    left_out = {"trained_on"}  # added when training began
    assert {key: config[key] for key in made.config.final_config_dict if key not in left_out} == {
        key: value for key, value in made.config.final_config_dict.items() if key not in left_out
    }
    for field in ("parameters", "model", "model_class", "dataset"):
        assert getattr(config, field) == getattr(made.config, field)
    assert dataset.item_num == made.dataset.item_num and len(test) == len(made.test)
    assert str(config) == str(made.config)
    made.train.sampler.set_epoch(0)
    for a, b in zip(made.train, train, strict=True):
        same(a, b)
    for name, weights in model.state_dict().items():
        assert torch.equal(weights, trainer.model.state_dict()[name])


def test_a_model_with_a_submodule_among_its_other_parameters(prepare: Callable[..., Any]):
    made = prepare(SAMPLED, "SASRecF")
    trainer = Trainer(made.config, SASRecF(made.config, made.train.dataset))
    trainer.fit(made.train, made.valid)
    expected = trainer.evaluate(made.test)
    fresh = Trainer(made.config, SASRecF(made.config, made.train.dataset))
    assert fresh.evaluate(made.test, model_file=trainer.saved_model_file) == expected
    assert any(name.startswith("feature_embed_layer.") for name in trainer.model.state_dict())


def test_the_vectors_of_the_items_of_a_model(trained: tuple[Any, Trainer]):
    made, trainer = trained
    ids, vectors = item_vectors(trainer.saved_model_file)
    best = load(trainer.saved_model_file)["state_dict"]["item_embedding.weight"]
    assert vectors.dtype == np.float32 and len(ids) == len(vectors) == made.dataset.item_num - 1
    for item, vector in zip(ids, vectors, strict=True):
        assert np.array_equal(vector, best[made.dataset.token2id("item_id", item)])


def test_a_model_without_vectors_of_items_and_changed_data_are_refused(trained: tuple[Any, Trainer], tmp_path: Path):
    state = load(trained[1].saved_model_file)
    table = state["state_dict"]["item_embedding.weight"]
    for weights in ({}, {"item_embedding.weight": table[0]}, {"item_embedding.weight": table[:1]}):
        save({**state, "state_dict": weights}, tmp_path / "other.pth")
        with pytest.raises(InputError, match="has no item vectors"):
            item_vectors(tmp_path / "other.pth")
    grown = {**state, "state_dict": {"item_embedding.weight": table[[*range(len(table)), 0]]}}
    for trained_data, whose in ((state["trained_data"], "it names"), (None, "its data now have")):
        save({**grown, "trained_data": trained_data}, tmp_path / "other.pth")
        with pytest.raises(InputError, match=f"vectors of 26 items, but {whose} 25"):
            item_vectors(tmp_path / "other.pth")
    state["config"]["data_path"] = str(tmp_path / "gone")
    save(state, tmp_path / "other.pth")
    assert item_vectors(tmp_path / "other.pth")[0] == item_vectors(trained[1].saved_model_file)[0]
    save({**state, "trained_data": None}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="the data it was trained on cannot be read"):
        item_vectors(tmp_path / "other.pth")


class Bomb:
    """Something that makes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return Path.touch, (self.file,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_pickled_checkpoint_is_refused_and_not_executed(prepare: Callable[..., Any], tmp_path: Path):
    file, trace = tmp_path / "stock.pth", tmp_path / "executed"
    torch.save({"config": Bomb(trace), "state_dict": {}, "epoch": 1}, file, pickle_protocol=4)
    torch.load(file, weights_only=False)
    assert trace.exists(), "the file is dangerous"
    trace.unlink()
    made = prepare(SAMPLED)
    trainer = Trainer(made.config, SASRec(made.config, made.train.dataset))
    for read in (
        load,
        load_data_and_model,
        trainer.resume_checkpoint,
        lambda name: trainer.evaluate(made.test, model_file=name),
    ):
        with pytest.raises(InputError, match=r"stock\.pth cannot be loaded safely.* Train again"):
            read(file)
    assert not trace.exists()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_checkpoint_of_stock_recbole_is_refused(prepare: Callable[..., Any], tmp_path: Path):
    config = prepare().config
    config.yaml_loader = None  # its class cannot be pickled once patched by others
    torch.save({"config": config, "state_dict": {}}, tmp_path / "stock.pth", pickle_protocol=4)
    with pytest.raises(InputError, match=r"holds pickled objects\. RecBole's own checkpoints do"):
        load(tmp_path / "stock.pth")


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"PK\x03\x04", b"\x80\x04}.", b"state_dict: 3\n", pickle.dumps([1]), b"x" * 100],
    ids=repr,
)
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_what_is_no_checkpoint_is_refused(content: bytes, tmp_path: Path):
    (tmp_path / "file.pth").write_bytes(content)
    with pytest.raises(InputError, match=r"file\.pth cannot be loaded"):
        load(tmp_path / "file.pth")


def test_a_truncated_checkpoint_and_a_missing_one_are_refused(trained: tuple[Any, Trainer], tmp_path: Path):
    whole = Path(trained[1].saved_model_file).read_bytes()
    for size in (10, len(whole) // 2, len(whole) - 10):
        (tmp_path / "cut.pth").write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"cut\.pth cannot be loaded safely: it is truncated"):
            load(tmp_path / "cut.pth")
    with pytest.raises(InputError, match=r"none\.pth does not exist"):
        load(tmp_path / "none.pth")


def test_tensors_of_something_else_are_refused(tmp_path: Path):
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(InputError, match=r"list\.pth cannot be loaded"):
        load(tmp_path / "list.pth")


def save_and_die(file: Path) -> None:
    def write_half(content: Any, target: BinaryIO) -> None:
        target.write(b"half")
        os.kill(os.getpid(), signal.SIGKILL)

    torch.save = write_half
    save({"epoch": 2}, file)


def test_a_killed_save_leaves_the_old_checkpoint(tmp_path: Path):
    file = tmp_path / "model.pth"
    save({"epoch": 1}, file)
    process = multiprocessing.get_context("fork").Process(target=save_and_die, args=(file,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert load(file)["epoch"] == 1


def test_a_failed_save_leaves_the_old_checkpoint_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "model.pth"
    save({"epoch": 1}, file)

    def full(content: Any, target: BinaryIO) -> None:
        target.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(
        InputError, match=r"model\.pth cannot be written \(No space left on device\)\. The earlier one is whole"
    ):
        save({"epoch": 2}, file)
    assert load(file)["epoch"] == 1 and [entry.name for entry in tmp_path.iterdir()] == ["model.pth"]


def save_with_little_space(file: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    with pytest.raises(InputError, match=r"model\.pth cannot be written \(File too large\)"):
        save({"epoch": 2, "state_dict": {"weights": torch.ones(100_000)}}, file)


def test_a_full_disk_leaves_the_old_checkpoint_and_ends_in_a_sentence(tmp_path: Path):
    file = tmp_path / "model.pth"
    save({"epoch": 1}, file)
    process = multiprocessing.get_context("fork").Process(target=save_with_little_space, args=(file,))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert load(file)["epoch"] == 1 and [entry.name for entry in tmp_path.iterdir()] == ["model.pth"]


def test_what_cannot_be_stored_is_refused_before_anything_is_written(tmp_path: Path):
    with pytest.raises(InputError, match=r"entry other_parameter\.graph is a Bomb, .* Train with saved=False"):
        save({"other_parameter": {"graph": Bomb(tmp_path)}}, tmp_path / "model.pth")
    assert not list(tmp_path.iterdir())


def test_torch_and_recboles_view_of_it():
    assert trainer_module.torch.load is load and trainer_module.torch.save is random_state.save
    assert torch.load is not load and trainer_module.torch.nn is torch.nn


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    st.sampled_from([*ModelType, *FeatureType, *InputType, *EvaluatorType]),
)
numbers = hnp.from_dtype(np.dtype("f4"), allow_nan=False)
types = st.sampled_from(["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", ">i4", ">f8"])
arrays = types.flatmap(lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)))
sparse = st.builds(
    lambda dense, layout, kind: kind(dense).asformat(layout),
    hnp.arrays(st.sampled_from(["f4", "f8", "i8", "?"]), (3, 4), elements=st.integers(0, 1)),
    st.sampled_from(["csr", "csc", "coo", "lil", "dok"]),
    st.sampled_from([scipy.sparse.csr_matrix, scipy.sparse.csr_array]),
)
keys = st.one_of(st.integers(0, 9), st.text(max_size=3))
values = st.recursive(
    st.one_of(scalars, arrays, sparse, st.sets(st.integers())),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(keys, inner, max_size=3),
        st.dictionaries(keys, inner, max_size=3).map(OrderedDict),
    ),
    max_leaves=6,
)


def assert_equal(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    if scipy.sparse.issparse(a):  # before dict, which a dok_matrix is
        assert a.format == b.format and a.dtype == b.dtype and a.shape == b.shape
        assert np.array_equal(a.toarray(), b.toarray())
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            assert_equal(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_equal(x, y)
    elif isinstance(a, np.ndarray):
        assert a.dtype.newbyteorder("=") == b.dtype and a.shape == b.shape
        assert np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    else:
        assert a == b


@given(value=values)
def test_plain_values_survive_the_file(value: Any, tmp_path_factory: pytest.TempPathFactory):
    file = tmp_path_factory.getbasetemp() / "value.pth"
    torch.save(as_plain(value, "value"), file)
    assert_equal(value, restore(torch.load(file, weights_only=True)))


def test_kinds_that_become_their_plain_kin(tmp_path: Path):
    state = {
        "other_parameter": {
            "ripple_set": defaultdict(list, {np.int64(3): [(1, 2)]}),
            "score": np.float64(0.5),
            "size": torch.Size([2]),
            "kinds": {ModelType.GENERAL},
        }
    }
    save(state, tmp_path / "model.pth")
    loaded = load(tmp_path / "model.pth")["other_parameter"]
    assert loaded == {"ripple_set": {3: [(1, 2)]}, "score": 0.5, "size": (2,), "kinds": {ModelType.GENERAL}}
    assert type(loaded["score"]) is float and type(next(iter(loaded["ripple_set"]))) is int
