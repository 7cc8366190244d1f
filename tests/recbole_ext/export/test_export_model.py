"""An exported model recommends what the model itself recommends, in a process without this library and torch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from recbole.quick_start import run_recbole
from typer.testing import CliRunner

from genpas_plugins import InputError
from genpas_plugins.cli import app
from recbole_ext.checkpoints import data_and_model, load
from recbole_ext.export.export_model import export_model
from recbole_ext.export.model_folder import EXPORT, load_model
from recbole_ext.export.vector_index import build_index, recall
from recbole_ext.recommend import recommend

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytest.importorskip("faiss")

GENPAS = {"strategy": "sampled", "alpha": 1, "beta": 0, "gamma": float("-inf"), "pairs_per_epoch": 96}
TIGER = {"levels": 2, "codes": 4, "d_model": 8, "num_heads": 2, "head_size": 4, "d_ff": 8, "encoder_layers": 1,
         "decoder_layers": 1, "beams": 25, "user_buckets": 7}  # fmt: skip
SMALL = {"hidden_size": 8, "inner_size": 8, "n_layers": 1, "n_heads": 1, "embedding_size": 8, "num_layers": 1}


@pytest.fixture(scope="session")
def trained(settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return `trained(model)`, a checkpoint of a model trained for an epoch on `tiny`."""

    def of(model: str) -> Path:
        folder = tmp_path_factory.mktemp("saved")
        more = {**(TIGER if model == "TIGER" else SMALL), "genpas": GENPAS, "checkpoint_dir": str(folder)}
        run_recbole(model, "tiny", config_dict={**settings, **more})
        return next(folder.glob(f"{model}-*.pth"))

    return of


def printed(folder: Path, *arguments: str) -> list[tuple[str, float]]:
    """Run the folder's own script; -I hides this library, which the script must not need."""
    command = [sys.executable, "-I", str(folder / "top_items.py"), str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    return [(item, float(score)) for item, score in rows]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["SASRec", "GRU4Rec", "TIGER"])
def test_the_script_prints_what_the_model_recommends(
    trained: Callable[[str], Path], model: str, data_path, tmp_path: Path
):
    checkpoint, folder = trained(model), tmp_path / "exported"
    facts = export_model(checkpoint, folder)
    EXPORT.verify(folder)
    assert "import torch" not in (script := (folder / "top_items.py").read_text()) and "genpas" not in script
    recommend(checkpoint, tmp_path / "own.parquet", top_k=10)
    rows = pq.read_table(tmp_path / "own.parquet").to_pylist()
    users = pq.read_table(folder / "users.parquet")["user_id"].to_pylist()
    for user in ("u12", "u03", "u13"):  # the longest, a middle and the shortest history
        lines = [line.split("\t") for line in (data_path / "tiny/tiny.inter").read_text().splitlines()[1:]]
        history = [line[1] for line in sorted((line for line in lines if line[0] == user), key=lambda x: float(x[-1]))]
        number = [str(users.index(user) + 1)] if model == "TIGER" else []
        found = printed(folder, *number, *history)
        own = [(row["item_id"], row["score"]) for row in rows if row["user_id"] == user]
        assert [item for item, _ in found] == [item for item, _ in own]
        np.testing.assert_allclose([score for _, score in found], [score for _, score in own], rtol=1e-4, atol=1e-5)
    # The weights, settings and card.
    content = load_model(folder, data_path)
    restored = data_and_model(content)[1].state_dict()
    for name, tensor in load(checkpoint)["state_dict"].items():
        assert np.array_equal(restored[name].numpy(), tensor.numpy())
    card = (folder / "README.md").read_text()
    assert "| strategy | sampled |" in card and "| gamma | -inf |" in card
    assert str(data_path) not in card + (folder / "config.json").read_text()
    assert json.loads((folder / "export.json").read_text())["version"] == 1
    if model != "TIGER":
        assert (facts["index"], facts["recall_at_10"]) == ("flat", 1.0)
        vectors = pq.read_table(folder / "users.parquet")["vector"].combine_chunks().flatten().to_numpy()
        assert vectors.shape == (len(users) * 8,)


def test_a_model_whose_scores_are_no_product_is_refused(trained: Callable[[str], Path], tmp_path: Path):
    result = CliRunner().invoke(app, ["export", str(trained("NPE")), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "NPE cannot be exported: " in result.output
    assert not (tmp_path / "out").exists()


def test_a_folder_of_another_kind_or_version_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"holds no exported model: export\.json is missing"):
        load_model(tmp_path, tmp_path)
    (tmp_path / "export.json").write_text('{"magic": "genpas-exported-model", "version": 2}')
    with pytest.raises(InputError, match="format version 2; this release reads version 1"):
        load_model(tmp_path, tmp_path)


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf"])
def test_recall_is_the_share_of_the_exact_best(kind: str):
    rng = np.random.default_rng(0)
    vectors, users = (rng.normal(size=(n, 6)).astype(np.float32) for n in (400, 30))
    chosen, index = build_index(vectors, kind)
    found = index.search(users, 10)[1]
    exact = np.argsort(-users @ vectors.T, axis=1)[:, :10]
    by_hand = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, exact, strict=True)])
    assert chosen == kind
    assert recall(index, vectors, users) == pytest.approx(by_hand)
    assert by_hand == 1 if kind == "flat" else by_hand > 0.5
    index.reset()
    index.add(vectors[:1])
    assert recall(index, vectors, users) < 0.11
