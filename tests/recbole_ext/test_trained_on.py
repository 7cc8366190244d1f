"""What a run reports beside its metrics, checked against plain counting."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from multiprocessing import SimpleQueue
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recbole.model.sequential_recommender import SASRec
from recbole.quick_start import run_recbole
from recbole.trainer import Trainer

from genpas_plugins.settings.mixing import MixingConfig
from recbole_ext.command_line import CommandLine
from recbole_ext.processes import run_recboles

SAMPLED = {"strategy": "sampled", "alpha": 1, "beta": 0, "gamma": 0}
MIXED = {"strategy": "mixture", "mixture": {"0,0,0": 3, "0,1,-inf": 1}}


def brute_force_kl(made: Any, weight: Callable[[int, int], float]) -> float:
    """KL(validation targets ‖ training targets), a training target at position k of n items weighing `weight(k, n)`."""
    store, lengths = made.train.dataset.store, made.train.stream.view.lengths()
    training: Counter[int] = Counter()
    for user, length in enumerate(lengths):
        items = store.values[store.offsets[user] : store.offsets[user] + length]
        for position in range(1, length):
            training[int(items[position])] += weight(position, length)
    validation = Counter(made.valid.dataset.inter_feat["item_id"].tolist())
    total, seen = sum(validation.values()), sum(training.values())
    divergence = 0.0
    for item in range(1, made.dataset.item_num):
        p, q = validation[item] / total + 1e-10, training[item] / seen + 1e-10
        divergence += p * math.log(p / q)
    return divergence


@pytest.mark.parametrize(
    ("key", "weight", "pairs"),
    [
        ({"strategy": "multi_target"}, lambda k, n: 1, "n_pairs"),
        ({"strategy": "last_target"}, lambda k, n: float(k == n - 1), "users"),
        ({"strategy": "slide_window"}, lambda k, n: k, "windows"),
        (SAMPLED, lambda k, n: 1, "n_pairs"),
        ({**SAMPLED, "alpha": 0, "beta": 1, "pairs_per_epoch": 77}, lambda k, n: k / sum(range(n)), 77),
        (MIXED, lambda k, n: 3 / (n - 1) + k / sum(range(n)), "n_pairs"),
        ({**MIXED, "targets": "parallel"}, lambda k, n: 3 / (n - 1) + k / sum(range(n)), "n_pairs"),
    ],
    ids=["multi_target", "last_target", "slide_window", "as multi_target", "recent targets", "mixture", "in parallel"],
)
def test_a_run_reports_what_it_trained_on(
    key: dict[str, Any],
    weight: Callable[[int, int], float],
    pairs: Any,
    prepare: Callable[..., Any],
    settings: dict[str, Any],
):
    made = prepare(key)
    lengths = made.train.stream.view.lengths()
    counts = {"n_pairs": np.maximum(lengths - 1, 0), "users": lengths >= 2, "windows": lengths * (lengths - 1) // 2}
    report = run_recbole("SASRec", "tiny", config_dict={**settings, "genpas": key})["trained_on"]
    assert report["kl_validation"] == pytest.approx(brute_force_kl(made, weight), rel=1e-9)
    assert report["pairs_per_epoch"] == (counts[pairs].sum() if isinstance(pairs, str) else pairs)
    assert {name: report[name] for name in ("strategy", "seed", "max_length", "loss", "time_order")} == {
        "strategy": key["strategy"],
        "seed": 7,
        "max_length": 5,
        "loss": "CE",
        "time_order": "exact",
    }
    if key["strategy"] == "sampled":
        assert [report[name] for name in ("alpha", "beta", "gamma")] == [
            key[name] for name in ("alpha", "beta", "gamma")
        ]


def test_the_expected_history_length_is_the_mean_of_what_is_drawn(prepare: Callable[..., Any]):
    made = prepare({"strategy": "multi_target"})
    trainer = Trainer(made.config, SASRec(made.config, made.train.dataset))
    trainer.fit(made.train, made.valid)
    lengths = np.concatenate([batch["item_length"].numpy() for batch in made.train])
    assert made.config["trained_on"]["expected_history_length"] == pytest.approx(lengths.mean())


def test_a_run_without_validation_reports_no_divergence(prepare: Callable[..., Any]):
    made = prepare(SAMPLED)
    Trainer(made.config, SASRec(made.config, made.train.dataset)).fit(made.train)
    assert "kl_validation" not in made.config["trained_on"]


def test_tensorboard_holds_the_report(settings: dict[str, Any], tmp_path: Path):
    run_recbole("SASRec", "tiny", config_dict={**settings, "genpas": SAMPLED})
    events = b"".join(file.read_bytes() for file in tmp_path.glob("log_tensorboard/**/events*"))
    assert b"trained_on" in events and b"kl_validation" in events


@pytest.mark.parametrize("before", ["SASRec", None])
def test_a_stock_run_reports_nothing_whatever_ran_before(before: str | None, settings: dict[str, Any]):
    if before:
        run_recbole(before, "tiny", config_dict={**settings, "genpas": SAMPLED})
    assert "trained_on" not in run_recbole("SASRec", "tiny", config_dict=dict(settings))
    pretraining = {**settings, "pretrain_epochs": 1, "save_step": 1}
    run_recbole("SASRec", "tiny", config_dict={**settings, "genpas": SAMPLED})
    assert "trained_on" not in run_recbole("S3Rec", "tiny", config_dict=pretraining)


def test_the_report_reaches_the_queue_of_a_run_of_many_processes(monkeypatch):
    calls = []

    def run_recbole(*given: Any, **keywords: Any) -> dict[str, Any]:
        calls.append((given, keywords))
        return {"test_result": 1, "trained_on": {"strategy": "sampled"}}

    monkeypatch.setattr("recbole.quick_start.run_recbole", run_recbole)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    queue = SimpleQueue()
    for rank in (0, 1):
        run_recboles(rank, "SASRec", "tiny", None, {"config_dict": CommandLine({"nproc": 2}), "queue": queue})
    assert calls == [(("SASRec", "tiny", None), {"config_dict": {"nproc": 2, "local_rank": rank}}) for rank in (0, 1)]
    assert all(keywords["config_dict"].place == "the command line" for _, keywords in calls)
    assert queue.get() == {"test_result": 1, "trained_on": {"strategy": "sampled"}}
    assert queue.empty()


def test_the_report_names_what_is_mixed(settings: dict[str, Any]):
    config = {**settings, "genpas": "multi_target"}
    assert run_recbole("SASRec", "tiny", config_dict=config)["trained_on"]["mixing"] is None
    section = {"method": "basrec", "warmup_epochs": 0, "beta": 0.3}
    report = run_recbole("SASRec", "tiny", config_dict={**config, "mixing": section})["trained_on"]
    assert report["mixing"] == MixingConfig(**section).model_dump()


def test_the_report_names_the_operators(settings: dict[str, Any]):
    operator = {"operator": "substitute", "rate": 0.3, "probability": 0.5}
    config = {**settings, "genpas": {"strategy": "multi_target", "augment": operator}}
    assert run_recbole("SASRec", "tiny", config_dict=config)["trained_on"]["augment"] == [operator]


def test_mixing_alone_is_reported_too(settings: dict[str, Any]):
    section = {"method": "basrec", "warmup_epochs": 0, "beta": 0.3}
    result = run_recbole("SASRec", "tiny", config_dict={**settings, "mixing": section})
    assert result["trained_on"] == {"mixing": MixingConfig(**section).model_dump()}


def test_trim_is_reported_as_it_is_set(settings: dict[str, Any]):
    section = {"strategy": "multi_target", "targets": "parallel"}
    report = run_recbole("SASRec", "tiny", config_dict={**settings, "genpas": section})["trained_on"]
    assert (report["targets"], report["trim"]) == ("parallel", False)


@pytest.mark.parametrize(("share", "warned"), [(0.01, True), (0.5, False), (1.0, False)])
def test_a_share_that_leaves_few_users_is_warned_of(
    share: float, warned: bool, prepare: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    made = prepare({"strategy": "multi_target", "train_users": share})
    trainer = Trainer(made.config, SASRec(made.config, made.train.dataset))
    told: list[str] = []
    monkeypatch.setattr(trainer.logger, "warning", told.append)
    trainer.fit(made.train, made.valid)
    users = [line for line in told if line.startswith("train_users 0.01 leaves 1 of ")]
    assert len(users) == len(told) == warned
