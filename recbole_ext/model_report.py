"""Which features a RecBole model can use: the model is made on a tiny data set and probed."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import ModelType, get_model

from genpas_plugins.support.console import hide_arguments
from genpas_plugins.support.errors import InputError
from recbole_ext.known_settings import check_model, defaults
from recbole_ext.models.contract import CAPABILITIES, why_not

_ITEMS, _USERS, _LENGTH = 60, 40, 8


def report(name: str) -> dict[str, str | None]:
    """Return why a model cannot use each feature. None means that it can.

    Parameters
    ----------
    name : RecBole's name of the model; its default settings count

    Raises
    ------
    InputError
        For an unknown model. For a model that needs more than ids, times and classes of items.
    """
    check_model(name)
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng(devices=[]), hide_arguments():
        torch.manual_seed(0)
        config = Config(name, "tiny", config_dict=_settings(name, Path(folder)))
        if config["MODEL_TYPE"] != ModelType.SEQUENTIAL:
            return dict.fromkeys(CAPABILITIES, "it is not a sequential model")
        try:
            train_data = data_preparation(config, create_dataset(config))[0]
            model = get_model(name)(config, train_data._dataset)
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                f"{name} cannot be made on a data set of ids, times and classes of items: {type(error).__name__}: "
                f"{str(error).rstrip('.')}. Read its source for the data that it needs."
            ) from error
    return {feature: why_not(model, feature, config["loss_type"]) for feature in CAPABILITIES}


def _settings(name: str, folder: Path) -> dict[str, Any]:
    (folder / "tiny").mkdir()
    rows = [
        f"u{user}\ti{(user * 7 + time * time) % _ITEMS}\t{time}" for user in range(_USERS) for time in range(_LENGTH)
    ]
    items = [f"i{item}\tc{item % 3}" for item in range(_ITEMS)]
    for suffix, lines in {
        "inter": ["user_id:token\titem_id:token\ttimestamp:float", *rows],
        "item": ["item_id:token\tclass:token", *items],
    }.items():
        (folder / "tiny" / f"tiny.{suffix}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    columns = {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "class"]}
    settings = {"data_path": str(folder), "load_col": columns, "use_gpu": False, "state": "ERROR"}
    # RecBole refuses CE with its own default of one negative.
    return {**settings, **({"train_neg_sample_args": None} if defaults(name, "").get("loss_type") == "CE" else {})}
