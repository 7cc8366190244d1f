"""The command `genpas semantic-ids`: where vectors come from, what is written, and how bad input ends."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

pytest.importorskip("polars")

from genpas_plugins import SequenceStore
from genpas_plugins.cli import app
from genpas_plugins.cli.semantic_ids import default_cache
from genpas_plugins.semantic_ids import embed
from genpas_plugins.semantic_ids.codebook import SemanticIds

Run = Callable[..., Any]
N = 60
TITLES = [f"{('shampoo', 'lipstick', 'razor')[k % 3]} no. {k}" for k in range(N)]


@pytest.fixture
def genpas(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Return genpas(*arguments), which runs the command in this process, the user's cache in a folder of the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    return lambda *arguments: CliRunner().invoke(app, ["semantic-ids", *map(str, arguments)])


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """60 items with ids s0 … s59, used by 40 users."""
    random = np.random.default_rng(1)
    lengths = random.integers(3, 12, 40)
    values = np.concatenate([np.arange(1, N + 1), random.integers(1, N + 1, lengths.sum())])
    offsets = np.cumsum([0, N, *lengths])
    path = tmp_path / "shop"
    SequenceStore.from_arrays(values, offsets, item_ids=[f"s{k}" for k in range(N)]).save(path)
    return path


@pytest.fixture
def items(tmp_path: Path) -> Path:
    """The items' titles, in another order than the store's."""
    order = np.random.default_rng(2).permutation(N)
    file = tmp_path / "items.parquet"
    pq.write_table(pa.table({"item_id": [f"s{k}" for k in order], "title": [TITLES[k] for k in order]}), file)
    return file


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    """Vectors near one of three directions, by the item's number modulo 3."""
    random = np.random.default_rng(3)
    np.save(tmp_path / "v.npy", np.eye(3, 8)[np.arange(N) % 3] * 5 + random.normal(0, 0.1, (N, 8)))
    return tmp_path / "v.npy"


class Letters:
    """An encoder by the first letter of the title."""

    def encode(self, texts: Sequence[str], **_: Any) -> np.ndarray:
        directions = {"s": 0, "l": 1, "r": 2}
        numbers = np.array([int(text.split()[-1]) for text in texts])
        noise = np.stack([np.sin(numbers), np.cos(numbers), np.sin(numbers * 2)], axis=1) / 10
        return np.eye(3)[[directions[text[0]] for text in texts]] + noise


def refusal(result: Any) -> str:
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    return str(result.stderr.removeprefix("error: ").strip())


def test_help(genpas: Run):
    result = genpas("--help")
    assert result.exit_code == 0 and "--embeddings" in result.stdout and "--json" in result.stdout


def test_own_embeddings_become_ids_a_page_and_a_table(
    genpas: Run, store: Path, vectors: Path, items: Path, tmp_path: Path
):
    pytest.importorskip("faiss")
    out = tmp_path / "ids"
    result = genpas(store, "--embeddings", vectors, "--text", items, "--levels", 2, "--codes", 3, "--out", out)
    assert result.exit_code == 0, result.output
    assert "60 items, 3 codes each" in result.stdout and "items that share theirs" in result.stdout
    ids = SemanticIds.open(out)
    assert ids.item_ids.to_pylist() == [f"s{k}" for k in range(N)]
    first = ids.codes[:, 0]
    assert all(len(set(first[k::3])) == 1 for k in range(3)) and len(set(first[:3])) == 3
    assert ids.origin["method"] == "residual_kmeans" and ids.origin["vectors"] == "v.npy"
    page = (out / "report.html").read_text()
    assert "Semantic IDs of shop" in page and "shampoo no." in page
    assert json.loads((out / "report.json").read_text())["n_items"] == N


def test_texts_are_encoded_once_and_the_ids_are_the_same(
    genpas: Run, store: Path, items: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("faiss")
    loads = []
    monkeypatch.setattr(embed, "_load", lambda model, folder: loads.append(model) or Letters())
    encoder = tmp_path / "encoder"
    encoder.mkdir()
    (encoder / "config.json").write_text("{}")
    arguments = (store, "--text", items, "--encoder", encoder, "--levels", 2, "--codes", 3, "--seed", 5, "--json")
    first = json.loads(genpas(*arguments, "--out", tmp_path / "a").stdout)
    second = json.loads(genpas(*arguments, "--out", tmp_path / "b").stdout)
    assert loads == [str(encoder)]
    assert list(default_cache().iterdir()) and default_cache().is_relative_to(tmp_path)
    a, b = (SemanticIds.open(tmp_path / name) for name in "ab")
    np.testing.assert_array_equal(a.codes, b.codes)
    assert len({tuple(row) for row in a.codes.tolist()}) == N
    assert first["collision_rate"] == second["collision_rate"] and first["origin"]["encoder"] == "encoder"
    groups = [{TITLES[k][0] for k in range(N) if a.codes[k, 0] == code} for code in range(3)]
    assert sorted(map(sorted, groups)) == [["l"], ["r"], ["s"]]


def test_ids_of_what_occurs_together(genpas: Run, store: Path, tmp_path: Path):
    for package in ("faiss", "sklearn"):
        pytest.importorskip(package)
    result = genpas(store, "--collaborative", "--levels", 2, "--codes", 4, "--out", tmp_path / "ids", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["sizes"][:2] == [4, 4] and told["origin"]["vectors"] == "co-occurrence in training"


def test_an_index_of_another_tool(genpas: Run, store: Path, items: Path, tmp_path: Path):
    index = {f"s{k}": [f"<a_{k % 4}>", f"<b_{k // 8}>"] for k in reversed(range(N))}
    (tmp_path / "index.json").write_text(json.dumps(index))
    out = tmp_path / "ids"
    result = genpas(store, "--index", tmp_path / "index.json", "--text", items, "--out", out, "--collisions", "random")
    assert result.exit_code == 0, result.output
    ids = SemanticIds.open(out)
    assert ids.codes[:, :2].tolist() == [[k % 4, k // 8] for k in range(N)]
    assert json.loads((out / "report.json").read_text())["compared_codes"] == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "add --text FILE, or one of"),
        (("--collaborative", "--index", "x.json"), "--collaborative and --index contradict"),
        (("--index", "x.json", "--codes", "16"), "--codes cannot change the finished IDs"),
        (("--collaborative", "--method", "kmeans"), "Did you mean 'residual_kmeans'?"),
        (("--collaborative", "--collisions", "counts"), "Did you mean 'count'?"),
        (("--text", "none.parquet"), "does not exist"),
        (("--embeddings", "none.npy"), "does not exist"),
        (("--index", "none.json"), "none.json"),
        (("--checkpoint", "none.pth"), "does not exist"),
        (("--text", "ITEMS", "--column", "titel"), "Did you mean 'title'?"),
        (("--text", "ITEMS", "--encoder", "./none"), "no folder and no model's name"),
        (("--embeddings", "VECTORS", "--codes", "61"), "60 items cannot fill 61 codes"),
    ],
)
def test_bad_input_is_one_sentence(
    genpas: Run, store: Path, request: pytest.FixtureRequest, arguments: tuple[str, ...], sentence: str
):
    pytest.importorskip("faiss")
    files = {"ITEMS": request.getfixturevalue("items"), "VECTORS": request.getfixturevalue("vectors")}
    out = store.parent / "ids"
    assert sentence in refusal(genpas(store, *(files.get(word, word) for word in arguments), "--out", out))
    assert not out.exists()


def test_an_item_without_text_is_named_unless_allowed(genpas: Run, store: Path, tmp_path: Path):
    file = tmp_path / "few.csv"
    file.write_text("item_id,title\n" + "".join(f"s{k},{TITLES[k]}\n" for k in range(N - 2)))
    told = refusal(genpas(store, "--text", file, "--out", tmp_path / "ids"))
    assert "2 of the store's 60 items ('s58', 's59') have no row" in told


def test_what_stands_under_out_is_not_lost(genpas: Run, store: Path, vectors: Path, tmp_path: Path):
    pytest.importorskip("faiss")
    arguments = (store, "--embeddings", vectors, "--levels", 1, "--codes", 3)
    assert "is the store itself" in refusal(genpas(*arguments, "--out", store))
    assert "holds no semantic IDs" in refusal(genpas(*arguments, "--out", tmp_path, "--overwrite"))
    assert genpas(*arguments, "--out", tmp_path / "ids").exit_code == 0
    assert "--overwrite" in refusal(genpas(*arguments, "--out", tmp_path / "ids"))
    assert genpas(*arguments, "--out", tmp_path / "ids", "--overwrite").exit_code == 0


@pytest.mark.slow
@pytest.mark.skipif("GENPAS_DATA_DIR" not in os.environ, reason="needs GENPAS_DATA_DIR")
def test_letters_published_index_of_beauty(genpas: Run, tmp_path: Path):
    """What LETTER's index file is known to hold: 12,088 different IDs of 12,101, 11,696 different first three codes."""
    beauty = Path(os.environ["GENPAS_DATA_DIR"]) / "beauty"
    prepared = CliRunner().invoke(
        app, ["prepare", str(beauty / "interactions.parquet"), "--order", "position", "--out", str(tmp_path / "store")]
    )
    assert prepared.exit_code == 0, prepared.output
    index, text = beauty / "semantic_ids_letter.json", beauty / "items.parquet"
    result = genpas(tmp_path / "store", "--index", index, "--text", text, "--out", tmp_path / "ids", "--json")
    told = json.loads(result.stdout)
    assert told["distinct"] == 12_088 and told["tree"][2]["nodes"] == 11_696
