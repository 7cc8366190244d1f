"""Checkpoints that load without running code: tensors and plain values only, written atomically.

Stock RecBole pickles its Config object into the checkpoint, which current torch refuses to load, with reason. Here the
configuration is stored as plain values and rebuilt on loading, so `torch.load(…, weights_only=True)` reads the file.
"""

from __future__ import annotations

import contextlib
import pickle
from collections import OrderedDict
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import enum_type, get_model, init_logger, init_seed

from genpas_plugins import InputError
from genpas_plugins.support.atomic import replaced_file

_KIND = "__kind__"

# What torch raises for files that are cut off, of another kind, or hold more than tensors and plain values.
_BROKEN = (pickle.UnpicklingError, RuntimeError, EOFError, OSError, LookupError, AttributeError, TypeError, ValueError)


def save(state: dict[str, Any], file: str | Path, **_: Any) -> None:
    """Save a trainer's state under `file`, complete or not at all.

    Raises InputError if the state holds an object that cannot be stored as tensors and plain values.
    """
    state = {**state, "other_parameter": _without_modules(state.get("other_parameter") or {})}
    content = {
        key: _plain_config(value) if isinstance(value, Config) else plain(value, key) for key, value in state.items()
    }
    with replaced_file(Path(file)) as temporary:
        torch.save(content, temporary)


def load(file: str | Path, map_location: Any = None, **_: Any) -> dict[str, Any]:
    """Load a checkpoint; its "config" entry is a RecBole Config again.

    Raises InputError for a missing or broken file, and for one with pickled objects, such as stock RecBole writes.
    """
    path = Path(file)
    if not path.is_file():
        raise InputError(f"{path} does not exist: no checkpoint to load.")
    with path.open("rb") as stream:
        try:
            content = torch.load(stream, map_location=map_location, weights_only=True)
            state: dict[str, Any] = {key: restored(value) for key, value in content.items()}
        except _BROKEN as error:
            raise InputError(
                f"{path} is no checkpoint that loads safely: it is truncated, or holds pickled objects, as RecBole's "
                "own checkpoints do. Train again with recbole_ext imported to get one that loads."
            ) from error
    if "config" in state:
        state["config"] = _config(state["config"])
    return state


def load_data_and_model(model_file: str | Path) -> tuple[Any, ...]:
    """Load a checkpoint with the data it was trained on: RecBole's function of that name.

    Returns (config, model, dataset, train_data, valid_data, test_data).
    """
    checkpoint = load(model_file)
    init_logger(checkpoint["config"])
    return data_and_model(checkpoint)


def data_and_model(checkpoint: dict[str, Any]) -> tuple[Any, ...]:
    """Return what `load_data_and_model` does, for the content of a checkpoint that `load` gave."""
    config = checkpoint["config"]
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    loaders = data_preparation(config, dataset)
    init_seed(config["seed"], config["reproducibility"])
    model_class = get_model(config["model"])
    if hasattr(model_class, "of_state"):  # TIGER's shape depends on the semantic IDs, which are in its state
        model = model_class.of_state(config, loaders[0]._dataset, checkpoint["state_dict"])
    else:
        model = model_class(config, loaders[0]._dataset)
    model = model.to(config["device"])
    model.load_state_dict(checkpoint["state_dict"])
    model.load_other_parameter(checkpoint.get("other_parameter"))
    return config, model, dataset, *loaders


def plain(value: Any, where: str) -> Any:  # noqa: PLR0911 – one return a type is the clearest dispatch
    """Turn a value into tensors and plain values that `restored` turns back. Raises InputError where that fails."""
    if isinstance(value, np.generic):  # np.float64 is a float, but pickled as numpy's own class
        return value.item()
    if value is None or isinstance(value, bool | int | float | str | torch.Tensor | torch.device):
        return value
    if scipy.sparse.issparse(value):  # before dict, which a dok_matrix is
        matrix = value.tocsr()
        parts = [plain(part, where) for part in (matrix.data, matrix.indices, matrix.indptr)]
        is_array = isinstance(value, scipy.sparse.sparray)
        return {_KIND: "sparse", "value": [*parts, list(matrix.shape), value.format, is_array]}
    if isinstance(value, dict):
        kind = OrderedDict if isinstance(value, OrderedDict) else dict
        return kind((plain(key, where), plain(entry, f"{where}.{key}")) for key, entry in value.items())
    if isinstance(value, list | tuple):
        sequence = [plain(entry, where) for entry in value]
        return sequence if isinstance(value, list) else tuple(sequence)
    if isinstance(value, set):
        return {_KIND: "set", "value": [plain(entry, where) for entry in value]}
    if isinstance(value, Enum) and hasattr(enum_type, type(value).__name__):
        return {_KIND: "enum", "value": [type(value).__name__, value.name]}
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return {_KIND: "array", "value": torch.from_numpy(value.astype(value.dtype.newbyteorder("="), order="C"))}
    raise InputError(
        f"The checkpoint's entry {where} is a {type(value).__name__}, which cannot be stored as tensors and plain "
        "values. Train with saved=False, or leave it out of the model's other_parameter_name."
    )


def restored(value: Any) -> Any:  # noqa: PLR0911 – as in `plain`
    """Turn what `plain` made back into what it was."""
    if isinstance(value, list | tuple):
        return type(value)(restored(entry) for entry in value)
    if not isinstance(value, dict):
        return value
    kind = value.get(_KIND)
    if kind is None:
        return type(value)((key, restored(entry)) for key, entry in value.items())
    content = value["value"]
    if kind == "set":
        return set(restored(content))
    if kind == "enum":
        return getattr(enum_type, content[0])[content[1]]
    if kind == "array":
        return content.cpu().numpy()
    data, indices, indptr, shape, layout, is_array = (restored(part) for part in content)
    compressed = scipy.sparse.csr_array if is_array else scipy.sparse.csr_matrix
    return compressed((data, indices, indptr), shape=tuple(shape)).asformat(layout)


def _without_modules(parameters: dict[str, Any]) -> dict[str, Any]:
    # SASRecF and others name a submodule here: it is made with the model, and its weights are in the state_dict.
    return {name: value for name, value in parameters.items() if not isinstance(value, torch.nn.Module)}


def _plain_config(config: Config) -> Any:
    # Absolute, so that the checkpoint finds its data from any directory.
    final = {**config.final_config_dict, "data_path": str(Path(config["data_path"]).absolute())}
    return plain({"final": final, "parameters": config.parameters}, "config")


def _config(content: dict[str, Any]) -> Config:
    """Rebuild a Config without reading files or the command line again."""
    config = Config.__new__(Config)
    config.parameters = content["parameters"]
    config.yaml_loader = config._build_yaml_loader()
    config.file_config_dict = config.variable_config_dict = config.cmd_config_dict = {}
    config.external_config_dict = config.internal_config_dict = {}
    config.final_config_dict = content["final"]
    config.model = content["final"]["model"]
    with contextlib.suppress(ValueError, ImportError):  # a model of the user's own: RecBole does not find it by name
        config.model_class = get_model(config.model)
    config.dataset = content["final"]["dataset"]
    return config
