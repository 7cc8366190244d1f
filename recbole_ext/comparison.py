"""One cell of `genpas compare`: a method, trained with one seed for a fixed number of epochs and tested once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole.config import Config

from genpas_plugins import InputError
from recbole_ext.trial import OnEpoch, check_criterion, train

FIGURES = ("pairs_seen", "seconds", "epochs", "curve", "trained_on", "test", "checkpoint")


def check(
    settings: Mapping[str, Any], *, model: str, dataset: str, config_files: Sequence[Path], criterion: str
) -> None:
    """Raise InputError for a configuration under which a cell could not be trained to its last epoch; reads no data."""
    try:
        config = Config(
            model, dataset, config_file_list=[str(file) for file in config_files], config_dict=dict(settings)
        )
    except InputError:
        raise
    except (ValueError, NotImplementedError) as error:
        raise InputError(f"RecBole refuses these settings: {error}") from error
    check_criterion(config, criterion)
    epochs, every = config["epochs"], config["eval_step"]
    if every < 1 or epochs % every:
        raise InputError(
            f"eval_step is {every}, so that the last of the {epochs} epochs would not be validated; "
            "leave it out, or let it divide the number of epochs."
        )


def run(
    settings: Mapping[str, Any],
    *,
    model: str,
    dataset: str,
    config_files: Sequence[Path],
    criterion: str,
    on_epoch: OnEpoch,
) -> dict[str, Any]:
    """Train and return plain values: `validation`, the best of the criterion, and FIGURES.

    The checkpoint is that of the best validation; `test` is measured with it, once.
    """
    result = train(
        settings,
        model=model,
        dataset=dataset,
        config_files=config_files,
        on_epoch=on_epoch,
        test=True,
        criterion=criterion,
    )
    return {"validation": result["score"], **{name: result[name] for name in FIGURES}}
