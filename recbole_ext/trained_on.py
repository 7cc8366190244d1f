"""What a run trained on, logged before training and kept beside its metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
from recbole.trainer import Trainer

from genpas_plugins import __version__
from genpas_plugins.analysis.divergence import kl_divergence
from genpas_plugins.analysis.target_distribution import target_distribution
from genpas_plugins.data.sequences import PAIR_ITEMS
from genpas_plugins.settings.mixing import SECTION as MIXING
from genpas_plugins.settings.personaliser import SECTION as PERSONALISER
from recbole_ext.dataloader import PairDataLoader
from recbole_ext.genpas_key import REPORT, genpas_config
from recbole_ext.mask_history import masks_history

FEW_USERS = 10
"""A share of the users that leaves fewer is most likely a slip, and is warned of."""


def announce(trainer: Trainer, train_data: Any, valid_data: Any = None) -> dict[str, Any]:
    """Log what a trainer is about to train on, keep it in its Config and return it. A stock run has an empty report."""
    report: dict[str, Any] = {}
    if isinstance(train_data, PairDataLoader):
        report = {**trained_on(train_data, valid_data), **getattr(trainer.model, "trained_on", {})}
        _warn_of_few_users(trainer.logger, report)
    elif trainer.config[MIXING] is not None:
        report = {MIXING: trainer.config[MIXING].model_dump()}  # it mixes RecBole's own pairs too
    if report:
        trainer.config[REPORT] = report
        trainer.logger.info("GenPAS trains on " + ", ".join(f"{key} = {value}" for key, value in report.items()))
    return report


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
        "augment": section.model_dump()["augment"],
        **{name: config[name] and config[name].model_dump() for name in (MIXING, PERSONALISER)},
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
    report[f"{stream.unit}_per_epoch"] = stream.size
    if valid_data is not None and len(valid_data._dataset):
        targets = valid_data._dataset.inter_feat[valid_data._dataset.iid_field].numpy()
        validation = np.bincount(targets, minlength=stream.view.store.n_items + 1) / len(targets)
        report["kl_validation"] = kl_divergence(validation, target_distribution(stream.view, policy))
    return report
