"""Make SASRec in RecBole for the training measurements: stock, with trimmed batches, or with parallel targets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

DATA_SET = "interactions"
BATCH, MAX_LENGTH = 2048, 50
STOCK, TRIMMED, PARALLEL = "stock RecBole", "single, trimmed", "parallel"
HALF = ", bfloat16"
WAYS: dict[str, dict[str, Any]] = {
    STOCK: {},
    TRIMMED: {"genpas": {"strategy": "multi_target", "trim": True}},
    TRIMMED + HALF: {"genpas": {"strategy": "multi_target", "trim": True}, "enable_amp": True},
    PARALLEL: {"genpas": {"strategy": "multi_target", "targets": "parallel"}},
    PARALLEL + HALF: {"genpas": {"strategy": "multi_target", "targets": "parallel"}, "enable_amp": True},
}
"""The ways to train on every target of every sequence, and the settings of each."""


def export(store: str, folder: str) -> dict[str, Any]:
    """Write the .inter file of a store."""
    from genpas_plugins import SequenceStore
    from genpas_plugins.data.recbole_files import export_recbole

    export_recbole(SequenceStore.open(store), Path(folder), DATA_SET, overwrite=True)
    return {}


def make(folder: str, way: str, network: Mapping[str, float]) -> tuple[Any, Any, Any]:
    """Return a trainer and both loaders, with one thread and the same weights for every way."""
    import torch
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed

    import recbole_ext  # noqa: F401 – registers

    torch.set_num_threads(1)
    values: dict[str, Any] = {
        "data_path": folder,
        "checkpoint_dir": folder,
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "MAX_ITEM_LIST_LENGTH": MAX_LENGTH,
        "train_neg_sample_args": None,
        "train_batch_size": BATCH,
        "hidden_dropout_prob": 0.5,
        "attn_dropout_prob": 0.5,
        "use_gpu": False,
        "show_progress": False,
        "state": "ERROR",
        "topk": [10],
        "metrics": ["NDCG", "Recall"],
        "valid_metric": "NDCG@10",
        **network,
        **WAYS[way],
    }
    config = Config(model="SASRec", dataset=DATA_SET, config_dict=values)
    train, valid, _ = data_preparation(config, create_dataset(config))
    init_seed(1, True)
    model = get_model("SASRec")(config, train._dataset)
    return get_trainer(config["MODEL_TYPE"], "SASRec")(config, model), train, valid


def loss_of(trainer: Any, way: str) -> Any:
    """Return this way's function from a batch to its loss."""
    from recbole_ext.parallel_targets import WindowLoss
    from recbole_ext.trimming import TrimmedLoss

    if way.startswith(PARALLEL):
        return WindowLoss(trainer.config, trainer.model)
    return TrimmedLoss(trainer.model) if way.startswith(TRIMMED) else trainer.model.calculate_loss


def train_step(trainer: Any, loss_of_batch: Any, batch: Any) -> None:
    """Train one batch, as RecBole's trainer does."""
    import torch

    trainer.optimizer.zero_grad()
    with torch.autocast("cpu", enabled=trainer.enable_amp):
        loss = loss_of_batch(batch)
    loss.backward()
    trainer.optimizer.step()


def targets_in(batch: Any) -> int:
    """Return how many targets of a batch have a loss."""
    from recbole_ext.dataloader import TARGET_WEIGHT

    return int((batch[TARGET_WEIGHT] > 0).sum()) if TARGET_WEIGHT in batch.interaction else len(batch)
