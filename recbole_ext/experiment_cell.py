"""One cell of `genpas experiment` through RecBole: check its settings and test its checkpoint in both protocols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole.config import Config

from genpas_plugins import InputError
from genpas_plugins.settings.genpas import SECTION
from genpas_plugins.support.run_result import TestResult
from recbole_ext.beyond_accuracy import COLLECTS, beyond_accuracy
from recbole_ext.command_line import refusals, seal
from recbole_ext.known_settings import known_settings, unknown
from recbole_ext.mask_history import KEY
from recbole_ext.training_run import loaded
from recbole_ext.user_groups import evaluate, groups_of, interactions

PROTOCOLS = {"masked": True, "unmasked": False}  # whether the ranking leaves out the items of a user's history


def check(settings: Mapping[str, Any], *, model: str, dataset: str) -> None:
    """Check that a cell can be trained to its last epoch. No data are read."""
    with refusals():
        config = Config(model, dataset, config_dict=seal(settings))
    epochs, every = config["epochs"], config["eval_step"]
    if every < 1 or epochs % every:
        raise InputError(
            f"eval_step is {every}, so the last of the {epochs} epochs has no validation. Remove eval_step, or set it "
            "to a divisor of the epochs."
        )


def check_known(models: Sequence[str], keys: Sequence[str]) -> None:
    """Raise InputError for a key that neither RecBole nor one of the models reads."""
    known = {SECTION}.union(*map(known_settings, models))
    for key in keys:
        if key not in known:
            raise InputError(unknown(key, ", ".join(models), known))


def test(checkpoint: Path, data_path: Path) -> TestResult:
    """Test a checkpoint of `recbole_ext.training_run.train` in both protocols for all users and for groups.

    Each protocol ranks once. See `recbole_ext.user_groups` and `recbole_ext.beyond_accuracy`.
    """
    figures, of_groups, ranks = {}, {}, {}
    with loaded(checkpoint, data_path, [COLLECTS]) as (trainer, train_data, test_data):
        groups, counts = groups_of(train_data._dataset, test_data._dataset), interactions(train_data._dataset)
        for protocol, masked in PROTOCOLS.items():
            test_data.config[KEY] = masked
            found = evaluate(trainer, test_data, groups)
            assert found.items is not None and found.ranks is not None
            of_lists = {k: beyond_accuracy(found.items[:, :k], counts) for k in test_data.config["topk"]}
            beyond = {f"{name}@{k}": figure for k, named in of_lists.items() for name, figure in named.items()}
            figures[protocol], ranks[protocol] = _asked(found.figures) | beyond, found.ranks
            of_groups[protocol] = {
                kind: {name: _asked(of_group) for name, of_group in named.items()}
                for kind, named in found.groups.items()
            }
    return TestResult(figures, of_groups, ranks)


def _asked(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: figure for name, figure in figures.items() if not name.startswith(COLLECTS.lower())}
