"""Steps of `bench_gpu` that train RecBole's models: an epoch a way, beams against all items, kernels, quality."""

from __future__ import annotations

import copy
import os
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch

from benchmarks.bench_augment import make_store
from benchmarks.gpu_core import synchronize
from benchmarks.training_setup import DATA_SET, export

WAYS: dict[str, dict[str, Any]] = {
    "plain": {"genpas": {"strategy": "multi_target"}},
    "trim": {"genpas": {"strategy": "multi_target", "trim": True}},
    "parallel": {"genpas": {"strategy": "multi_target", "targets": "parallel"}},
    "parallel, bfloat16": {"genpas": {"strategy": "multi_target", "targets": "parallel"}, "enable_amp": True},
}
NETWORKS: dict[str, dict[str, Any]] = {
    "SASRec": {"hidden_size": 64, "inner_size": 256, "n_layers": 2, "n_heads": 2},
    "GRU4Rec": {"hidden_size": 128, "embedding_size": 64},
    "TIGER": {},
}
SMALL: dict[str, dict[str, Any]] = {
    "SASRec": {"hidden_size": 8, "inner_size": 8, "n_layers": 1, "n_heads": 1},
    "GRU4Rec": {"hidden_size": 8, "embedding_size": 8},
    "TIGER": {"levels": 2, "codes": 16, "d_model": 8, "num_heads": 2, "head_size": 4, "d_ff": 16, "beams": 12},
}
DATA_DIR = "GENPAS_DATA_DIR"
QUALITY = 0.0697
"""Validation NDCG@10 of SASRec on Beauty, trained to its end."""


@cache
def data(quick: bool) -> str:
    """Return a folder with an .inter file of Beauty's size, or of toy size."""
    folder = tempfile.mkdtemp(prefix="genpas-gpu-")
    make_store(f"{folder}/store", *((120, 60) if quick else (22_363, 12_101)))
    export(f"{folder}/store", folder)
    return folder


def made(folder: str, model: str, device: torch.device, quick: bool, **settings: Any) -> tuple[Any, Any, Any]:
    """Return a trainer on the device and the loaders of training and validation."""
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed

    import recbole_ext  # noqa: F401 – registers

    values = {
        **{"data_path": folder, "checkpoint_dir": folder, "load_col": {"inter": ["user_id", "item_id", "timestamp"]}},
        **{"MAX_ITEM_LIST_LENGTH": 50, "train_neg_sample_args": None, "train_batch_size": 64 if quick else 2048},
        **{"show_progress": False, "state": "ERROR", "topk": [10], "metrics": ["NDCG"], "valid_metric": "NDCG@10"},
        **{"use_gpu": device.type == "cuda", "eval_batch_size": 2048, **NETWORKS[model]},
        **(SMALL[model] if quick else {}),
        **settings,
    }
    config = Config(model=model, dataset=DATA_SET, config_dict=values)
    config.final_config_dict["device"] = device
    train, valid, _ = data_preparation(config, create_dataset(config))
    init_seed(1, True)
    built = get_model(model)(config, train._dataset).to(device)
    return get_trainer(config["MODEL_TYPE"], model)(config, built), train, valid


def epochs(device: torch.device, quick: bool) -> Iterator[dict[str, Any]]:
    """Train an epoch a model and way; the loss of the first batch is compared with the CPU's, without dropout."""
    from recbole_ext.parallel_targets import loss_of_epoch

    pairs = 256 if quick else 60 * 2048
    for model in NETWORKS:
        for way, settings in WAYS.items():
            if model == "TIGER" and way != "plain":
                continue  # it trims by itself, and its default encoder is not causal
            section = {**settings["genpas"], "pairs_per_epoch": pairs}
            trainer, train, _ = made(data(quick), model, device, quick, **{**settings, "genpas": section})
            batch = next(iter(train))
            losses = []
            for place in (device, torch.device("cpu")):
                twin = copy.copy(trainer)
                twin.model = copy.deepcopy(trainer.model).to(place).eval()
                twin.model.device = place
                loss_of = loss_of_epoch(twin, train, 0) or twin.model.calculate_loss
                with torch.no_grad():
                    losses.append(float(loss_of(batch.to(place))))
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            synchronize(device)
            begin = time.perf_counter()
            loss = trainer._train_epoch(train, 0)
            synchronize(device)
            seconds = time.perf_counter() - begin
            yield {
                "model": model,
                "way": way,
                "seconds": seconds,
                "targets_per_second": pairs / seconds,
                "loss": float(loss) / len(train),
                "first_loss_off_the_cpu": abs(losses[0] / losses[1] - 1),
                "memory_gib": torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None,
            }


def beams(device: torch.device, quick: bool) -> Iterator[dict[str, Any]]:
    """Compare the ten best items of a beam that is as wide as the catalogue with the scores of all items."""
    users = 8 if quick else 64
    trainer, _, valid = made(data(quick), "TIGER", device, quick, genpas={"strategy": "last_target"}, dropout=0.0)
    model = trainer.model.eval()
    batch = next(iter(valid))[0][:users].to(device)
    found, seconds = {}, {}
    for exact in (False, True):
        object.__setattr__(model.settings, "exact_ranking", exact)
        object.__setattr__(model.settings, "beams", model.n_items - 1 if quick else 1024)
        with torch.no_grad():
            begin = time.perf_counter()
            found[exact] = model.best_items(batch, 10)
            synchronize(device)
            seconds[exact] = time.perf_counter() - begin
    same = (found[False][0][:, :, None] == found[True][0][:, None]).any(2).float().mean()
    off = (found[False][1] - found[True][1]).abs().max()
    yield {
        "users": users,
        "share_of_items_found": float(same),
        "score_gap": float(off),
        "beam_seconds": seconds[False],
        "exact_seconds": seconds[True],
    }


def kernels(device: torch.device, quick: bool) -> Iterator[dict[str, Any]]:
    """Count the kernels of a training step by hidden size: on a CPU, the operations."""
    from torch.profiler import ProfilerActivity, profile

    from recbole_ext.parallel_targets import loss_of_epoch

    for size in (8,) if quick else (64, 128, 256):
        for way in ("plain", "parallel"):
            trainer, train, _ = made(
                data(quick), "SASRec", device, quick, **WAYS[way], hidden_size=size, inner_size=4 * size
            )
            loss_of = loss_of_epoch(trainer, train, 0) or trainer.model.calculate_loss
            batch = next(iter(train)).to(device)

            def step(trainer: Any = trainer, loss_of: Any = loss_of, batch: Any = batch) -> None:
                trainer.optimizer.zero_grad()
                loss_of(copy.copy(batch)).backward()
                trainer.optimizer.step()

            step()
            synchronize(device)
            on_gpu = device.type == "cuda"
            with profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]) as seen:
                step()
                synchronize(device)
            begin = time.perf_counter()
            step()
            synchronize(device)
            events = [event for event in seen.events() if on_gpu or event.cpu_parent is None]
            yield {
                "hidden_size": size,
                "way": way,
                "kernels" if on_gpu else "operations": len(events),
                "seconds_a_step": time.perf_counter() - begin,
            }


def quality(device: torch.device, quick: bool) -> Iterator[dict[str, Any]]:
    """Train SASRec on Beauty until validation NDCG@10 is 0.0697: seconds by epoch."""
    folder, wanted = data(quick), 0.0
    if not quick:
        source = Path(os.environ.get(DATA_DIR, "")) / "beauty" / "interactions.parquet"
        if not source.is_file():
            yield {"not_run": f"needs Beauty: set {DATA_DIR} to the folder that holds beauty/interactions.parquet"}
            return
        from benchmarks.sampler import read_store

        read_store(f"{folder}/beauty", str(source))
        export(f"{folder}/beauty", folder)
        wanted = QUALITY
    settings = {**WAYS["parallel, bfloat16"], "epochs": 200}
    trainer, train, valid = made(folder, "SASRec", device, quick, **settings)
    trainer.eval_collector.data_collect(train)
    begin = time.perf_counter()
    for epoch in range(200):
        trainer._train_epoch(train, epoch)
        synchronize(device)
        trained = time.perf_counter() - begin
        score, _ = trainer._valid_epoch(valid)
        line = {"epoch": epoch + 1, "ndcg@10": float(score), "seconds": trained}
        yield {**line, "seconds_with_validation": time.perf_counter() - begin, "reached": bool(score >= wanted)}
        if score >= wanted:
            return
