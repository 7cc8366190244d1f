"""The command `genpas regenerate`: stages, their files reused, the store it makes, and how bad input ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("torch")

from genpas_plugins import SequenceStore
from genpas_plugins.cli import app
from genpas_plugins.neural.dr4sr import stages

Run = Callable[..., Any]
QUICK = ("--epochs", 2, "--dimension", 8, "--vectors", "random", "--memories", 2)


@pytest.fixture
def genpas() -> Run:
    """Return genpas(*arguments), which runs the command in this process."""
    return lambda *arguments: CliRunner().invoke(app, ["regenerate", *map(str, arguments)])


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Thirty users of twenty items."""
    random = np.random.default_rng(1)
    lengths = random.integers(3, 12, 30)
    path = tmp_path / "shop"
    SequenceStore.from_arrays(
        random.integers(1, 21, lengths.sum()), np.cumsum([0, *lengths]), n_items=20, user_ids=np.arange(100, 130)
    ).save(path)
    return path


def refusal(result: Any) -> str:
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    return str(result.stderr.removeprefix("error: ").strip())


def test_help(genpas: Run):
    result = genpas("--help")
    assert result.exit_code == 0 and "--gamma" in result.stdout and "--stage" in result.stdout


def test_a_store_is_made_and_counted(genpas: Run, store: Path, tmp_path: Path):
    out = tmp_path / "new"
    result = genpas(store, "--out", out, *QUICK, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    made = SequenceStore.open(out)
    origin = made.kinds()
    assert [report["origin"][name]["sequences"] for name in report["origin"]] == np.bincount(origin).tolist()
    train = made.leave_last_out().train
    assert sum(counts["training_pairs"] for counts in report["origin"].values()) == train.n_pairs
    assert report["patterns"] == (origin == 1).sum() and report["regenerated"]["distinct"] == (origin == 2).sum()
    assert made.user_ids.to_pylist()[:30] == list(range(100, 130))
    assert report["regenerator"]["epochs"] == 2 and len(report["regenerator"]["use"]) == 2
    assert {file.name for file in (tmp_path / "new.work").iterdir()} == {
        "patterns.npz", "regenerator.pt", "regenerated.npz",
    }  # fmt: skip
    text = genpas(store, "--out", tmp_path / "again", "--work", tmp_path / "new.work", *QUICK)
    assert text.exit_code == 0 and "regenerated" in text.stdout and "foreign" in text.stdout


def test_stages_one_by_one_end_where_one_run_does(
    genpas: Run, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert genpas(store, "--out", whole, *QUICK).exit_code == 0
    for stage, files in (("mine", 1), ("train", 2), ("infer", 3)):
        result = genpas(store, "--out", parts, "--stage", stage, *QUICK)
        assert result.exit_code == 0 and not parts.exists()
        assert len(list((tmp_path / "parts.work").iterdir())) == files

    def never(*arguments: Any, **settings: Any) -> None:
        raise AssertionError("made again")

    for name in ("mine_patterns", "regenerate"):
        monkeypatch.setattr(stages, name, never)
    assert genpas(store, "--out", parts, *QUICK).exit_code == 0
    one, other = SequenceStore.open(whole), SequenceStore.open(parts)
    assert np.array_equal(one.values, other.values) and np.array_equal(one.offsets, other.offsets)


def test_files_of_other_settings_are_not_used(genpas: Run, store: Path, tmp_path: Path):
    out = ("--out", tmp_path / "new")
    assert genpas(store, *out, *QUICK, "--stage", "infer").exit_code == 0
    assert "gamma changed" in refusal(genpas(store, *out, *QUICK, "--gamma", 0.5))
    assert "min_frequency changed" in refusal(genpas(store, *out, *QUICK, "--min-frequency", 3))
    assert "Ask for 2 epochs" in refusal(genpas(store, *out, *QUICK[2:], "--epochs", 3))
    assert "shape changed" in refusal(genpas(store, *out, *QUICK[:-2], "--memories", 3))
    (tmp_path / "new.work" / "patterns.npz").write_bytes(b"PK nothing")
    assert "damaged" in refusal(genpas(store, *out, *QUICK))


def test_own_vectors(genpas: Run, store: Path, tmp_path: Path):
    pytest.importorskip("polars")
    np.save(tmp_path / "v.npy", np.random.default_rng(0).normal(size=(20, 6)))
    given = ("--embeddings", tmp_path / "v.npy", "--epochs", 1, "--stage", "train")
    assert "--dimension 6" in refusal(genpas(store, "--out", tmp_path / "a", *given))
    assert genpas(store, "--out", tmp_path / "a", *given, "--dimension", 6).exit_code == 0
    np.save(tmp_path / "v.npy", np.ones((20, 6)))
    assert "vectors changed" in refusal(genpas(store, "--out", tmp_path / "a", *given, "--dimension", 6))


def test_vectors_from_cooccurrence(genpas: Run, store: Path, tmp_path: Path):
    pytest.importorskip("sklearn")
    arguments = (store, "--out", tmp_path / "a", "--epochs", 1, "--stage", "train")
    assert "20 dimensions" in refusal(genpas(*arguments))
    assert genpas(*arguments, "--dimension", 8).exit_code == 0


def test_bad_input(genpas: Run, store: Path, tmp_path: Path):
    out = ("--out", tmp_path / "new")
    assert "Did you mean 'infer'?" in refusal(genpas(store, *out, "--stage", "infr"))
    assert "probability" in refusal(genpas(store, *out, "--gamma", 2))
    assert "'random'" in refusal(genpas(store, *out, "--vectors", "randm"))
    assert "store itself" in refusal(genpas(store, "--out", store))
    assert "holds no sequence store" in refusal(genpas(tmp_path / "none", *out))
    (tmp_path / "new").mkdir()
    assert "holds no sequence store" in refusal(genpas(store, *out))
    short = tmp_path / "short"
    SequenceStore.from_arrays([1, 2], [0, 2]).save(short)
    assert "No training pair" in refusal(genpas(short, "--out", tmp_path / "b"))
    lone = tmp_path / "lone"
    SequenceStore.from_arrays([1, 2, 3, 4], [0, 4]).save(lone)
    assert "nothing to train on" in refusal(genpas(lone, "--out", tmp_path / "b", *QUICK))
    assert not (tmp_path / "b").exists()


def test_a_regenerated_store_is_refused_before_any_work(genpas: Run, store: Path, tmp_path: Path):
    assert genpas(store, "--out", tmp_path / "new", *QUICK).exit_code == 0
    assert "already" in refusal(genpas(tmp_path / "new", "--out", tmp_path / "newer", *QUICK))
    assert not (tmp_path / "newer.work").exists()
