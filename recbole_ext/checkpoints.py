"""The checkpoint of a RecBole training: tensors and plain values that load without running code.

RecBole pickles its Config object into the checkpoint. Current torch refuses such a file. This module stores the
configuration as plain values and rebuilds it on loading. This module alone knows the format.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import enum_type, get_model, init_logger, init_seed

from genpas_plugins.neural import checkpoint_file
from genpas_plugins.settings.base import Settings
from genpas_plugins.settings.genpas import GenPASConfig
from genpas_plugins.settings.mixing import MixingConfig
from genpas_plugins.settings.personaliser import PersonaliserConfig
from genpas_plugins.support.errors import InputError
from recbole_ext import safe_input

_KIND = "__kind__"
_ENUMS: dict[str, Any] = {
    name: kind
    for name, kind in vars(enum_type).items()
    if isinstance(kind, type) and kind.__module__ == enum_type.__name__
}
_ITEM_TABLE = "item_embedding.weight"


def save(state: dict[str, Any], file: str | Path, **_: Any) -> None:
    """Save a trainer's state atomically.

    Parameters
    ----------
    state : what RecBole's trainer stores: its Config, counters, weights, optimizer and the model's other parameters
    file : the file; it is replaced

    Raises
    ------
    InputError
        If the state holds an object that cannot be stored as tensors and plain values.
    """
    state = {**state, "other_parameter": _without_modules(state.get("other_parameter") or {})}
    content = {
        key: plain_config(value) if isinstance(value, Config) else as_plain(value, key) for key, value in state.items()
    }
    trained_data = vars(state["config"]).get("trained_data") if isinstance(state.get("config"), Config) else None
    if trained_data is not None:  # what `growth` needs to go on from this file with more data
        content["trained_data"] = trained_data
    checkpoint_file.write(content, file)


def load(file: str | Path, map_location: Any = None, **_: Any) -> dict[str, Any]:
    """Load the state that `save` saved; its "config" is a RecBole Config again.

    Parameters
    ----------
    file : the checkpoint
    map_location : device for the tensors; see `torch.load`

    Returns
    -------
    dict
        The state.

    Raises
    ------
    InputError
        If the file is missing or damaged. If it holds pickled objects as RecBole's own checkpoints do.
    """
    return checkpoint_file.read(
        file,
        _state,
        advice="RecBole's own checkpoints do. Train again with recbole_ext imported to get one that loads.",
        map_location=map_location,
    )


def item_vectors(file: str | Path) -> tuple[list[str], NDArray[np.float32]]:
    """Return the ids of the items that a model was trained on and its vectors for them.

    Parameters
    ----------
    file : a checkpoint. It names its items if it was trained with a genpas key. Otherwise its data are read again
        because RecBole numbers items as it reads them.

    Returns
    -------
    ids : list of str
        Item ids as the source has them.
    vectors : float32 [n_items, d]
        Row i is the vector of item ids[i].

    Raises
    ------
    InputError
        If the checkpoint has no table of item vectors. If its data are missing or have another number of items.
    """
    content = load(file, map_location="cpu")
    table = (content.get("state_dict") or {}).get(_ITEM_TABLE)
    if not isinstance(table, torch.Tensor) or table.ndim != 2 or len(table) < 2 or "config" not in content:  # noqa: PLR2004
        raise InputError(f"{file} has no item vectors ({_ITEM_TABLE}). Give a checkpoint of a model such as SASRec.")
    known = (content.get("trained_data") or {}).get("item_ids")
    ids = (_ids_of_data(file, content["config"]) if known is None else unpacked_ids(known))[1:]  # without padding
    if len(ids) != len(table) - 1:
        whose = "its data now have" if known is None else "it names"
        raise InputError(f"{file} has vectors of {len(table) - 1:,} items, but {whose} {len(ids):,}. Train again.")
    return ids, table[1:].float().numpy()


def _ids_of_data(file: str | Path, config: Config) -> list[str]:
    try:
        dataset = create_dataset(config)
    except (OSError, ValueError, NotImplementedError) as error:
        raise InputError(f"{file}: the data it was trained on cannot be read ({error}).") from error
    return list(dataset.field2id_token[dataset.iid_field])


def packed_ids(ids: Iterable[Any]) -> torch.Tensor:
    """Return ids as UTF-8 lines. RecBole's files are lines and so no id has a line end."""
    return torch.frombuffer(bytearray("\n".join(map(str, ids)).encode()), dtype=torch.uint8)


def unpacked_ids(ids: torch.Tensor) -> list[str]:
    """Return the ids that `packed_ids` packed."""
    return ids.cpu().numpy().tobytes().decode(errors="replace").split("\n")


def load_data_and_model(model_file: str | Path) -> tuple[Any, ...]:
    """Load a checkpoint with its data as RecBole's function does: (config, model, dataset, *loaders)."""
    checkpoint = load(model_file)
    init_logger(checkpoint["config"])
    return data_and_model(checkpoint)


def data_and_model(checkpoint: dict[str, Any]) -> tuple[Any, ...]:
    """Return what `load_data_and_model` returns for a state from `load`.

    Raises InputError if the settings of the checkpoint do not make a model.
    """
    try:
        return _data_and_model(checkpoint)
    except InputError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, NotImplementedError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"The settings of the checkpoint do not make a model ({reason}). Train again.") from error


def _data_and_model(checkpoint: dict[str, Any]) -> tuple[Any, ...]:
    config = checkpoint["config"]
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    loaders = data_preparation(config, dataset)
    init_seed(config["seed"], config["reproducibility"])
    model_class = get_model(config["model"])
    if hasattr(model_class, "of_state"):  # a model whose shape the configuration does not give
        model = model_class.of_state(config, loaders[0]._dataset, checkpoint["state_dict"])
    else:
        model = model_class(config, loaders[0]._dataset)
    model = model.to(config["device"])
    model.load_state_dict(checkpoint["state_dict"])
    model.load_other_parameter(checkpoint.get("other_parameter"))
    return config, model, dataset, *loaders


def as_plain(value: Any, where: str) -> Any:  # noqa: PLR0911 – one return a type is the clearest dispatch
    """Turn a value into tensors and plain values; `restored` turns them back. Raises InputError for other types."""
    if isinstance(value, np.generic):  # np.float64 is a float, but pickled as numpy's own class
        return value.item()
    if value is None or isinstance(value, bool | int | float | str | torch.Tensor | torch.device):
        return value
    if scipy.sparse.issparse(value):  # before dict, which a dok_matrix is
        matrix = value.tocsr()
        parts = [as_plain(part, where) for part in (matrix.data, matrix.indices, matrix.indptr)]
        is_array = isinstance(value, scipy.sparse.sparray)
        return {_KIND: "sparse", "value": [*parts, list(matrix.shape), value.format, is_array]}
    if isinstance(value, Settings):
        return as_plain(value.model_dump(), where)
    if isinstance(value, dict):
        kind = OrderedDict if isinstance(value, OrderedDict) else dict
        return kind((as_plain(key, where), as_plain(entry, f"{where}.{key}")) for key, entry in value.items())
    if isinstance(value, list | tuple):
        sequence = [as_plain(entry, where) for entry in value]
        return sequence if isinstance(value, list) else tuple(sequence)
    if isinstance(value, set):
        return {_KIND: "set", "value": [as_plain(entry, where) for entry in value]}
    if type(value) in _ENUMS.values():
        return {_KIND: "enum", "value": [type(value).__name__, value.name]}
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return {_KIND: "array", "value": torch.from_numpy(value.astype(value.dtype.newbyteorder("="), order="C"))}
    raise InputError(
        f"The checkpoint's entry {where} is a {type(value).__name__}, which cannot be stored as tensors and plain "
        "values. Train with saved=False, or leave it out of the model's other_parameter_name."
    )


def restore(value: Any) -> Any:  # noqa: PLR0911 – as in `as_plain`
    """Turn the result of `plain` back into the value."""
    if isinstance(value, list | tuple):
        return type(value)(restore(entry) for entry in value)
    if not isinstance(value, dict):
        return value
    kind = value.get(_KIND)
    if kind is None:
        return type(value)((key, restore(entry)) for key, entry in value.items())
    content = value["value"]
    if kind == "set":
        return set(restore(content))
    if kind == "enum":
        return _ENUMS[content[0]][content[1]]
    if kind == "array":
        return content.cpu().numpy()
    data, indices, indptr, shape, layout, is_array = (restore(part) for part in content)
    compressed = scipy.sparse.csr_array if is_array else scipy.sparse.csr_matrix
    return compressed((data, indices, indptr), shape=tuple(shape)).asformat(layout)


def _state(content: dict[str, Any]) -> dict[str, Any]:
    state = {key: restore(value) for key, value in content.items()}
    if "config" in state:
        state["config"] = config_of(state["config"])
    return state


def _without_modules(parameters: dict[str, Any]) -> dict[str, Any]:
    # SASRecF and others name a submodule here: it is made with the model, and its weights are in the state_dict.
    return {name: value for name, value in parameters.items() if not isinstance(value, torch.nn.Module)}


def plain_config(config: Config) -> Any:
    """Return a Config as tensors and plain values; `config_of` rebuilds it."""
    # Absolute, so that the checkpoint finds its data from any directory.
    final = {**config.final_config_dict, "data_path": str(Path(config["data_path"]).absolute())}
    return as_plain({"final": final, "parameters": config.parameters}, "config")


def config_of(content: dict[str, Any]) -> Config:
    """Rebuild a Config without reading files or the command line again."""
    final = content["final"]
    for key in ("model", "dataset"):  # they become parts of paths
        if Path(final[key]).name != final[key]:
            raise InputError(f"The checkpoint's {key} is {final[key]!r}, which is not a name. Train again.")
    final.update(dict.fromkeys(key for key in safe_input.PICKLES if final.get(key)))
    config = Config.__new__(Config)
    config.parameters = content["parameters"]
    config.yaml_loader = config._build_yaml_loader()
    config.file_config_dict = config.variable_config_dict = config.cmd_config_dict = {}
    config.external_config_dict = config.internal_config_dict = {}
    config.final_config_dict = final
    for kind in (GenPASConfig, MixingConfig, PersonaliserConfig):
        if final.get(kind.SECTION) is not None:
            final[kind.SECTION] = kind.from_mapping(final[kind.SECTION], "the checkpoint")
    config.model = final["model"]
    with contextlib.suppress(ValueError, ImportError):  # a model of the user's own: RecBole does not find it by name
        config.model_class = get_model(config.model)
    config.dataset = final["dataset"]
    return config
