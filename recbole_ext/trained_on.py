"""What a run trained on, logged before training and kept beside its metrics."""

from __future__ import annotations

import functools
from dataclasses import asdict
from typing import Any

import numpy as np
import recbole.quick_start
from recbole.trainer import Trainer

from genpas_plugins import __version__
from genpas_plugins.analysis.divergence import kl_divergence
from genpas_plugins.analysis.target_distribution import target_distribution
from genpas_plugins.data.sequences import PAIR_ITEMS
from genpas_plugins.sampling.windows import WindowStream
from genpas_plugins.settings.mixing import SECTION as MIXING
from genpas_plugins.settings.personaliser import SECTION as PERSONALISER
from recbole_ext.dataloader import PairDataLoader
from recbole_ext.genpas_key import REPORT, genpas_config
from recbole_ext.mask_history import masks_history

FEW_USERS = 10
"""A share of the users that leaves fewer is most likely a slip, and is warned of."""

_last_report: dict[str, Any] = {}


def register() -> None:
    """Report at the start of `Trainer.fit`, and in the result of `run_recbole` under "trained_on"."""
    original_fit = Trainer.fit

    @functools.wraps(original_fit)
    def fit(self: Trainer, train_data: Any, valid_data: Any = None, *args: Any, **kwargs: Any) -> Any:
        _last_report.clear()
        if isinstance(train_data, PairDataLoader):
            _last_report.update(trained_on(train_data, valid_data))
            _last_report.update(getattr(self.model, "trained_on", {}))  # what else a model was made from
            _warn_of_few_users(self.logger, _last_report)
        elif self.config[MIXING] is not None:
            _last_report[MIXING] = self.config[MIXING]  # it mixes RecBole's own pairs too
        if _last_report:
            self.config[REPORT] = dict(_last_report)
            self.logger.info("GenPAS trains on " + ", ".join(f"{key} = {value}" for key, value in _last_report.items()))
        return original_fit(self, train_data, valid_data, *args, **kwargs)

    Trainer.fit = fit

    original_run = recbole.quick_start.run_recbole

    @functools.wraps(original_run)
    def run_recbole(*args: Any, **kwargs: Any) -> Any:
        _last_report.clear()
        result = original_run(*args, **kwargs)
        if _last_report:
            result[REPORT] = dict(_last_report)
        return result

    recbole.quick_start.run_recbole = run_recbole
    recbole.quick_start.quick_start.run_recbole = run_recbole


def _warn_of_few_users(logger: Any, report: dict[str, Any]) -> None:
    if report["users_left_out"] and report["users"] < FEW_USERS:
        of_all = report["users"] + report["users_left_out"]
        logger.warning(
            f"train_users {report['train_users']} leaves {report['users']} of {of_all} users to train on: so few teach "
            "a model next to nothing. Raise it if that is not meant."
        )


def trained_on(train_data: PairDataLoader, valid_data: Any = None) -> dict[str, Any]:
    """Return what a run trains on: strategy, exponents, pairs an epoch, history length, KL to validation targets.

    `mixing` and `personaliser` are those sections in full, None without; what they add to a drawn pair counts as no
    pair. The expected length of a history is that of the drawn pairs, before `augment`. `users` are those who have a
    pair, `users_left_out` those who would have one with `train_users: 1.0`; all else is of the former alone. `trim` is
    what the section says; `targets: parallel` trims in any case.
    """
    config, stream, dataset = train_data.config, train_data.stream, train_data._dataset
    section = genpas_config(config)
    assert section is not None
    policy, lengths = section.policy, stream.view.lengths()
    users = np.count_nonzero(lengths[: dataset.user_num] >= PAIR_ITEMS)
    of_all = np.count_nonzero(dataset.view_of_all_users().lengths()[: dataset.user_num] >= PAIR_ITEMS)
    report: dict[str, Any] = {
        "strategy": section.strategy,
        "alpha": policy.alpha,
        "beta": policy.beta,
        "gamma": policy.gamma,
        "pairs_per_epoch": stream.pairs_per_epoch,
        "targets": section.targets,
        "trim": section.trim,
        "augment": None if section.augment is None else [asdict(operator) for operator in section.augment],
        "mixing": config[MIXING],
        "personaliser": config[PERSONALISER],
        "train_users": section.train_users,
        "users": int(users),
        "users_left_out": int(of_all - users),
        "added_sequences": int(np.count_nonzero(lengths[dataset.user_num :])),
        "seed": stream.seed,
        "max_length": config["MAX_ITEM_LIST_LENGTH"],
        "mask_history": masks_history(config),
        "loss": config["loss_type"],
        "time_order": section.time_order,
        "expected_history_length": policy.expected_history_length(stream.view, config["MAX_ITEM_LIST_LENGTH"]),
        "genpas_version": __version__,
    }
    if isinstance(stream, WindowStream):
        report["windows_per_epoch"] = stream.windows_per_epoch
    if valid_data is not None and len(valid_data._dataset):
        targets = valid_data._dataset.inter_feat[valid_data._dataset.iid_field].numpy()
        validation = np.bincount(targets, minlength=stream.view.store.n_items + 1) / len(targets)
        report["kl_validation"] = kl_divergence(validation, target_distribution(stream.view, policy))
    return report
