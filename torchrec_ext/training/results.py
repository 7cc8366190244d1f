"""The end of a run: test the best weights once and write the model and the results."""

# ruff: noqa: E402 – a torchrec that cannot be imported is explained before it is imported

from __future__ import annotations

from typing import Any

from torchrec_ext.import_guard import require_torchrec

require_torchrec()

import torch
import torch.distributed as dist

import recbole_ext  # noqa: F401 – makes RecBole importable with today's numpy
from genpas_plugins.support.atomic import write_text
from genpas_plugins.support.console import Tell
from genpas_plugins.support.environment import versions
from genpas_plugins.support.json_text import to_json
from recbole_ext import checkpoints as recbole_checkpoints
from recbole_ext import growth
from recbole_ext.mask_history import masks_history
from recbole_ext.trained_on import trained_on
from torchrec_ext.checkpointing.checkpoints import Checkpoints
from torchrec_ext.evaluation import evaluate, recbole_state
from torchrec_ext.tables import layer_of
from torchrec_ext.training.folder import RunFolder
from torchrec_ext.training.run import Run

DISTRIBUTIONS = ("genpas-plugins", "torch", "torchrec", "fbgemm-gpu", "fbgemm-gpu-cpu", "recbole", "numpy")


def evaluate_run(run: Run, loader: Any, what: str, tell: Tell) -> dict[str, float]:
    """Return the figures of a validation or test set with the present weights: a collective call."""
    total = len(loader._dataset)
    return evaluate(
        run.sharded,
        loader,
        run.config,
        item_counts=run.loaders.train._dataset.item_counter,
        progress=lambda done: tell(what, done, total),
    )


def finish(run: Run, saved: Checkpoints, folder: RunFolder, settings: dict[str, Any], tell: Tell) -> dict[str, Any]:
    """Test the best weights once and write the model and the results."""
    record, curve = run.record, run.record.curve
    steps, pairs, epochs = run.steps_done, run.pairs_seen, run.stream.epoch
    tested = "last"
    if record.best_epoch is not None and saved.load_best(run.state()) is not None:
        tested = "best"
    test = evaluate_run(run, run.loaders.test, "test", tell)
    weights = recbole_state(run.sharded)
    results: dict[str, Any] = {
        "config": settings,
        "trained_on": {},
        "mask_history": masks_history(run.config),
        "epochs": epochs,
        "steps": steps,
        "pairs_seen": pairs,
        "stopped_early": record.stopped,
        "best_epoch": record.best_epoch,
        "best_valid": next((p["validation"] for p in curve if p["epoch"] == record.best_epoch), None),
        "tested_weights": tested,
        "test": test,
        "curve": curve,
        "seconds": record.seconds,
        "pairs_per_second": pairs / max(record.training_seconds, 1e-9),
        "world_size": run.ranks.world_size,
        "device": torch.cuda.get_device_name(run.device) if run.device.type == "cuda" else "cpu",
        "versions": {name: version for name, version in versions(DISTRIBUTIONS).items() if version},
    }
    if run.ranks.rank == 0:
        network: Any = layer_of(run.sharded).model
        results["trained_on"] = trained_on(run.loaders.train, run.loaders.valid)
        growth.remember(run.loaders.train)
        recbole_checkpoints.save(
            {
                "config": run.config,
                "epoch": (record.best_epoch or epochs) - 1,
                "cur_step": record.not_better,
                "best_valid_score": record.best_score,
                "state_dict": weights,
                "other_parameter": network.other_parameter(),
            },
            folder.model,
        )
        write_text(folder.results, to_json(results))
    dist.barrier(group=run.ranks.control)
    return results
