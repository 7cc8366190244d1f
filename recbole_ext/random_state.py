"""States of the random generators in a checkpoint: a resumed run continues dropout and sampling exactly."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from genpas_plugins.support.errors import InputError
from recbole_ext import checkpoints
from recbole_ext.genpas_key import genpas_config

_KEY = "random_state"


def save(state: dict[str, Any], file: Any, **_: Any) -> None:
    """Save a trainer's state with the generators of torch, numpy and Python."""
    generators = {"torch": torch.get_rng_state(), "numpy": np.random.get_state(), "python": random.getstate()}  # noqa: NPY002 – RecBole draws from it
    if torch.cuda.is_available():
        generators["cuda"] = torch.cuda.get_rng_state()
    checkpoints.save({**state, _KEY: generators}, file)


def resume(resume_checkpoint: Any, trainer: Any, file: Any) -> None:
    """Resume a training; its first epoch restores the generators. A checkpoint without them still resumes."""
    resume_checkpoint(trainer, file)
    if genpas_config(trainer.config) is not None and trainer.config["single_spec"]:
        trainer.config[_KEY] = checkpoints.load(file, map_location="cpu").get(_KEY)


def restore(trainer: Any) -> None:
    """Set the generators to what `resume` found. Raises InputError if these are not states of generators."""
    generators = trainer.config.final_config_dict.pop(_KEY, None)
    if generators is None:
        return
    try:
        random.setstate(generators["python"])
        np.random.set_state(generators["numpy"])  # noqa: NPY002
        torch.set_rng_state(generators["torch"])
        if "cuda" in generators and torch.cuda.is_available():
            torch.cuda.set_rng_state(generators["cuda"])
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"The checkpoint's {_KEY} is damaged ({error}). Resume from another one.") from error
