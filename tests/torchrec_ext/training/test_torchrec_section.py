from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torchrec")

import yaml

from genpas_plugins import GenPASConfig
from genpas_plugins.settings.loss import LossConfig
from genpas_plugins.settings.torchrec import TorchRecConfig
from genpas_plugins.support.errors import InputError
from torchrec_ext.training.torchrec_section import check_recbole, sampled_loss

CONFIGS = Path(__file__).parents[3] / "configs" / "torchrec"

RECBOLE: dict[str, Any] = {
    **{"learner": "adam", "learning_rate": 0.001, "epochs": 3, "train_batch_size": 8, "eval_step": 1},
    **{
        "stopping_step": 10,
        "eval_batch_size": 8,
        "MAX_ITEM_LIST_LENGTH": 5,
        "metrics": ["NDCG", "Recall"],
        "topk": [5, 10],
        "valid_metric": "NDCG@10",
    },
    "eval_args": {"mode": {"valid": "full", "test": "full"}},
    **dict.fromkeys(["clip_grad_norm", "enable_amp", "enable_scaler", "transform", "log_wandb"]),
}


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.yaml")), ids=lambda file: file.stem)
def test_the_files_to_copy_are_valid(file: Path):
    TorchRecConfig.from_config(yaml.safe_load(file.read_text()), str(file))


def test_without_a_section_the_defaults_and_the_file_to_copy_says_them():
    assert TorchRecConfig.from_config({}) is None
    copied = TorchRecConfig.from_config(yaml.safe_load((CONFIGS / "row_wise.yaml").read_text()))
    assert copied == TorchRecConfig()


def test_a_flat_key_wins_over_the_section():
    config = {"torchrec": {"output": "gather", "keep_last": 5}, "torchrec_keep_last": 7, "seed": 1}
    assert TorchRecConfig.from_config(config) == TorchRecConfig(output="gather", keep_last=7)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"torchrec": {"shardin": "row_wise"}}, "torchrec has no key 'shardin'. Did you mean 'sharding'"),
        ({"torchrec_shardin": "row_wise"}, "torchrec has no key 'shardin'. Did you mean 'sharding'"),
        ({"torchrec": "row_wise"}, "must hold keys such as"),
        ({"torchrec": {"sharding": "rows"}}, "sharding is 'rows'"),
        ({"torchrec": {"output": ["gather"]}}, "output is .'gather'"),
        ({"torchrec": {"learning_rate": "high"}}, "learning_rate must be a number above 0, not 'high'"),
        ({"torchrec": {"learning_rate": float("nan")}}, "learning_rate must be a number above 0"),
        ({"torchrec": {"learning_rate": True}}, "learning_rate must be a number above 0"),
        ({"torchrec": {"checkpoint_every": 0}}, "checkpoint_every must be a whole number from 1 on, or null, not 0"),
        ({"torchrec": {"keep_last": None}}, "keep_last must be a whole number from 1 on, not None"),
        ({"torchrec": {"memory_per_rank": "4GB"}}, "memory_per_rank must be a whole number"),
        ({"torchrec": {"output": "sampled"}}, "output sampled needs negatives"),
        ({"torchrec": {"negatives": 100}}, "negatives is 100, but output vocab_parallel scores all items"),
    ],
)
def test_sections_that_cannot_be(config: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        TorchRecConfig.from_config(config, "a.yaml")


def test_a_sampled_loss_is_of_one_section():
    loss = LossConfig(name="gbce", negatives=7)
    config = {"genpas": GenPASConfig(strategy="multi_target", loss=loss)}
    assert sampled_loss(config, TorchRecConfig()) is loss
    with pytest.raises(InputError, match="both name negatives"):
        sampled_loss(config, TorchRecConfig(output="sampled", negatives=3))
    of_output = sampled_loss({"genpas": None}, TorchRecConfig(output="sampled", negatives=3))
    assert of_output == LossConfig(name="sampled_softmax", negatives=3)


def test_recboles_settings_that_can_be():
    check_recbole(RECBOLE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clip_grad_norm": {"max_norm": 5}}, "clip_grad_norm is .* updated during the backward pass"),
        ({"enable_scaler": True}, "enable_scaler is True, but half precision is bfloat16 here"),
        ({"learner": "adm"}, "learner is 'adm'. Did you mean 'adam'"),
        ({"epochs": 0}, "epochs must be a whole number from 1 on"),
        ({"learning_rate": -1}, "learning_rate must be a number above 0, not -1"),
        ({"eval_args": {"mode": {"valid": "uni100", "test": "full"}}}, "mode full, uni100; a sharded model ranks all"),
        ({"valid_metric": "NDCG@20"}, "valid_metric is 'NDCG@20'.* Did you mean 'ndcg@10'"),
    ],
)
def test_recboles_settings_that_cannot_be(change: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        check_recbole({**RECBOLE, **change})
