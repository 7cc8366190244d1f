"""A training that goes on with more data: rows by id, the rule for new rows, replay and the report."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from recbole.quick_start import run_recbole

from genpas_plugins import GenPASConfig, InputError
from genpas_plugins.analysis.divergence import kl_divergence
from recbole_ext import growth
from recbole_ext.checkpoints import load, save, unpacked_ids

SAMPLED = {"strategy": "sampled", "alpha": 1, "beta": 0, "gamma": 0, "pairs_per_epoch": 60}
NO_POINT = dict.fromkeys(("alpha", "beta", "gamma", "pairs_per_epoch"))
SMALL = {"hidden_size": 8, "inner_size": 8, "n_layers": 1, "n_heads": 1, "epochs": 1}


def write(folder: Path, sequences: dict[str, list[str]]) -> None:
    rows = [f"{user}\t{item}\t{time}" for user, items in sequences.items() for time, item in enumerate(items)]
    (folder / "shop").mkdir(parents=True, exist_ok=True)
    header = "user_id:token\titem_id:token\ttimestamp:float"
    (folder / "shop" / "shop.inter").write_text("\n".join([header, *rows]) + "\n")


OLD = {f"u{u}": [f"i{(u + 3 * n) % 9}" for n in range(6)] for u in range(8)}
# A new user comes first, so that RecBole numbers known items anew; u0 and u1 go on.
GREW = {user: [*OLD[user], "x", "i5"] for user in ("u0", "u1")}
NEW = {"a": ["x", "y", "i3", "x", "i0"], **OLD, **GREW}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Callable[..., dict[str, Any]], Path]:
    """Return a function that trains on NEW from the checkpoint, and the checkpoint, trained on OLD."""
    root = tmp_path_factory.mktemp("growth")

    def train(name: str, sequences: dict[str, list[str]], wandb: bool = False, **key: Any) -> dict[str, Any]:
        write(root / name, sequences)
        settings = {
            **SMALL,
            "data_path": str(root / name),
            "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
            "genpas": {**SAMPLED, **key},
            "checkpoint_dir": str(root / name / "saved"),
            "train_neg_sample_args": None,
            "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "full"},
            "topk": [3],
            "metrics": ["Recall"],
            "valid_metric": "Recall@3",
            "MAX_ITEM_LIST_LENGTH": 5,
            "show_progress": False,
            "log_wandb": wandb,
        }
        return dict(run_recbole("SASRec", "shop", config_dict=settings))

    train("old", OLD)
    return train, next((root / "old" / "saved").glob("*.pth"))


def test_rows_follow_ids_and_new_rows_the_rule(trained, monkeypatch: pytest.MonkeyPatch):
    train, checkpoint = trained
    seen: dict[str, Any] = {}
    start = growth.start_from

    def watching(file: Any, model: Any, dataset: Any, seed: int) -> None:
        start(file, model, dataset, seed)
        seen.update(rows=model.item_embedding.weight.detach().clone(), ids=dataset.field2token_id["item_id"])

    monkeypatch.setattr(growth, "start_from", watching)
    report = train("new", NEW, warm_start=str(checkpoint))["trained_on"]
    content = load(checkpoint)
    old_rows = content["state_dict"]["item_embedding.weight"]
    old_ids = unpacked_ids(content["trained_data"]["item_ids"])
    for number, item in enumerate(old_ids[1:], start=1):
        assert torch.equal(seen["rows"][seen["ids"][item]], old_rows[number])
    mean, deviation = old_rows[1:].mean(0), old_rows[1:].std(0, unbiased=False)
    for item in "xy":
        away = (seen["rows"][seen["ids"][item]] - mean).abs()
        assert (away > 0).all() and (away < 6 * growth.NOISE * deviation).all()
    assert torch.equal(seen["rows"][0], old_rows[0])
    assert (report["items_kept"], report["items_new"], report["items_gone"]) == (9, 2, 0)
    assert report["kl_from_before"] == pytest.approx(kl_divergence(targets(OLD), targets(NEW)), rel=1e-4)


def targets(sequences: dict[str, list[str]], known: dict[str, list[str]] | None = None) -> np.ndarray:
    """Return how often each item is a training target after those of `known`; alike likely at α = 1 and β = 0."""
    names = sorted({item for items in NEW.values() for item in items})
    counts = np.zeros(len(names) + 1)
    for user, items in sequences.items():
        read = [] if known is None or user not in known else known[user][:-2]
        for item in items[max(1, len(read)) : -2]:
            counts[1 + names.index(item)] += 1
    return counts / counts.sum()


def test_replay_draws_old_pairs_and_new_targets(trained):
    train, checkpoint = trained
    report = train("new", NEW, warm_start=str(checkpoint), replay=0.25)["trained_on"]
    assert report["replay"] == 0.25
    assert report["pairs_per_epoch"] == 60
    will = 0.25 * targets(OLD) + 0.75 * targets(NEW, OLD)
    assert report["kl_from_before"] == pytest.approx(kl_divergence(targets(OLD), will), rel=1e-4)
    # By default an epoch has each new target once: two of u0, of u1 and of a.
    key = {**NO_POINT, "strategy": "multi_target", "warm_start": str(checkpoint), "replay": 0.25}
    assert train("new", NEW, **key)["trained_on"]["pairs_per_epoch"] == 8
    # Without new data there is nothing to replay against.
    with pytest.raises(InputError, match="no user has more training items"):
        train("same", OLD, warm_start=str(checkpoint), replay=0.25)


def test_weights_and_biases_and_tensorboard_get_the_report(trained, monkeypatch: pytest.MonkeyPatch):
    train, _ = trained
    sent: list[dict[str, Any]] = []
    run = SimpleNamespace(summary={})
    config = SimpleNamespace(update=lambda values, allow_val_change: sent.append(values))
    nothing: Callable[..., None] = lambda *_, **__: None  # noqa: E731
    stub = SimpleNamespace(run=run, config=config, init=nothing, log=nothing, define_metric=nothing)
    parameters: list[dict[str, Any]] = []
    monkeypatch.setitem(sys.modules, "wandb", stub)
    monkeypatch.setattr(
        "torch.utils.tensorboard.SummaryWriter.add_hparams", lambda _, given, figures: parameters.append(given)
    )
    report = train("logged", OLD, wandb=True)["trained_on"]
    assert [values["trained_on"]["pairs_per_epoch"] for values in sent] == [60]
    assert parameters[0]["trained_on"] == str(report)


def test_a_checkpoint_that_does_not_fit_is_refused(trained, tmp_path: Path):
    train, checkpoint = trained
    content = load(checkpoint)
    del content["trained_data"]
    save(content, tmp_path / "without.pth")
    with pytest.raises(InputError, match="does not name the items it was trained on"):
        train("new", NEW, warm_start=str(tmp_path / "without.pth"))
    content = load(checkpoint)
    content["state_dict"]["position_embedding.weight"] = torch.zeros(7, 8)
    save(content, tmp_path / "other.pth")
    other = load(tmp_path / "other.pth")
    assert "trained_data" in other
    with pytest.raises(InputError, match=r"position_embedding\.weight is of shape \[7, 8\].* only tables of items"):
        train("new", NEW, warm_start=str(tmp_path / "other.pth"))


def test_replay_without_a_checkpoint_is_refused():
    with pytest.raises(InputError, match="set warm_start to its checkpoint"):
        GenPASConfig(**SAMPLED, replay=0.5)
