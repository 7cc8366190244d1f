"""One cell of `genpas compare` or `genpas reproduce`: trained with one seed for fixed epochs, tested once."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from recbole.config import Config
from recbole.utils import get_trainer, init_logger

from genpas_plugins import InputError
from genpas_plugins.settings.genpas import SECTION
from recbole_ext.checkpoints import data_and_model, load
from recbole_ext.command_line import config_errors, sealed
from recbole_ext.known_settings import known_settings, unknown
from recbole_ext.mask_history import KEY
from recbole_ext.run_one import OnEpoch, check_criterion, train
from recbole_ext.user_groups import evaluated, groups_of

FIGURES = ("pairs_seen", "seconds", "epochs", "curve", "trained_on", "checkpoint")

PROTOCOLS = {"masked": True, "unmasked": False}
"""Whether the items of a user's history are left out of the ranking."""


def check(
    settings: Mapping[str, Any], *, model: str, dataset: str, config_files: Sequence[Path], criterion: str
) -> None:
    """Raise InputError for a configuration that cannot train to the last epoch; reads no data."""
    with config_errors():
        config = Config(
            model, dataset, config_file_list=[str(file) for file in config_files], config_dict=sealed(settings)
        )
    check_criterion(config, criterion)
    epochs, every = config["epochs"], config["eval_step"]
    if every < 1 or epochs % every:
        raise InputError(
            f"eval_step is {every}, so the last of the {epochs} epochs would not be validated. "
            "Leave it out, or let it divide the number of epochs."
        )


def check_known(model: str, keys: Sequence[str]) -> None:
    """Raise InputError for a key that neither RecBole nor the model reads."""
    known = {*known_settings(model), SECTION}
    for key in keys:
        if key not in known:
            raise InputError(unknown(key, model, known))


def run(
    settings: Mapping[str, Any],
    *,
    model: str,
    dataset: str,
    config_files: Sequence[Path],
    criterion: str,
    on_epoch: OnEpoch,
    test: bool = True,
) -> dict[str, Any]:
    """Train and return plain values: `validation`, the best of the criterion, FIGURES and the device.

    The checkpoint has the weights of the best validation. `test` is measured once with these weights.
    """
    result = train(
        settings,
        model=model,
        dataset=dataset,
        config_files=config_files,
        on_epoch=on_epoch,
        test=test,
        criterion=criterion,
    )
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu, {torch.get_num_threads()} threads"
    tested = {"test": result["test"]} if test else {}
    return {"validation": result["score"], **{name: result[name] for name in FIGURES}, **tested, "device": device}


def test(checkpoint: Path, data_path: Path) -> dict[str, Any]:
    """Return the test figures of a checkpoint that `run` left, of all users and of groups, once for each protocol.

    Parameters
    ----------
    checkpoint : Path
        The file.
    data_path : Path
        Current folder of its data set.

    Returns
    -------
    dict
        {"test": {protocol: {metric: figure}}, "groups": {protocol: {kind: {group: {"n": users, metric: figure}}}}}.
        Kinds and groups are those of `recbole_ext.user_groups`.

    Raises
    ------
    InputError
        If the checkpoint cannot be loaded.
    """
    content = load(checkpoint)
    content["config"]["data_path"] = str(data_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # of RecBole's log files, as in `train`
        init_logger(content["config"])
        config, network, _, train_data, _, test_data = data_and_model(content)
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, network)
    trainer.eval_collector.data_collect(train_data)
    groups = groups_of(train_data._dataset, test_data._dataset)
    result: dict[str, Any] = {"test": {}, "groups": {}}
    with closing(trainer.tensorboard):  # its thread would write to a relative path later on
        for protocol, masked in PROTOCOLS.items():
            test_data.config[KEY] = masked
            result["test"][protocol], result["groups"][protocol] = evaluated(trainer, test_data, groups)
    return result
