"""Models that RecBole finds by name beside its own, with their defaults: `run_recbole(model="TIGER", …)`.

RecBole imports a model from `recbole.model.sequential_recommender.<name in lower case>`, reads its defaults from a
folder of its own, and takes `<name>Trainer` where there is one: each of the three is told where ours are.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

import recbole.trainer
from recbole.config import Config

from recbole_ext.genpas_key import check_every_config
from recbole_ext.models import fmlprec, tiger
from recbole_ext.models.tiger_settings import TigerSettings
from recbole_ext.models.tiger_trainer import TIGERTrainer

MODELS = {"FMLPRec": fmlprec, "TIGER": tiger}


def register() -> None:
    """Let RecBole find the models, their defaults and trainers, and check their settings when a Config is made."""
    for name, module in MODELS.items():
        sys.modules[f"recbole.model.sequential_recommender.{name.lower()}"] = module
    recbole.trainer.TIGERTrainer = TIGERTrainer

    original_defaults = Config._load_internal_config_dict

    @functools.wraps(original_defaults)
    def load_internal_config_dict(self: Config, model: str, model_class: Any, dataset: str) -> None:
        original_defaults(self, model, model_class, dataset)
        if model in MODELS:
            self._update_internal_config_dict(Path(__file__).with_name(f"{model}.yaml"))

    Config._load_internal_config_dict = load_internal_config_dict

    def check(config: Config, _: Any) -> None:
        if config.model == "TIGER":
            TigerSettings.of(config).check_training(config["topk"])

    check_every_config(check)
