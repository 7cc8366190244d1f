"""Contract: every sequential model of RecBole trains on drawn pairs and evaluates, or refuses with a sentence."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import recbole.model.sequential_recommender as sequential
from recbole.config import Config
from recbole.model.sequential_recommender import SASRec
from recbole.quick_start import run_recbole
from recbole.trainer import Trainer

from genpas_plugins import InputError

SAMPLED = {"strategy": "sampled", "alpha": 1, "beta": 0, "gamma": 0, "pairs_per_epoch": 96}
PAIRWISE = {"train_neg_sample_args": {"distribution": "uniform"}}

TRAINED: dict[str, dict[str, Any]] = {
    "BERT4Rec": {},
    "CORE": {},
    "Caser": {},
    "DIN": {**PAIRWISE, "metrics": ["AUC"], "valid_metric": "AUC"},  # labels on both, as RecBole's own settings
    "FDSA": {},
    "FOSSIL": {},
    "FPMC": PAIRWISE,
    "GCSAN": {},
    "GRU4Rec": {},
    "GRU4RecF": {},
    "HGN": {},
    "HRM": {},
    "LightSANs": {},
    "NARM": {},
    "NPE": {},
    "NextItNet": {},
    "RepeatNet": {},
    "S3Rec": {"pretrain_epochs": 1, "save_step": 1},
    "SASRec": {},
    "SASRecF": {},
    "SHAN": {},
    "SINE": {},
    "SRGNN": {},
    "STAMP": {},
    "TransRec": PAIRWISE,
}
REFUSED = ("DIEN", "FEARec", "GRU4RecKG", "KSR")
# run_recbole counts FLOPs by `predict`, which in these two is `assert False` in RecBole's own source: stock fails too.
# The trainer, which predicts all items at once, trains them.
TRAINED_WITHOUT_RUN_RECBOLE: dict[str, dict[str, Any]] = {
    "GRU4RecCPR": {"reranker_CAN_NUM": 5},
    "SASRecCPR": {"reranker_CAN_NUM": 5},
}


def test_every_sequential_model_of_recbole_is_in_one_of_the_tables():
    models = {name for name in dir(sequential) if name[0].isupper() and isinstance(getattr(sequential, name), type)}
    assert models == {*TRAINED, *REFUSED, *TRAINED_WITHOUT_RUN_RECBOLE}


@pytest.mark.parametrize("model", TRAINED)
def test_it_trains_an_epoch_on_drawn_pairs_and_evaluates(model: str, settings: dict[str, Any]):
    result = run_recbole(model, "tiny", config_dict={**settings, **TRAINED[model], "genpas": SAMPLED})
    assert all(math.isfinite(value) for value in result["test_result"].values())
    if model != "S3Rec":  # whose first stage has no validation
        assert result["best_valid_score"] >= 0
        assert result["trained_on"]["strategy"] == "sampled"


@pytest.mark.parametrize("model", TRAINED_WITHOUT_RUN_RECBOLE)
def test_it_trains_with_the_trainer(model: str, prepare: Callable[..., Any]):
    made = prepare(SAMPLED, model, **TRAINED_WITHOUT_RUN_RECBOLE[model])
    trainer = Trainer(made.config, getattr(sequential, model)(made.config, made.train.dataset))
    trainer.fit(made.train, made.valid)
    assert 0 <= trainer.evaluate(made.test)["ndcg@10"] <= 1


def test_s3rec_finetunes_what_it_pretrained(settings: dict[str, Any], tmp_path: Path):
    stages = {**settings, **TRAINED["S3Rec"], "genpas": SAMPLED, "checkpoint_dir": str(tmp_path)}
    run_recbole("S3Rec", "tiny", config_dict=stages)
    pretrained = tmp_path / "S3Rec-tiny-1.pth"
    finetune = {**stages, "train_stage": "finetune", "pre_model_path": str(pretrained)}
    assert run_recbole("S3Rec", "tiny", config_dict=finetune)["trained_on"]["strategy"] == "sampled"


@pytest.mark.parametrize("model", REFUSED)
def test_what_needs_every_prefix_refuses_with_a_sentence(model: str, settings: dict[str, Any]):
    with pytest.raises(InputError, match=f"{model} builds its own data set.* Remove the genpas key or choose another"):
        Config(model, "tiny", config_dict={**settings, "genpas": SAMPLED})


@pytest.mark.parametrize("model", ["BPR", "LightGCN", "FM"])
def test_what_is_not_sequential_refuses_with_a_sentence(model: str, settings: dict[str, Any]):
    with pytest.raises(InputError, match=f"draws pairs for sequential models; {model} is not one. Remove the key"):
        Config(model, "tiny", config_dict={**settings, "genpas": SAMPLED})


class OfTheUser(SASRec):
    """A model that RecBole does not find by its name."""


def test_a_model_of_the_users_own_trains_and_loads_its_checkpoint(
    prepare: Callable[..., Any], settings: dict[str, Any]
):
    own = {"n_heads": 1, "hidden_dropout_prob": 0.1, "attn_dropout_prob": 0.1, "hidden_act": "gelu"}
    own |= {"layer_norm_eps": 1e-12, "initializer_range": 0.02, "loss_type": "CE"}
    made = prepare(SAMPLED, OfTheUser, **own)
    trainer = Trainer(made.config, OfTheUser(made.config, made.train.dataset))
    trainer.fit(made.train, made.valid)
    assert 0 <= trainer.evaluate(made.test, load_best_model=True)["ndcg@10"] <= 1


def test_dynamic_negatives_are_scored_by_the_model(settings: dict[str, Any]):
    negatives = {"distribution": "uniform", "sample_num": 1, "dynamic": True, "candidate_num": 3}
    changes = {"loss_type": "BPR", "train_neg_sample_args": negatives, "genpas": SAMPLED}
    assert run_recbole("SASRec", "tiny", config_dict={**settings, **changes})["trained_on"]["loss"] == "BPR"
