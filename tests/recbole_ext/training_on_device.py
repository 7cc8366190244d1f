"""Whole runs of RecBole on the stand-in device and on the CPU: python training_on_device.py CASES.json.

CASES.json holds {case: [model, settings]}. A JSON line a case has losses and metrics of both runs, and what the device
waits for, copies and computes: figures a step of the second epoch, and of a batch of the test.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import stand_in  # isort: skip – before torch

import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed

import recbole_ext  # noqa: F401 – registers


def run(model: str, settings: dict[str, Any], *, on_device: bool) -> dict[str, Any]:
    """Train two epochs, validate after each, test the best; return losses, metrics and counts."""
    config = Config(model, "tiny", config_dict={**settings, "gpu_id": "0" if on_device else ""})
    assert config["device"].type == ("cuda" if on_device else "cpu")
    init_seed(config["seed"], config["reproducibility"])
    train, valid, test = data_preparation(config, create_dataset(config))
    init_seed(config["seed"], config["reproducibility"])
    trainer = get_trainer(config["MODEL_TYPE"], model)(
        config, get_model(model)(config, train._dataset).to(config["device"])
    )
    train_epoch, counted = trainer._train_epoch, []

    def counting(*args: Any, **kwargs: Any) -> Any:
        with stand_in.counting() as counts:
            loss = train_epoch(*args, **kwargs)
        counted.append(counts)
        return loss

    trainer._train_epoch = counting
    trainer.fit(train, valid, show_progress=False)
    with stand_in.counting() as of_test:
        figures = dict(trainer.evaluate(test, show_progress=False))
    losses = [sum(loss) if isinstance(loss, tuple) else loss for loss in trainer.train_loss_dict.values()]
    valid_figures = dict(trainer.best_valid_result)
    return {
        "losses": [float(loss) for loss in losses],
        "figures": [valid_figures, figures],
        "counts": per(counted[-1], len(train)),
        "of_test": per(of_test, len(test)),
    }


def per(counts: stand_in.Counts, steps: int) -> dict[str, Any]:
    """Return counts a step; waits by function."""
    waits: Counter[str] = Counter()
    for place, number in counts.waits.items():
        waits[place.rsplit(":", 1)[0]] += number
    return {
        "waits": {place: round(number / steps, 2) for place, number in waits.items()},
        "copies": round(sum(counts.copies.values()) / steps, 2),
        "kernels": round(counts.kernels / steps, 1),
    }


def main(cases: dict[str, tuple[str, dict[str, Any]]]) -> None:
    """Print a line a case."""
    for case, (model, settings) in cases.items():
        expected = run(model, settings, on_device=False)
        with stand_in.Device():
            found = run(model, settings, on_device=True)
        both = {name: [found[name], expected[name]] for name in ("losses", "figures")}
        print(json.dumps({"case": case, **both, "step": found["counts"], "test": found["of_test"]}), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(json.loads(Path(sys.argv.pop()).read_text()))
    os._exit(0)  # a library's thread may still run, and the interpreter's end would abort
