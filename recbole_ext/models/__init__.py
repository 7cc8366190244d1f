"""Models that RecBole finds by name beside its own, with their defaults: `run_recbole(model="TIGER", …)`.

RecBole imports a model from `recbole.model.sequential_recommender.<name in lower case>`, reads its defaults from a
folder of its own, and takes `<name>Trainer` where there is one: each of the three is told where ours are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recbole.config import Config

from recbole_ext.models import fmlprec, tiger
from recbole_ext.models.tiger_settings import TigerSettings
from recbole_ext.models.tiger_trainer import TIGERTrainer

__all__ = ["MODELS", "TIGERTrainer", "check", "load_defaults"]

MODELS = {"FMLPRec": fmlprec, "TIGER": tiger}


def load_defaults(config: Config, model: str) -> None:
    """Add the defaults of a model of ours to a Config that RecBole is making."""
    if model in MODELS:
        config._update_internal_config_dict(Path(__file__).with_name(f"{model}.yaml"))


def check(config: Config, _: Any) -> None:
    """Raise InputError for settings under which a model of ours cannot be trained."""
    if config.model == "TIGER":
        TigerSettings.of(config).check_training(config["topk"])
