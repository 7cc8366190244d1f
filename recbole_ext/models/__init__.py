"""Models that RecBole finds by name beside its own: one file and its YAML of defaults a model.

The file `x.py` has a class X. If the model needs its own trainer, it also has a class XTrainer. `X.yaml` has the
defaults. `recbole_ext.patches` puts them where RecBole looks for its own.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from recbole.config import Config

_FOLDER = Path(__file__).parent

MODELS = {file.stem: import_module(f"{__name__}.{file.stem.lower()}") for file in sorted(_FOLDER.glob("*.yaml"))}
"""The module of every model, by the model's name."""

TRAINERS = {
    f"{name}Trainer": getattr(module, f"{name}Trainer")
    for name, module in MODELS.items()
    if hasattr(module, f"{name}Trainer")
}
"""The trainers of models that need their own, by the name under which RecBole looks for them."""


def load_defaults(config: Config, model: str) -> None:
    """Add the defaults of a model of ours to a Config that RecBole is making."""
    if model in MODELS:
        config._update_internal_config_dict(_FOLDER / f"{model}.yaml")


def check(config: Config) -> None:
    """Raise InputError for settings under which the configuration's model cannot be trained."""
    check_config = getattr(config.model_class, "check_config", None)
    if check_config is not None:
        check_config(config)
