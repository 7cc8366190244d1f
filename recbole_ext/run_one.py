"""One training run with RecBole's own objects, reported epoch by epoch.

`run_recbole` always tests. Here the test is a separate step: a search trains many points and reads the test set once.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_logger, init_seed

from genpas_plugins import InputError
from recbole_ext.checkpoints import load_data_and_model
from recbole_ext.command_line import config_errors, model_errors, sealed
from recbole_ext.genpas_key import REPORT

OnEpoch = Callable[[int, float], None]

CRITERION = "NDCG@10"


def train(
    settings: Mapping[str, Any],
    *,
    model: str,
    dataset: str,
    config_files: Sequence[str | Path] = (),
    on_epoch: OnEpoch | None = None,
    test: bool = False,
    criterion: str = CRITERION,
) -> dict[str, Any]:
    """Train one model with a `genpas` key and return the results.

    Parameters
    ----------
    settings : mapping
        RecBole's settings; they win over `config_files`.
    model, dataset : str
        Names as for RecBole.
    config_files : sequence of path, optional
        YAML files.
    on_epoch : callable, optional
        Called as on_epoch(epoch from 0, validation figure) after every validation; it may raise to end the run.
    test : bool
        Whether to test once with the weights of the best validation.
    criterion : str
        Metric of the validation such as NDCG@10; more must be better.

    Returns
    -------
    dict
        trained_on, pairs_seen, seconds, epochs, test; `curve` has pairs, seconds and the criterion of every validation,
        `score` the best of them, and `checkpoint` is the file with these weights.

    Raises
    ------
    InputError
        If the configuration cannot be used, or validates by another metric.
    """
    with config_errors():
        config = Config(
            model, dataset, config_file_list=[str(file) for file in config_files], config_dict=sealed(settings)
        )
    check_criterion(config, criterion)
    init_seed(config["seed"], config["reproducibility"])
    with warnings.catch_warnings():
        # A second run opens a log file and drops it at once: logging keeps the handlers of the first.
        warnings.simplefilter("ignore", ResourceWarning)
        init_logger(config)
    data = create_dataset(config)
    train_data, valid_data, test_data = data_preparation(config, data)
    init_seed(config["seed"], config["reproducibility"])
    with model_errors(config.model, config.final_config_dict):
        network = get_model(config["model"])(config, train_data._dataset).to(config["device"])
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, network)
    curve: list[dict[str, float]] = []
    figure = f"validation_{criterion.lower()}"
    started = time.perf_counter()

    def record(epoch: int, score: float) -> None:
        pairs = (epoch + 1) * train_data.stream.pairs_per_epoch
        curve.append({"pairs": pairs, "seconds": time.perf_counter() - started, figure: float(score)})
        if on_epoch is not None:
            on_epoch(epoch, float(score))

    with closing(trainer.tensorboard):  # its thread would write to a relative path later on
        trainer.fit(train_data, valid_data, verbose=False, callback_fn=record)
        if not curve:
            raise InputError("Nothing was validated: epochs and eval_step must be 1 or more.")
        result: dict[str, Any] = {
            "trained_on": config[REPORT],
            "pairs_seen": curve[-1]["pairs"],
            "seconds": time.perf_counter() - started,
            "curve": curve,
            "score": max(point[figure] for point in curve),
            "epochs": len(curve),
            "checkpoint": str(Path(trainer.saved_model_file).resolve()),
        }
        if test:
            result["test"] = _plain(trainer.evaluate(test_data))
    return result


def evaluate_checkpoint(file: str | Path) -> dict[str, float]:
    """Return the test figures of a checkpoint that `train` left. Raises InputError if it cannot be loaded."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # as in `train`
        config, network, _, train_data, _, test_data = load_data_and_model(file)
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, network)
    trainer.eval_collector.data_collect(train_data)
    with closing(trainer.tensorboard):
        return _plain(trainer.evaluate(test_data, load_best_model=False))


def check_criterion(config: Any, criterion: str) -> None:
    """Raise InputError unless a RecBole Config validates by `criterion` and measures it."""
    metric, _, k = criterion.upper().partition("@")
    topk = config["topk"]
    measured = metric in (str(name).upper() for name in config["metrics"]) and int(k) in (
        topk if isinstance(topk, list) else [topk]
    )
    if str(config["valid_metric"]).upper() != criterion.upper() or not measured:
        raise InputError(
            f"Validation is by {criterion}, but valid_metric is {config['valid_metric']!r}, metrics are "
            f"{config['metrics']!r} and topk is {topk!r}. Leave valid_metric out, keep {metric} and {k}."
        )


def _plain(figures: Mapping[str, Any]) -> dict[str, float]:
    return {metric: float(value) for metric, value in figures.items()}
