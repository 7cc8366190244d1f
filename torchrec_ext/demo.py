"""`make demo-torchrec`: SASRec on MovieLens-100K with an item table sharded over two CPU processes.

Ends with the validation curve, the test figures and the speed. A stopped run continues at the next start.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import typer

from genpas_plugins.support.console import print_table

SETTINGS: dict[str, Any] = {
    "model": "SASRec",
    "dataset": "ml-100k",
    "epochs": 8,
    "n_layers": 1,
    "n_heads": 2,
    "hidden_size": 64,
    "inner_size": 128,
    "hidden_dropout_prob": 0.2,
    "attn_dropout_prob": 0.2,
    "MAX_ITEM_LIST_LENGTH": 20,
    "train_batch_size": 512,
    "learning_rate": 2e-3,
    "metrics": ["NDCG", "Recall"],
    "topk": [10],
    "valid_metric": "NDCG@10",
    "seed": 2026,
    "use_gpu": False,
    "genpas": {"strategy": "sampled", "alpha": 1, "beta": 0, "gamma": 0, "pairs_per_epoch": 30_000},
    "torchrec": {"sharding": "row_wise", "output": "vocab_parallel", "checkpoint_every": 20},
}


def main(arguments: list[str] | None = None) -> None:
    """Train under torchrun and print the results as a table."""
    parser = argparse.ArgumentParser(prog="python -m torchrec_ext.demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("outputs/demo-torchrec"), help="the run's folder")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=SETTINGS["epochs"])
    parser.add_argument("--fresh", action="store_true", help="delete the run found in the folder and begin anew")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    settings = options.out / "settings.yaml"
    settings.write_text(json.dumps({**SETTINGS, "epochs": options.epochs}, indent=1) + "\n", encoding="utf-8")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={options.ranks}"]
    train = ["-m", "torchrec_ext.train", "--config", str(settings), "--out", str(options.out), "--json"]
    threads = os.environ.get("OMP_NUM_THREADS", "1")
    done = subprocess.run(
        [*torchrun, *train, *["--fresh"] * options.fresh],
        env={**os.environ, "OMP_NUM_THREADS": threads},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.returncode)
    results = json.loads(done.stdout)
    print_table(
        ("epoch", "pairs seen", "seconds", "loss", "validation NDCG@10", "Recall@10"),
        [
            [
                str(point["epoch"]),
                f"{point['pairs']:,}",
                f"{point['seconds']:.0f}",
                f"{point['train_loss']:.4f}",
                *(f"{point['validation'][metric]:.4f}" for metric in ("ndcg@10", "recall@10")),
            ]
            for point in results["curve"]
        ],
        title="SASRec on MovieLens-100K, item table sharded over the ranks",
    )
    test = ", ".join(f"{name.upper()} {value:.4f}" for name, value in results["test"].items())
    typer.echo(f"Test, once, with the weights of epoch {results['best_epoch']}: {test}.")
    typer.echo(
        f"{results['pairs_per_second']:,.0f} pairs a second on {results['world_size']} ranks. "
        f"Saved in {options.out}: results.json, model.pth, checkpoints, tensorboard."
    )


if __name__ == "__main__":
    main()
