"""One run through RecBole's objects, ended or tested as its caller says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from recbole.quick_start import run_recbole

from genpas_plugins import InputError
from recbole_ext.training_run import evaluate_checkpoint, train

GENPAS = {"strategy": "sampled", "alpha": 1, "beta": 0, "gamma": 0}


@pytest.fixture
def given(settings: dict[str, Any]) -> dict[str, Any]:
    measured = {"metrics": ["NDCG", "Recall"], "topk": [10], "valid_metric": "NDCG@10"}
    return {**settings, **measured, "genpas": GENPAS, "epochs": 3}


def test_a_run_is_that_of_run_recbole(given: dict[str, Any]):
    seen: list[tuple[int, float]] = []
    run = train(given, model="SASRec", dataset="tiny", on_epoch=lambda *epoch: seen.append(epoch))
    stock = run_recbole("SASRec", "tiny", config_dict=given)
    assert [epoch for epoch, _ in seen] == [0, 1, 2]
    assert run.validation == max(score for _, score in seen) == stock["best_valid_score"]
    assert [point.validation for point in run.curve] == [score for _, score in seen]
    assert evaluate_checkpoint(run.checkpoint) == dict(stock["test_result"])
    assert run.trained_on == stock["trained_on"]
    assert run.pairs_seen == 3 * run.trained_on["pairs_per_epoch"]


def test_what_on_epoch_raises_ends_the_run(given: dict[str, Any]):
    class Enough(Exception):
        pass

    seen = []

    def stop(epoch: int, score: float) -> None:
        seen.append(epoch)
        if epoch == 1:
            raise Enough

    with pytest.raises(Enough):
        train(given, model="SASRec", dataset="tiny", on_epoch=stop)
    assert seen == [0, 1]


def test_a_run_may_validate_by_another_metric(given: dict[str, Any]):
    settings = {**given, "valid_metric": "recall@5", "topk": [5, 10]}
    run = train(settings, model="SASRec", dataset="tiny")
    stock = run_recbole("SASRec", "tiny", config_dict=settings)
    assert run.validation == max(point.validation for point in run.curve) == stock["best_valid_score"]


def test_a_missing_checkpoint_is_a_sentence(tmp_path: Path):
    with pytest.raises(InputError, match="does not exist"):
        evaluate_checkpoint(tmp_path / "gone.pth")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"hidden_size": [8]}, ""),
        ({"hidden_size": -8}, "negative dimension -8"),
        ({"hidden_size": 7}, "not a multiple"),
        ({"n_heads": 0}, "zero"),
    ],
)
def test_settings_that_make_no_model_are_one_sentence(change: dict[str, Any], told: str, given: dict[str, Any]):
    with pytest.raises(InputError) as caught:
        train({**given, **change}, model="SASRec", dataset="tiny")
    message = str(caught.value)
    assert message.startswith("SASRec refuses these settings: ") and told in message and "\n" not in message
