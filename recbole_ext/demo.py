"""`make demo`: train the same SASRec on MovieLens-100K with three strategies and one budget of pairs.

It saves the results as JSON and a plot of validation NDCG@10 against pairs seen.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import typer

import recbole_ext  # noqa: F401 – registers GenPAS in RecBole
from genpas_plugins.support.atomic import replace_file
from genpas_plugins.support.console import print_json, print_table, progress_bar
from recbole_ext.training_run import evaluate_checkpoint, train

STRATEGIES: dict[str, dict[str, Any]] = {
    "last_target": {"strategy": "last_target"},
    "multi_target": {"strategy": "multi_target"},
    "sampled 1,0,0": {"strategy": "sampled", "alpha": 1, "beta": 0, "gamma": 0},
}
PAIRS_PER_EPOCH = 30_000
EPOCHS = 8

SAVED = ("trained_on", "pairs_seen", "seconds", "curve", "test")

SETTINGS: dict[str, Any] = {
    "epochs": EPOCHS,
    "n_layers": 1,
    "n_heads": 2,
    "hidden_size": 64,
    "inner_size": 128,
    "hidden_dropout_prob": 0.2,
    "attn_dropout_prob": 0.2,
    "MAX_ITEM_LIST_LENGTH": 20,
    "loss_type": "CE",
    "train_neg_sample_args": None,
    "train_batch_size": 512,
    "learning_rate": 2e-3,
    "metrics": ["NDCG", "Recall"],
    "topk": [10],
    "valid_metric": "NDCG@10",
    "stopping_step": EPOCHS,
    "seed": 2026,
    "state": "ERROR",
    "show_progress": False,
}


def main(arguments: list[str] | None = None) -> None:
    """Train all strategies and print the table. The results are saved under `--out`."""
    parser = argparse.ArgumentParser(prog="python -m recbole_ext.demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("outputs/demo"), help="folder for results.json and the plot")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--pairs-per-epoch", type=int, default=PAIRS_PER_EPOCH)
    parser.add_argument("--json", action="store_true", help="print the results as JSON instead of a table")
    options = parser.parse_args(arguments)
    sys.argv[1:] = []  # RecBole reads the command line too, and would warn of every word
    results = []
    with progress_bar() as tell:
        for name, section in STRATEGIES.items():
            genpas = {**section, "pairs_per_epoch": options.pairs_per_epoch}
            settings = {"genpas": genpas, "epochs": options.epochs, "checkpoint_dir": str(options.out / "checkpoints")}
            run = train(
                {**SETTINGS, **settings},
                model="SASRec",
                dataset="ml-100k",
                on_epoch=partial(lambda name, epoch, _: tell(name, epoch + 1, options.epochs), name),
            )
            result = {**asdict(run), "test": evaluate_checkpoint(run.checkpoint)}
            results.append({"name": name, **{part: result[part] for part in SAVED}})
    with replace_file(options.out / "results.json") as file:
        file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    plot(results, options.out / "validation_ndcg.png")
    if options.json:
        print_json(results)
    else:
        print_table(
            ("strategy", "KL to validation", "pairs seen", "seconds", "NDCG@10", "Recall@10"),
            [
                [
                    result["name"],
                    f"{result['trained_on']['kl_validation']:.3f}",
                    f"{result['pairs_seen']:,}",
                    f"{result['seconds']:.0f}",
                    *(f"{result['test'][metric]:.4f}" for metric in ("ndcg@10", "recall@10")),
                ]
                for result in results
            ],
            title="SASRec on MovieLens-100K: full ranking, tested once at the best validation epoch",
        )
        typer.echo(f"Saved {options.out / 'results.json'} and {options.out / 'validation_ndcg.png'}.")


def plot(results: list[dict[str, Any]], file: Path) -> None:
    """Draw validation NDCG@10 against pairs seen as a PNG with one line a strategy."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for result in results:
        pairs = [point["pairs"] / 1e3 for point in result["curve"]]
        axes.plot(pairs, [point["validation"] for point in result["curve"]], marker="o", label=result["name"])
    axes.set(xlabel="training pairs seen (thousands)", ylabel="validation NDCG@10", ylim=(0, None))
    axes.set_title("Same model, same budget, different training pairs", loc="left")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    with replace_file(file) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    main()
