"""Shared by the tests of the RecBole adapter: a small data set with every kind of column, and RecBole prepared on it.

The data set `tiny` has 40 users of 1 to 13 interactions, string ids, times that tie and times that tie only in float32,
rows in no order, and float, token-sequence and float-sequence columns beside item and user features.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

if TYPE_CHECKING:
    from recbole.data.interaction import Interaction

collect_ignore_glob = []
if importlib.util.find_spec("recbole"):
    importlib.import_module("recbole_ext")  # before any test file imports recbole.quick_start
else:
    collect_ignore_glob.append("test_*.py")  # without RecBole there is nothing to adapt


class Prepared(NamedTuple):
    """What RecBole makes of a configuration before it trains."""

    config: Any
    dataset: Any
    train: Any
    valid: Any
    test: Any


@pytest.fixture(scope="session", autouse=True)
def _one_quiet_thread() -> Iterator[None]:
    """Use one thread a test process, and an empty command line: RecBole's Config reads pytest's otherwise."""
    import torch

    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["tests"])
        yield


@pytest.fixture(autouse=True)
def _in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RecBole writes ./log, ./log_tensorboard and ./saved; and measures the processor's load for a second a run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("psutil.cpu_percent", lambda *_, **__: 0.0)


@pytest.fixture(scope="session")
def data_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the data set `tiny` and return the directory that RecBole calls data_path."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(5)
    rows = []
    for user in range(40):
        # float32 keeps times of this size to 64 seconds: gaps of 0 tie always, gaps of 7 in float32 only.
        gaps = rng.choice([0, 7, 7, 500], size=1 + user % 13)
        time = 881250949 + int(rng.integers(10_000)) + np.cumsum(gaps)
        for when in time:
            tags = " ".join(rng.choice(list("abcdef"), size=rng.integers(1, 4)))
            weights = " ".join(f"{w:.2f}" for w in rng.random(rng.integers(1, 4)))
            rows.append(f"u{user:02}\ti{rng.integers(25):02}\t{rng.integers(1, 6)}\t{tags}\t{weights}\t{when}")
    rng.shuffle(rows)
    header = "user_id:token\titem_id:token\trating:float\ttags:token_seq\tweights:float_seq\ttimestamp:float"
    items = [f"i{i:02}\t{i / 7:.3f}\t{1990 + i % 5}\tc{i % 3} d{i % 4}" for i in range(25)]
    users = [f"u{u:02}\t{20 + u}\t{'MF'[u % 2]}" for u in range(40)]
    directory = root / "tiny"
    directory.mkdir()
    for suffix, lines in {
        "inter": [header, *rows],
        "item": ["item_id:token\tprice:float\trelease_year:token\tclass:token_seq", *items],
        "user": ["user_id:token\tage:token\tgender:token", *users],
    }.items():
        (directory / f"tiny.{suffix}").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="session")
def settings(data_path: Path) -> dict[str, Any]:
    """Small settings for any model on `tiny`."""
    return {
        "data_path": str(data_path),
        "load_col": {
            "inter": ["user_id", "item_id", "rating", "tags", "weights", "timestamp"],
            "item": ["item_id", "price", "release_year", "class"],
            "user": ["user_id", "age", "gender"],
        },
        "train_neg_sample_args": None,
        "MAX_ITEM_LIST_LENGTH": 5,
        "train_batch_size": 32,
        "eval_batch_size": 64,
        "epochs": 1,
        "seed": 7,
        "shuffle": False,
        "show_progress": False,
        "state": "ERROR",
        "hidden_size": 8,
        "inner_size": 8,
        "embedding_size": 8,
        "n_layers": 1,
    }


@pytest.fixture(scope="session")
def prepare(settings: dict[str, Any]) -> Callable[..., Prepared]:
    """Return `prepare(genpas, model="SASRec", dataset="tiny", **settings)`: configuration, data set and loaders.

    The loss is CE; `loss_type="BPR"` brings RecBole's default of one uniform negative.
    """
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import init_seed

    def of(genpas: Any = None, model: Any = "SASRec", dataset: str = "tiny", **changes: Any) -> Prepared:
        given = {**settings, **changes}
        if changes.get("loss_type") == "BPR":
            given.setdefault("train_neg_sample_args", None)
            given["train_neg_sample_args"] = given["train_neg_sample_args"] or {"distribution": "uniform"}
        if genpas is not None:
            given["genpas"] = genpas
        config = Config(model, dataset, config_dict=given)
        init_seed(config["seed"], config["reproducibility"])
        data = create_dataset(config)
        return Prepared(config, data, *data_preparation(config, data))

    return of


@pytest.fixture(scope="session")
def same() -> Callable[[Interaction, Interaction], None]:
    """Return `same(a, b)`, which asserts that two batches have the same columns, types and bits, in the same order."""
    import torch

    def check(a: Interaction, b: Interaction) -> None:
        assert a.columns == b.columns
        for column in a.columns:
            assert a[column].dtype == b[column].dtype, column
            assert torch.equal(a[column], b[column]), column

    return check


@pytest.fixture(scope="session")
def same_evaluation(same: Callable[[Interaction, Interaction], None]) -> Callable[[Any, Any], None]:
    """Return `same_evaluation(a, b)`, which asserts that two evaluation loaders yield the same under the same seed."""
    import torch
    from recbole.utils import init_seed

    def check(a: Any, b: Any) -> None:
        batches = []
        for loader in (a, b):
            init_seed(3, True)
            batches.append(list(loader))
        assert len(batches[0]) == len(batches[1])
        for (data, *rest), (other, *other_rest) in zip(*batches, strict=True):
            same(data, other)
            for x, y in zip(rest, other_rest, strict=True):
                assert x is y is None or torch.equal(torch.as_tensor(x), torch.as_tensor(y))

    return check


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], list[tuple[int, Any]]]:
    """Return `drawn(loader)`: a list that receives (epoch, pairs) of every batch that the loader draws from now on."""

    def of(loader: Any) -> list[tuple[int, Any]]:
        record: list[tuple[int, Any]] = []
        original = loader.stream.batch

        def batch(epoch: int, indices: Any, max_length: int) -> Any:
            record.append((epoch, np.stack(loader.stream.pairs(epoch, indices))))
            return original(epoch, indices, max_length)

        monkeypatch.setattr(loader.stream, "batch", batch)
        return record

    return of


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Return `calls(*classes)`: a list that gets a class's name whenever an object of it is called."""

    def of(*classes: Any) -> list[str]:
        called: list[str] = []
        for kind in classes:

            def call(self: Any, *given: Any, original: Any = kind.__call__, name: str = kind.__name__) -> Any:
                called.append(name)
                return original(self, *given)

            monkeypatch.setattr(kind, "__call__", call)
        return called

    return of
