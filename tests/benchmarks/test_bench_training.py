"""The training benchmark runs whole on toy sizes, and its goals take the medians."""

from __future__ import annotations

import pytest


@pytest.mark.slow
def test_a_quick_run_measures_every_way(quick_run):
    pytest.importorskip("recbole")
    content, text = quick_run("training")
    assert content["command"] == "python -m benchmarks.bench_training --quick"
    ways = content["sections"]["step"][0]["ways"]
    assert next(iter(ways)) == "stock RecBole" and len(ways) == 5
    # The same targets: with all of them in one pass, fewer operations each.
    assert ways["parallel"]["flop"] < ways["single, trimmed"]["flop"] < ways["stock RecBole"]["flop"]
    assert [record["reached"] for record in content["sections"]["quality"]] == [True] * 3
    assert len(content["goals"]) == 4 and all(goal["what"] in text for goal in content["goals"])


def test_a_way_that_did_not_reach_the_quality_has_no_ratio():
    pytest.importorskip("torch")
    from benchmarks.training_quality import WAYS, goals

    def record(way, seconds, reached):
        return {"way": way, "curve": [[1, seconds, 0.1]], "reached": reached, "quality": 0.1}

    found = goals([record(WAYS[0], 10.0, reached=True), record(WAYS[2], 70.0, reached=True)])
    assert [goal.measured for goal in found] == [7.0]
    assert goals([record(WAYS[0], 10.0, reached=True), record(WAYS[2], 70.0, reached=False)]) == []
