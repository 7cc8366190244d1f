"""Mistakes in RecBole's settings end in one sentence that names the setting, before or instead of RecBole's error."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from recbole.utils import get_model, get_trainer
from typer.testing import CliRunner

from genpas_plugins import InputError
from genpas_plugins.cli import app
from recbole_ext import processes

GENPAS = {"strategy": "multi_target"}
SPLIT = {"order": "TO", "mode": "full"}

FORESEEN = [
    ({"learning_rate": math.nan}, "learning_rate is nan. Give a finite number"),
    ({"weight_decay": math.inf}, "weight_decay is inf"),
    ({"epochs": "'many'"}, "epochs is 'many', where 300 would be usual"),
    ({"hidden_size": "'big'"}, "hidden_size is 'big', where 64 would be usual"),
    ({"MAX_ITEM_LIST_LENGTH": 0}, "MAX_ITEM_LIST_LENGTH must be a whole number from 1 on, not 0"),
    ({"eval_batch_size": 0}, "eval_batch_size must be a whole number"),
    ({"train_batch_size": 0}, "train_batch_size must be a whole number from 1 on, not 0"),
    ({"epochs": -1}, "epochs must be a whole number from 0 on"),
    ({"eval_step": -1}, "eval_step must be a whole number from 0 on"),
    ({"learner": "'adma'"}, "learner 'adma' is not a choice. Did you mean 'adam'?"),
    ({"eval_args": {"split": {"LS": "valid_and_test"}, "group_by": "usr", **SPLIT}}, "group_by 'usr' is not a choice"),
    ({"seed": -1}, "seed must be a whole number from 0 to 4294967295"),
    ({"eval_args": {"split": {"TS": [0.8, 0.2]}, **SPLIT}}, "split TS is [0.8, 0.2]. Give three shares"),
    ({"eval_args": {"split": {"RS": [0.8, 0.2]}, **SPLIT}}, "split RS is"),
    ({"transform": "mask_itemseq"}, "transform mask_itemseq needs mask_ratio"),
    ({"transform": "crop_itemseq"}, "transform crop_itemseq needs eta"),
    ({"transform": "reorder_itemseq"}, "transform reorder_itemseq needs beta"),
]

MEASURED = [
    ({"topk": [50]}, "topk is [50], but the data have 25 items"),
    ({"metrics": ["Recall"]}, "valid_metric is MRR@10, but metrics are Recall"),
    ({"valid_metric": "NDCG@7"}, "valid_metric is NDCG@7"),
    ({"metrics": ["ItemCoverage", "MRR"]}, "RecBole 1.2.1 cannot compute ItemCoverage"),
]

LATER = [
    ("topk: text", "RecBole refuses these settings: TypeError The topk [text] must be"),
    ("hidden_act: mish", "SASRec refuses these settings: KeyError 'mish'"),
    ("metrics: []", "RecBole refuses these settings: KeyError"),
    ("valid_metric: 5", "RecBole refuses these settings: AttributeError"),
    (f"seed: {'9' * 5000}", "a setting must be a plain value: Exceeds the limit"),
    ("seed: 2026-13-45", "a setting must be a plain value: month must be in 1..12"),
    ("learning_rate: 1e400", "learning_rate is inf"),
    (f"epochs: {'[' * 3000}", "its values are nested too deeply"),
]


@pytest.mark.parametrize("genpas", [None, GENPAS], ids=["stock", "genpas"])
@pytest.mark.parametrize(("change", "said"), FORESEEN, ids=lambda value: str(value)[:40])
def test_a_value_that_recbole_fails_on_is_refused_before_data_are_read(
    change: dict[str, Any], said: str, genpas: Any, prepare: Callable[..., Any], tmp_path: Path
):
    with pytest.raises(InputError) as error:
        prepare(genpas, data_path=str(tmp_path / "nowhere"), **change)
    assert str(error.value).startswith("config_dict: ") and said in str(error.value)


@pytest.mark.parametrize("genpas", [None, GENPAS], ids=["stock", "genpas"])
@pytest.mark.parametrize(("change", "said"), MEASURED, ids=lambda value: str(value)[:40])
def test_a_training_that_could_not_validate_is_refused_before_its_first_epoch(
    change: dict[str, Any], said: str, genpas: Any, prepare: Callable[..., Any]
):
    made = prepare(genpas, **change)
    trainer = get_trainer(made.config["MODEL_TYPE"], "SASRec")(
        made.config, get_model("SASRec")(made.config, made.train.dataset)
    )
    with pytest.raises(InputError) as error:
        trainer.fit(made.train, made.valid)
    assert said in str(error.value) and not trainer.train_loss_dict


def trained(settings: dict[str, Any], line: str) -> Any:
    given = {key: value for key, value in settings.items() if key not in ("embedding_size", line.partition(":")[0])}
    Path("run.yaml").write_text(f"{yaml.safe_dump({**given, 'genpas': GENPAS})}{line}\n")
    return CliRunner().invoke(app, ["train", "-m", "SASRec", "-d", "tiny", "--config", "run.yaml"])


@pytest.mark.parametrize(("line", "said"), LATER, ids=lambda value: value[:30])
def test_what_recbole_or_yaml_says_ends_in_a_sentence(line: str, said: str, settings: dict[str, Any]):
    done = trained(settings, line)
    (sentence,) = [text for text in done.stderr.splitlines() if text.startswith("error: ")]
    assert done.exit_code == 2 and said in sentence


def test_an_unforeseen_error_keeps_its_cause_and_names_the_settings(settings: dict[str, Any]):
    done = trained(settings, "clip_grad_norm: 3")
    assert isinstance(done.exception, RuntimeError) and isinstance(done.exception.__cause__, TypeError)
    assert "RecBole failed in trainer.py" in str(done.exception) and "clip_grad_norm=3" in str(done.exception)


@pytest.mark.parametrize("model", ["FPMC", "TransRec"])
def test_a_model_with_one_loss_is_advised_to_sample_negatives_alone(model: str, prepare: Callable[..., Any]):
    with pytest.raises(InputError) as error:
        prepare(GENPAS, model)
    assert f"{model} compares a target with a negative" in str(error.value) and "CE" not in str(error.value)


def test_more_processes_than_gpus(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    with pytest.raises(InputError, match="torch sees 0 for 2 processes"):
        processes.run_recboles(0, "SASRec", "tiny", None, {"config_dict": {"nproc": 2}})
