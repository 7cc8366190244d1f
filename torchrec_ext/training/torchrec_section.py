"""The `torchrec:` section beside RecBole's settings, and which of RecBole's settings a sharded run can keep.

    torchrec:
      sharding: row_wise             # row_wise | table_wise | column_wise | planner
      output: vocab_parallel         # vocab_parallel | gather (both exact) | sampled; not for TIGER
      optimizer: row_wise_adagrad    # of the tables: row_wise_adagrad | adagrad | sgd | adam (CUDA)
      learning_rate: 0.02            # of the tables; `learning_rate` outside is the rest of the model's
      negatives: null                # how many, shared by a step; with output: sampled
      memory_per_rank: null          # bytes that the tables may take on a rank
      checkpoint_every: null         # optimizer steps; null: at the end of every epoch only
      keep_last: 2

On the command line a key is also written `torchrec_learning_rate=0.1`, which wins over the section.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from genpas_plugins.settings import genpas
from genpas_plugins.settings.settings_section import checked
from genpas_plugins.support.errors import InputError, nearest, whole_number
from recbole_ext.genpas_key import genpas_config
from recbole_ext.known_settings import known_settings
from recbole_ext.models.contract import PARALLEL, require_of_class
from torchrec_ext.shard import check_choices, check_names

SECTION = "torchrec"
PREFIX = "torchrec_"

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


@dataclass(frozen=True)
class TrainingConfig:
    """A checked `torchrec:` section; the keys are explained at the top of this file."""

    sharding: str = "row_wise"
    output: str = "vocab_parallel"
    optimizer: str = "row_wise_adagrad"
    learning_rate: float = 0.02
    negatives: int | None = None
    memory_per_rank: int | None = None
    checkpoint_every: int | None = None
    keep_last: int = 2

    def __post_init__(self) -> None:
        """Check every value, and that they go together."""
        for name in ("sharding", "output", "optimizer"):
            if not isinstance(getattr(self, name), str):
                raise InputError(f"{name} must be a word, not {getattr(self, name)!r}.")
        check_names(self.sharding, self.output, self.optimizer)
        _positive("learning_rate", self.learning_rate)
        for name in ("negatives", "memory_per_rank", "checkpoint_every"):
            if getattr(self, name) is not None:
                whole_number(f"{name} (bytes)" if name == "memory_per_rank" else name, getattr(self, name), 1)
        whole_number("keep_last", self.keep_last, 1)
        if self.output == "sampled" and self.negatives is None:
            raise InputError("output sampled needs negatives: how many items all pairs of a step share, as in 1000.")
        if self.output != "sampled" and self.negatives is not None:
            raise InputError(
                f"negatives is {self.negatives}, but output {self.output} scores all items; set output: sampled."
            )

    @classmethod
    def from_config(cls, config: Mapping[str, Any], where: str = "the configuration") -> TrainingConfig:
        """Read the section and the keys `torchrec_…` out of a whole configuration; without them, the defaults.

        Raises InputError naming the key, its value and what would be valid.

        >>> TrainingConfig.from_config({"torchrec": {"output": "gather"}, "torchrec_keep_last": 3}).keep_last
        3
        """
        for key in map(str, config):
            if key != SECTION and not key.startswith(PREFIX) and difflib.get_close_matches(key, [SECTION], cutoff=0.8):
                raise InputError(f"{where}: there is no key {key!r}. Did you mean {SECTION!r}?")
        section = config.get(SECTION)
        if not isinstance(section, Mapping | None):
            raise InputError(f"{where}: {SECTION} must hold keys such as 'sharding: row_wise', not {section!r}.")
        flat = {str(key).removeprefix(PREFIX): value for key, value in config.items() if str(key).startswith(PREFIX)}
        merged = {**(section or {}), **flat}
        return checked(cls, merged, SECTION, where)


def check_keys(config: Any, given: Collection[str]) -> None:
    """Raise InputError for a key that the user wrote and nobody reads, and for a model that changes histories itself.

    config : RecBole's Config
    given  : the keys in files and on the command line
    """
    known = {SECTION, genpas.SECTION, *known_settings(config.model, config.dataset)}
    for key in given:
        if key not in known and not key.startswith((PREFIX, genpas.PREFIX)):
            section, dot, name = key.partition(".")
            raise InputError(
                f"There is no key {key!r}; write {section}_{name}."
                if dot and section in (SECTION, genpas.SECTION)
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


def check_model(config: Any, section: TrainingConfig) -> None:
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
