"""Steps of `bench_gpu` that need TorchRec: every sharding with the table's fused optimizer, and a killed run."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from benchmarks import forked
from benchmarks.gpu_core import synchronize
from benchmarks.gpu_models import data
from benchmarks.torchrec_setup import MAX_LENGTH, recommender
from benchmarks.training_setup import DATA_SET


def sharding(device: torch.device, quick: bool) -> Iterator[dict[str, Any]]:
    """Time a step of SASRec in every sharding and output layer, by rows of the table; fused Adam on a GPU."""
    from torchrec_ext.batch import PairBatch
    from torchrec_ext.shard import own_rows, shard, with_output_rows
    from torchrec_ext.sharding_plan import SHARDINGS
    from torchrec_ext.tables import dense_parameters

    if not dist.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)
    optimizer = "adam" if device.type == "cuda" else "row_wise_adagrad"
    pairs, repeats = (32, 1) if quick else (2048, 5)
    for rows in (200,) if quick else (12_102, 125_001, 1_000_001):
        random = torch.Generator().manual_seed(0)
        lengths = torch.randint(1, MAX_LENGTH + 1, (pairs,), generator=random)
        values = torch.randint(1, rows, (int(lengths.sum()),), generator=random)
        offsets = torch.nn.functional.pad(lengths.cumsum(0), (1, 0))
        target = torch.randint(1, rows, (pairs,), generator=random)
        batch = PairBatch.of(values, offsets, target, torch.arange(pairs), 0).to(device)
        for name in SHARDINGS:
            for output in ("vocab_parallel", "gather") if name == "row_wise" else ("vocab_parallel",):
                sharded = shard(recommender(rows), sharding=name, output=output, optimizer=optimizer, device=device)
                dense = torch.optim.Adam(dense_parameters(sharded).values(), fused=device.type == "cuda")
                ready, fastest, loss = with_output_rows(batch, "all", own_rows(sharded)), float("inf"), 0.0
                for repeat in range(repeats + 1):
                    synchronize(device)
                    begin = time.perf_counter()
                    dense.zero_grad()
                    step = sharded(ready)
                    step.loss.backward()
                    dense.step()
                    synchronize(device)
                    if repeat:
                        fastest, loss = min(fastest, time.perf_counter() - begin), float(step.loss)
                yield {
                    "rows": rows,
                    "sharding": name,
                    "output": output,
                    "optimizer": optimizer,
                    "seconds_a_step": fastest,
                    "loss": loss,
                }


def resume(device: torch.device, quick: bool) -> Iterator[dict[str, Any]]:
    """Kill a run of torchrec_ext.train after its first checkpoint, start it again, and compare with an unbroken run."""
    folder = Path(tempfile.mkdtemp(prefix="genpas-resume-"))
    settings = {
        **{"model": "SASRec", "dataset": DATA_SET, "data_path": data(quick), "epochs": 2, "seed": 7, "topk": [10]},
        **{"load_col": {"inter": ["user_id", "item_id", "timestamp"]}, "metrics": ["NDCG"], "valid_metric": "NDCG@10"},
        **{"MAX_ITEM_LIST_LENGTH": 50, "train_batch_size": 64 if quick else 2048, "eval_batch_size": 2048},
        **({"hidden_size": 8, "inner_size": 8, "n_layers": 1, "n_heads": 1} if quick else {}),
        "use_gpu": device.type == "cuda",
        "genpas": {"strategy": "sampled", "alpha": 1, "beta": 0, "gamma": 0},
        "torchrec": {"checkpoint_every": 2, "learning_rate": 0.1},
    }
    (folder / "run.yaml").write_text(json.dumps(settings), encoding="utf-8")

    def start(out: str) -> BaseProcess:
        words = ("--config", str(folder / "run.yaml"), "--out", out)
        return forked.start("torchrec_ext.train", *words, log=folder / "log", cwd=folder)

    start("whole").join()
    killed = start("killed")
    while killed.is_alive() and not list((folder / "killed" / "checkpoints").glob("step-*/*.json")):
        time.sleep(0.05)
    killed.kill()
    killed.join()
    finished_before = (folder / "killed" / "results.json").exists()
    again = start("killed")
    again.join()
    curves = [json.loads((folder / run / "results.json").read_text())["curve"] for run in ("whole", "killed")]
    losses = [[point["train_loss"] for point in curve] for curve in curves]
    yield {
        "exit": again.exitcode,
        "killed_in_time": not finished_before,
        "equal": losses[0] == losses[1],
        "losses": losses,
        "metrics_equal": [a["validation"] == b["validation"] for a, b in zip(*curves, strict=True)],
    }
