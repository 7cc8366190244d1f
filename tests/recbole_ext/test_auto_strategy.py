"""`strategy: auto` in RecBole: what the search chooses on RecBole's own split, kept with the run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from genpas_plugins import GenPASConfig, InputError
from genpas_plugins.search import grid
from recbole_ext.training_run import evaluate_checkpoint, train

AUTO = {"strategy": "auto"}


@pytest.fixture(autouse=True)
def _small_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    small = grid.Grid(alpha=(0, 1), beta=(0, 2), gamma=(-grid.INF,))
    monkeypatch.setattr("recbole_ext.auto_strategy.Grid", lambda: small)


def test_a_run_trains_on_what_is_chosen_and_reports_it(settings: dict[str, Any]):
    given = {**settings, "genpas": AUTO, "epochs": 1, "metrics": ["NDCG"], "topk": [5], "valid_metric": "NDCG@5"}
    run = train(given, model="SASRec", dataset="tiny")
    report = run.trained_on["auto"]
    assert report["low"] <= report["mean"] <= report["high"]
    assert report["chosen"] == (report["best"] if report["low"] > 0 else "multi_target")
    assert run.trained_on["strategy"] == ("multi_target" if report["chosen"] == "multi_target" else "sampled")
    assert evaluate_checkpoint(run.checkpoint).keys() == {"ndcg@5"}


@pytest.mark.parametrize("split", [{"LS": "valid_and_test"}, {"RS": [0.6, 0.2, 0.2]}, {"GT": [0.6, 0.2, 0.2]}])
def test_it_is_chosen_under_every_split(split: dict[str, Any], prepare: Callable[..., Any]):
    made = prepare(AUTO, eval_args={"split": split, "order": "TO", "group_by": "user", "mode": "full"})
    assert made.train.dataset.auto_report["users"] > 0
    assert made.config["genpas"].strategy in ("multi_target", "sampled")


def test_elsewhere_it_is_refused():
    with pytest.raises(InputError, match="run `genpas search`"):
        _ = GenPASConfig.from_mapping(AUTO).policy
    with pytest.raises(InputError, match="remove alpha"):
        GenPASConfig.from_mapping({**AUTO, "alpha": 1})
