"""One run of RecBole's own objects: train it, record every epoch and test it in a separate step."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_logger, init_seed

from genpas_plugins import InputError
from genpas_plugins.support.run_result import RunResult, Validation
from recbole_ext.checkpoints import data_and_model, load
from recbole_ext.command_line import refusals, seal
from recbole_ext.genpas_key import REPORT

OnEpoch = Callable[[int, float], None]


def train(
    settings: Mapping[str, Any],  # RecBole's settings. Their valid_metric chooses the checkpoint; more is better.
    *,
    model: str,
    dataset: str,
    # Called as on_epoch(epoch from 0, figure) after every validation. An exception of it ends the run.
    on_epoch: OnEpoch | None = None,
) -> RunResult:
    """Train one model under the settings' `genpas` key."""
    with refusals():
        config = Config(model, dataset, config_dict=seal(settings))
    init_seed(config["seed"], config["reproducibility"])
    with warnings.catch_warnings():
        # A second run's log file is opened and dropped at once: logging keeps the handlers of the first.
        warnings.simplefilter("ignore", ResourceWarning)
        init_logger(config)
    data = create_dataset(config)
    train_data, valid_data, _ = data_preparation(config, data)
    init_seed(config["seed"], config["reproducibility"])
    with refusals(config.model):
        network = get_model(config["model"])(config, train_data._dataset).to(config["device"])
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, network)
    curve: list[Validation] = []
    started = time.perf_counter()

    def record(epoch: int, score: float) -> None:
        pairs = (epoch + 1) * train_data.stream.pairs_per_epoch
        curve.append(Validation(pairs, time.perf_counter() - started, float(score)))
        if on_epoch is not None:
            on_epoch(epoch, float(score))

    with closing(trainer.tensorboard):  # its thread would write to a relative path later on
        trainer.fit(train_data, valid_data, verbose=False, callback_fn=record)
    if not curve:
        raise InputError("Nothing was validated: epochs and eval_step must be 1 or more.")
    return RunResult(
        validation=max(point.validation for point in curve),
        pairs_seen=curve[-1].pairs,
        seconds=time.perf_counter() - started,
        curve=tuple(curve),
        trained_on=config[REPORT],
        checkpoint=str(Path(trainer.saved_model_file).resolve()),
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu, {torch.get_num_threads()} threads",
    )


@contextmanager
def loaded(
    checkpoint: str | Path, data_path: Path | None = None, metrics: Sequence[str] = ()
) -> Iterator[tuple[Any, Any, Any]]:
    """Yield the trainer and the training and test loaders of a checkpoint that `train` wrote.

    `metrics` are measured beside the checkpoint's.
    """
    content = load(checkpoint)
    if data_path is not None:
        content["config"]["data_path"] = str(data_path)
    content["config"]["metrics"] = [*content["config"]["metrics"], *metrics]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # as in `train`
        init_logger(content["config"])
        config, network, _, train_data, _, test_data = data_and_model(content)
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, network)
    trainer.eval_collector.data_collect(train_data)
    with closing(trainer.tensorboard):  # as in `train`
        yield trainer, train_data, test_data


def evaluate_checkpoint(file: str | Path) -> dict[str, float]:
    """Return the test figures of a checkpoint under its own settings. Raises InputError as `loaded` does."""
    with loaded(file) as (trainer, _, test_data):
        figures = trainer.evaluate(test_data, load_best_model=False)
    return {metric: float(value) for metric, value in figures.items()}
