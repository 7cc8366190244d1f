"""The benchmark of the input operators runs, names every operator, and holds each against the plain stream."""

from __future__ import annotations

import pytest

from benchmarks.bench_augment import PLAIN, PROBABILITIES, goals
from genpas_plugins.augment import OPERATORS


def test_every_operator_is_measured_and_reported(quick_run):
    pytest.importorskip("numba")
    content, text = quick_run("augment")
    assert content["quick"] is True and content["command"] == "python -m benchmarks.bench_augment --quick"
    records = content["sections"]["operators"]
    assert [record["backend"] for record in records] == ["numpy", "numba"]
    for record in records:
        loops = [(loop["operator"], loop["probability"]) for loop in record["loops"]]
        assert loops == [(PLAIN, 1.0), *((name, p) for name in OPERATORS for p in PROBABILITIES)]
        assert all(loop["cpu"]["min"] > 0 for loop in record["loops"])
    assert len(content["goals"]) == 2 * len(OPERATORS) and all(goal["what"] in text for goal in content["goals"])


def test_a_goal_is_the_slower_probability_beside_the_plain_stream():
    def loop(name: str, probability: float, fastest: float):
        return {"operator": name, "probability": probability, "cpu": {"min": fastest, "median": 9.0, "max": 99.0}}

    loops = [loop(PLAIN, 1.0, 2.0), loop("insert", 1.0, 3.0), loop("insert", 0.5, 5.0), loop("delete", 1.0, 4.0)]
    found = goals({"operators": [{"store": "beauty", "backend": "numba", "loops": loops}]})
    assert [(goal.measured, goal.met) for goal in found] == [(2.5, False), (2.0, True)]
