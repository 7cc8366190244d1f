"""The report of a run's training data: logged before training and kept beside its metrics."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from recbole.trainer import Trainer

from genpas_plugins import __version__
from genpas_plugins.analysis.divergence import kl_divergence
from genpas_plugins.data.sequences import PAIR_ITEMS
from genpas_plugins.sampling.coverage import Coverage, coverage
from genpas_plugins.sampling.protocol import DRAWS, check_draws
from genpas_plugins.settings.mixing import SECTION as MIXING
from genpas_plugins.settings.personaliser import SECTION as PERSONALISER
from genpas_plugins.support.json_text import as_json_value
from recbole_ext import growth
from recbole_ext.checkpoints import load
from recbole_ext.dataloader import PairDataLoader
from recbole_ext.genpas_key import REPORT, genpas_config
from recbole_ext.mask_history import masks_history

FEW_USERS = 10
"""A share of the users that leaves fewer is most likely a mistake, so it is logged as a warning."""


def announce(trainer: Trainer, train_data: Any, valid_data: Any = None) -> dict[str, Any]:
    """Log and return the report of a trainer's data and keep it in its Config. It is empty for a stock run."""
    report: dict[str, Any] = {}
    if isinstance(train_data, PairDataLoader):
        report = {**trained_on(train_data, valid_data), **getattr(trainer.model, "trained_on", {})}
        growth.remember(train_data)
        section = genpas_config(trainer.config)
        if section is not None and section.warm_start is not None and trainer.start_epoch == 0:
            seed = trainer.config["seed"]
            growth.start_from(section.warm_start, trainer.model, train_data._dataset, seed)
        _warn_of_few_users(trainer.logger, report)
    elif trainer.config[MIXING] is not None:
        report = {MIXING: trainer.config[MIXING].model_dump()}  # it mixes RecBole's own pairs too
    if report:
        trainer.config[REPORT] = report  # RecBole's TensorBoard has the Config's values among the parameters
        if trainer.wandblogger.log_wandb:  # W&B took the Config when the trainer was made
            trainer.wandblogger._wandb.config.update({REPORT: as_json_value(report)}, allow_val_change=True)
        trainer.logger.info("GenPAS trains on " + ", ".join(f"{key} = {value}" for key, value in report.items()))
    return report


def check_resumed(file: Any) -> None:
    """Raise InputError for a checkpoint that cannot continue because its epochs were drawn in another format."""
    config = load(file, map_location="cpu")["config"]
    section = genpas_config(config)
    if section is not None and section.policy.drawn:
        check_draws((config[REPORT] or {}).get("draws", 1))


def _warn_of_few_users(logger: Any, report: dict[str, Any]) -> None:
    if report["users_left_out"] and report["users"] < FEW_USERS:
        of_all = report["users"] + report["users_left_out"]
        logger.warning(
            f"train_users {report['train_users']} leaves {report['users']} of {of_all} users to train on, too few to "
            "learn from. Raise train_users."
        )


def trained_on(train_data: PairDataLoader, valid_data: Any = None) -> dict[str, Any]:
    """Return the report of a run: policy, pairs an epoch, history length and KL to validation targets.

    Parameters
    ----------
    train_data : the training loader
    valid_data : the validation loader; without it the report has no `kl_validation`

    Returns
    -------
    dict
        Plain values. `augment` has BERT4Rec's mask too. The figures count the targets of pairs without masked
        items. `mixing` and `personaliser` are whole sections or None. Pairs that they add are not counted.
        `expected_history_length` is before `augment`. `users` have a pair. `users_left_out` would have a pair with
        `train_users: 1.0`. `trim` is the setting, although `targets: parallel` always trims. `draws` is the format
        number of sampled epochs. `Coverage` counts the first epoch and is None for a large one.
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
        "mixture": section.mixture and dict(section.mixture),
        "pairs_per_epoch": stream.pairs_per_epoch,
        "targets": section.targets,
        "trim": section.trim,
        "augment": [asdict(operator) for operator in getattr(stream, "operators", ())] or None,
        **{name: config[name] and config[name].model_dump() for name in (MIXING, PERSONALISER)},
        "train_users": section.train_users,
        "users": int(users),
        "users_left_out": int(of_all - users),
        "added_sequences": int(np.count_nonzero(lengths[dataset.user_num :])),
        "seed": stream.seed,
        "max_length": config["MAX_ITEM_LIST_LENGTH"],
        "mask_history": masks_history(config),
        "loss": config["loss_type"] if section.loss is None else section.loss.model_dump(exclude_none=True),
        "time_order": section.time_order,
        "ties": section.ties,
        "expected_history_length": growth.expected_history_length(train_data, config["MAX_ITEM_LIST_LENGTH"]),
        "auto": dataset.auto_report,
        "split": dataset.split_report or {"split": config["eval_args"]["split"]},
        "genpas_version": __version__,
        "draws": DRAWS,
    }
    counted = coverage(stream)
    report |= counted._asdict() if counted else dict.fromkeys(Coverage._fields)
    report[f"{stream.unit}_per_epoch"] = stream.size
    if valid_data is not None and len(valid_data._dataset):
        targets = valid_data._dataset.inter_feat[valid_data._dataset.iid_field].numpy()
        validation = np.bincount(targets, minlength=stream.view.store.n_items + 1) / len(targets)
        report["kl_validation"] = kl_divergence(validation, growth.distribution(train_data))
    if section.warm_start is not None:
        report |= growth.growth_report(section, train_data)
    return report
