"""Files that an earlier version wrote are read today, with the same values (tests/data/written_before/README.md)."""

from __future__ import annotations

import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from genpas_plugins import InputError, SequenceStore
from genpas_plugins.cli import app

HERE = Path(__file__).parent / "data" / "written_before"
EXPECTED = json.loads((HERE / "expected.json").read_text("utf-8"))
WRITTEN_IN = "/tmp/written_before"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Unpack the files into the working folder; RecBole reads no arguments of pytest's."""
    with tarfile.open(HERE / "files.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tests"])
    monkeypatch.setattr("psutil.cpu_percent", lambda *_, **__: 0.0, raising=False)
    return tmp_path


def genpas(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def sequences(store: SequenceStore) -> list[list[str]]:
    names = np.array(store.item_ids.to_pylist())
    parts = np.split(store.values, store.offsets[1:-1])
    return [names[np.asarray(part) - 1].tolist() for part in parts]


def users_of(csv: Path) -> dict[str, list[str]]:
    users: dict[str, list[str]] = {}
    for line in csv.read_text().splitlines()[1:]:
        user, item, _ = line.split(",")
        users.setdefault(user, []).append(item)
    return users


def test_a_store(files: Path):
    store = SequenceStore.open(files / "store")
    users = users_of(files / "interactions.csv")
    assert dict(zip(store.user_ids.to_pylist(), sequences(store), strict=True)) == users
    assert store.columns["timestamp"][:4].tolist() == [0, 10, 20, 30]
    genpas("inspect", files / "store", "--verify")


def test_a_store_with_added_sequences(files: Path):
    plain, added = SequenceStore.open(files / "store"), SequenceStore.open(files / "regenerated")
    assert added.n_sequences > plain.n_sequences
    assert sequences(added)[: plain.n_sequences] == sequences(plain)
    split, original = added.leave_last_out(), plain.leave_last_out()
    for part in ("validation", "test"):
        ours, theirs = getattr(split, part).last_pairs(), getattr(original, part).last_pairs()
        assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
    # Added sequences train whole, the original ones without their last two items.
    assert split.train.lengths().sum() == original.train.lengths().sum() + added.n_interactions - plain.n_interactions
    genpas("inspect", files / "regenerated", "--verify")


def test_semantic_ids(files: Path):
    from genpas_plugins.semantic_ids.codebook import SemanticIds

    ids = SemanticIds.open(files / "semantic_ids")
    with np.load(files / "semantic_ids" / "codes.npz") as arrays:
        assert any(np.array_equal(ids.codes, arrays[name]) for name in arrays)
    assert sorted(ids.item_ids.to_pylist()) == [f"i{item:02}" for item in range(20)]
    assert ids.sizes == (4, 4, 5)


def test_the_stages_of_a_regeneration_are_used_again(files: Path):
    pytest.importorskip("torch")
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in (files / "stages").iterdir()}
    small = ("--epochs", 2, "--dimension", 4, "--memories", 2, "--max-history", 6, "--vectors", "random")
    genpas("regenerate", files / "store", "--out", "again", "--work", files / "stages", *small)
    after = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in (files / "stages").iterdir()}
    assert after == before
    again, written = SequenceStore.open("again"), SequenceStore.open(files / "regenerated")
    assert sequences(again) == sequences(written)
    assert {name: column.tolist() for name, column in again.columns.items()} == {
        name: column.tolist() for name, column in written.columns.items()
    }


@pytest.fixture
def recbole_data(files: Path) -> Path:
    """Export the store for RecBole, and let the checkpoints name this place."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("recbole")
    genpas("export-recbole", files / "store", "--out", files / "dataset", "--name", "mine")
    for checkpoint in [*files.glob("*.pth"), files / "torchrec_run" / "model.pth"]:
        content = torch.load(checkpoint, weights_only=True)
        final = content["config"]["final"]
        final["data_path"] = final["data_path"].replace(WRITTEN_IN, str(files))
        torch.save(content, checkpoint)
    return files


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # RecBole leaves its log open
@pytest.mark.parametrize("name", [name for name in EXPECTED if name.endswith(".pth")])
def test_a_checkpoint_of_recbole_scores_as_before_and_is_resumed(name: str, recbole_data: Path):
    import recbole_ext  # noqa: F401 – before recbole

    if name == "tiger.pth":
        pytest.importorskip("transformers")
    import torch
    from recbole.quick_start import load_data_and_model
    from recbole.utils import get_trainer

    config, model, _, train, valid, test = load_data_and_model(str(recbole_data / name))
    model.eval()
    batch = next(iter(test))[0]
    with torch.no_grad():
        scores = model.full_sort_predict(batch).view(len(batch), -1)[:2]
    expected = torch.tensor(EXPECTED[name])
    assert torch.allclose(scores, expected, rtol=1e-4, atol=1e-5)

    config["epochs"] += 1
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    if config["genpas"].strategy == "sampled":
        with pytest.raises(InputError, match=r"training under draws 1, but this version .* under draws 2. Train anew"):
            trainer.resume_checkpoint(str(recbole_data / name))
        return
    trainer.resume_checkpoint(str(recbole_data / name))
    best = torch.load(recbole_data / name, weights_only=True)["epoch"]
    assert trainer.start_epoch == best + 1
    trainer.fit(train, valid, saved=False, show_progress=False)
    assert list(trainer.train_loss_dict) == list(range(best + 1, config["epochs"]))


def test_recommendations_from_a_checkpoint(recbole_data: Path):
    import pyarrow.parquet as pq

    genpas("recommend", "--checkpoint", recbole_data / "sasrec_sampled.pth", "--top-k", 3, "--out", "best.parquet")
    assert pq.read_table("best.parquet").num_rows == 30 * 3


def test_a_sampled_run_of_torchrec_is_not_resumed_under_other_draws(recbole_data: Path, capfd: pytest.CaptureFixture):
    pytest.importorskip("torchrec")
    from torchrec_ext import train

    folder = recbole_data / "torchrec_run"
    saved = json.loads((folder / "config.json").read_text())
    section: dict[str, Any] = {name: saved[name] for name in ("genpas", "torchrec", "load_col")}
    Path("run.yaml").write_text(json.dumps({**section, "data_path": str(recbole_data / "dataset")}))
    arguments = ["--config", str(HERE / "sasrec.yaml"), "--config", "run.yaml", "--out", str(folder)]
    with pytest.raises((InputError, SystemExit)) as refused:
        train.main([*arguments, "--model", "SASRec", "--dataset", "mine", "epochs=2"])
    said = str(refused.value) + capfd.readouterr().err
    assert "training under draws 1, but this version draws a sampled policy under draws 2. Train anew" in " ".join(
        said.split()
    )


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_model_of_a_run_of_torchrec_is_loaded(recbole_data: Path):
    import recbole_ext  # noqa: F401 – before recbole

    pytest.importorskip("torchrec")
    from recbole.quick_start import load_data_and_model

    _, model, *_ = load_data_and_model(str(recbole_data / "torchrec_run" / "model.pth"))
    assert model.item_embedding.weight.shape == (21, 8)


def test_a_study_is_read_and_nothing_is_trained_again(files: Path):
    pytest.importorskip("optuna")
    pytest.importorskip("recbole")
    before = json.loads((files / "search" / "search.json").read_text())
    genpas(
        *("search", files / "store", "--out", files / "search", "--train", "--model", "SASRec"),
        *("--config", HERE / "sasrec.yaml", "--epochs", 1, "--pairs-per-epoch", 64, "--seed", 7, "--pruner", "none"),
        *("--alpha", "0,1", "--beta", "0", "--gamma", "0,1", "--keep", 1.0, "--by", "published"),
    )
    after = json.loads((files / "search" / "search.json").read_text())
    assert after["study"] == before["study"] and after["chosen"] == before["chosen"]
    assert not (files / "search" / "checkpoints").exists()
