"""Rank correlations of predictors with trainings, and the page that shows them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import predictors
from genpas_plugins import SamplingPolicy, SequenceStore


def test_tau_is_the_share_of_pairs_in_order():
    assert predictors.tau([(1, 10), (2, 20), (3, 30)])["tau"] == 1
    found = predictors.tau([(1, 10), (2, 30), (3, 20), (4, 40)])
    assert found["tau"] == pytest.approx(4 / 6) and found["low"] <= found["tau"] <= found["high"] and found["n"] == 4


def test_cells_of_independent_draws_are_left_out():
    trained = predictors.trained_policies("beauty")
    assert {"multi_target", "1,0,-inf", "1,0,0", "last_target"} <= trained.keys()
    assert all(
        cell.run.trained_on["draws"] == 2 for policy, cell, _ in trained.values() if policy.strategy == "sampled"
    )


def test_halving_keeps_the_better_half_as_the_trainings_go_on():
    curves = {"a": [0.1, 0.2, 0.3, 0.9], "b": [0.4, 0.4], "c": [0.3, 0.5, 0.5], "d": [0.2, 0.9, 0.9]}
    cells = {
        label: SimpleNamespace(run=SimpleNamespace(curve=[SimpleNamespace(validation=x) for x in curve]))
        for label, curve in curves.items()
    }
    found = predictors.halved(cells)  # type: ignore[arg-type]  # what halving reads of cells
    assert found == {"a": 0.1, "d": 0.2, "b": 1.4, "c": 2.5}


def test_a_page_has_every_predictor_of_every_policy(medium: SequenceStore, tmp_path: Path):
    medium.save(tmp_path / "medium")
    policies = {name: SamplingPolicy.named(name) for name in ("multi_target", "last_target", "slide_window")}
    figures = predictors.predicted(tmp_path / "medium", policies)
    for number, row in enumerate(figures.values()):
        row |= {**dict.fromkeys([*predictors.SHORT, "successive halving"], 0.1), "validation": number / 10}
    datasets = {"medium-7core": {"policies": figures}, "other-7core": {"policies": figures}}
    predictors.compare(datasets)
    content = datasets["medium-7core"]
    assert content["power"] in predictors.POWERS and set(content["surely_better"]) <= {*policies}
    assert content["tau"]["transition model"]["tau"] == predictors.kendall(
        [(row["transition model"], row["validation"]) for row in figures.values()]
    )
    page = predictors.page({"environment": {}, "datasets": datasets})
    assert all(f"| {label} |" in page for label in policies) and all(
        f"| {name} |" in page for name in predictors.PREDICTORS
    )
