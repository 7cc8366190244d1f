"""One cell of `genpas experiment` through RecBole: its settings checked, its checkpoint tested in both protocols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole.config import Config

from genpas_plugins import InputError
from genpas_plugins.settings.genpas import SECTION
from genpas_plugins.support.run_result import TestResult
from recbole_ext.command_line import config_errors, sealed
from recbole_ext.known_settings import known_settings, unknown
from recbole_ext.mask_history import KEY
from recbole_ext.training_run import loaded
from recbole_ext.user_groups import evaluated, groups_of

PROTOCOLS = {"masked": True, "unmasked": False}  # whether the ranking leaves out the items of a user's history


def check(settings: Mapping[str, Any], *, model: str, dataset: str) -> None:
    """Check that a cell can be trained to its last epoch, without reading data."""
    with config_errors():
        config = Config(model, dataset, config_dict=sealed(settings))
    epochs, every = config["epochs"], config["eval_step"]
    if every < 1 or epochs % every:
        raise InputError(
            f"eval_step is {every}, so the last of the {epochs} epochs has no validation. Remove eval_step, or set it "
            "to a divisor of the epochs."
        )


def check_known(model: str, keys: Sequence[str]) -> None:
    """Raise InputError for a key that neither RecBole nor the model reads."""
    known = {*known_settings(model), SECTION}
    for key in keys:
        if key not in known:
            raise InputError(unknown(key, model, known))


def test(checkpoint: Path, data_path: Path) -> TestResult:
    """Test a checkpoint of `recbole_ext.training_run.train` in both protocols, for all users and for groups of them.

    Each protocol ranks once. `recbole_ext.user_groups` describes the groups.
    """
    with loaded(checkpoint, data_path) as (trainer, train_data, test_data):
        groups = groups_of(train_data._dataset, test_data._dataset)
        by_protocol = {}
        for protocol, masked in PROTOCOLS.items():
            test_data.config[KEY] = masked
            by_protocol[protocol] = evaluated(trainer, test_data, groups)
    return TestResult(
        {protocol: figures.figures for protocol, figures in by_protocol.items()},
        {protocol: figures.groups for protocol, figures in by_protocol.items()},
    )
