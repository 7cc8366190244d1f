"""RecBole's settings and models that a sharded run can use, and the `torchrec:` section."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

import torch
from pydantic import Field

from genpas_plugins.settings import genpas, torchrec
from genpas_plugins.settings.all_sections import flat_keys
from genpas_plugins.settings.base import Settings
from genpas_plugins.settings.loss import LossConfig
from genpas_plugins.settings.torchrec import TorchRecConfig
from genpas_plugins.support.errors import InputError, nearest
from recbole_ext.genpas_key import genpas_config
from recbole_ext.known_settings import known_settings
from recbole_ext.models.contract import PARALLEL, require_of_class
from torchrec_ext.shard import check_choices

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "adagrad": torch.optim.Adagrad,
    "rmsprop": torch.optim.RMSprop,
}
"""RecBole's `learner` names, for everything but the tables."""


class RecBoleSettings(Settings):
    """RecBole's settings that sharded training reads itself."""

    learner: Literal["adam", "adamw", "sgd", "adagrad", "rmsprop"]
    learning_rate: float = Field(gt=0)
    epochs: int = Field(ge=1)
    train_batch_size: int = Field(ge=1)
    eval_batch_size: int = Field(ge=1)
    MAX_ITEM_LIST_LENGTH: int = Field(ge=1)
    eval_step: int = Field(ge=0)
    stopping_step: int = Field(ge=0)


_UNUSABLE = {
    "clip_grad_norm": "the item table is updated during the backward pass, before a norm over all gradients is known",
    "enable_scaler": "half precision is bfloat16 here, which needs no scaler",
    "transform": "pairs are trained on as they are drawn",
    "log_wandb": "a run is logged to TensorBoard",
}


def check_keys(config: Any, given: Collection[str]) -> None:
    """Check that every key is read and that the model takes histories as they are.

    Raises InputError for another key with the nearest valid key. Models that mask or crop histories are refused.
    """
    ours = (genpas.SECTION, torchrec.SECTION)
    known = {*ours, *flat_keys(*ours), *known_settings(config.model, config.dataset)}
    for key in given:
        if key not in known:
            raise InputError(f"There is no key {key!r} for {config.model}.{nearest(key, known)}")
    if config.internal_config_dict.get("transform"):
        raise InputError(
            f"{config.model} masks or crops histories itself (transform: {config['transform']}) and cannot be trained "
            "here; SASRec and GRU4Rec, models built like them, and TIGER can."
        )


def check_recbole(config: Any) -> None:
    """Check RecBole's settings. Raises InputError for a wrong value and for a setting that cannot be kept."""
    for key, reason in _UNUSABLE.items():
        if config[key]:
            raise InputError(f"{key} is {config[key]!r}, but {reason}. Remove the key, or set {key}=null.")
    kept = {name: config[name] for name in RecBoleSettings.model_fields}
    RecBoleSettings.read({**kept, "learner": str(kept["learner"]).lower()})
    modes = {str(mode) for mode in config["eval_args"]["mode"].values()}
    if modes != {"full"}:
        raise InputError(
            f"eval_args has mode {', '.join(sorted(modes))}; a sharded model ranks all items. Set mode: full."
        )
    measured = [f"{metric}@{k}".lower() for metric in config["metrics"] for k in config["topk"]]
    if str(config["valid_metric"]).lower() not in measured:
        raise InputError(
            f"valid_metric is {config['valid_metric']!r}, which metrics and topk do not measure."
            f"{nearest(str(config['valid_metric']).lower(), measured)}"
        )


def check_model(config: Any, section: TorchRecConfig) -> None:
    """Raise InputError for an output layer or targets that the model of the configuration cannot have."""
    genpas_section = genpas_config(config)
    assert genpas_section is not None, "required for sharded training"
    output = "sampled" if sampled_loss(config, section) else section.output
    check_choices(config.model_class, output, genpas_section.targets)
    if genpas_section.targets == "parallel":
        require_of_class(config.model_class, PARALLEL)


def sampled_loss(config: Any, section: TorchRecConfig) -> LossConfig | None:
    """Return the sampled loss of a run from `loss` of the genpas section or from `output: sampled`, or None.

    Raises InputError for negatives in both sections.
    """
    genpas_section = genpas_config(config)
    loss = None if genpas_section is None else genpas_section.loss
    if section.negatives is None:
        return loss
    if loss is not None:
        raise InputError(
            "loss of the genpas section and output: sampled of the torchrec section both name negatives. Remove output "
            "and negatives of torchrec."
        )
    return LossConfig(name="sampled_softmax", negatives=section.negatives)
