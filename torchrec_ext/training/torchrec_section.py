"""Which of RecBole's settings and models a sharded run can keep, beside the `torchrec:` section."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import torch

from genpas_plugins.settings import genpas, torchrec
from genpas_plugins.settings.sections import flat_keys
from genpas_plugins.settings.torchrec import TorchRecConfig
from genpas_plugins.support.errors import InputError, nearest, whole_number
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

_UNUSABLE = {
    "clip_grad_norm": "the item table is updated during the backward pass, before a norm over all gradients is known",
    "enable_amp": "sharded training computes in float32",
    "enable_scaler": "sharded training computes in float32",
    "transform": "pairs are trained on as they are drawn",
    "log_wandb": "a run is logged to TensorBoard",
}


def check_keys(config: Any, given: Collection[str]) -> None:
    """Raise InputError for a key that the user wrote and nobody reads, and for a model that changes histories itself.

    config : RecBole's Config
    given  : the keys in files and on the command line
    """
    ours = (genpas.SECTION, torchrec.SECTION)
    known = {*ours, *flat_keys(*ours), *known_settings(config.model, config.dataset)}
    for key in given:
        if key not in known:
            section, dot, name = key.partition(".")
            raise InputError(
                f"There is no key {key!r}; write {section}_{name}."
                if dot and section in ours
                else f"There is no key {key!r} for {config.model}.{nearest(key, known)}"
            )
    if config.internal_config_dict.get("transform"):
        raise InputError(
            f"{config.model} masks or crops histories itself (transform: {config['transform']}) and cannot be trained "
            "here; SASRec and GRU4Rec, models built like them, and TIGER can."
        )


def check_recbole(config: Any) -> None:
    """Check the RecBole settings that sharded training reads itself, and refuse those it would have to ignore.

    Raises InputError naming the key, its value and what to do.
    """
    for key, reason in _UNUSABLE.items():
        if config[key]:
            raise InputError(f"{key} is {config[key]!r}, but {reason}. Remove the key, or set {key}=null.")
    learner = str(config["learner"])
    if learner.lower() not in OPTIMIZERS:
        raise InputError(f"learner is {learner!r}.{nearest(learner, OPTIMIZERS)}")
    _positive("learning_rate", config["learning_rate"])
    whole_number("epochs", config["epochs"], 1)
    for key in ("train_batch_size", "eval_batch_size", "MAX_ITEM_LIST_LENGTH"):
        whole_number(key, config[key], 1)
    whole_number("eval_step", config["eval_step"], 0)
    whole_number("stopping_step", config["stopping_step"], 0)
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
    """Raise InputError for a section that RecBole's model of the configuration cannot keep."""
    genpas_section = genpas_config(config)
    assert genpas_section is not None, "required for sharded training"
    check_choices(config.model_class, section.output, genpas_section.targets)
    if genpas_section.targets == "parallel":
        require_of_class(config.model_class, PARALLEL)


def _positive(name: str, value: Any) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value <= 0:
        raise InputError(f"{name} must be a number above 0, not {value!r}.")
