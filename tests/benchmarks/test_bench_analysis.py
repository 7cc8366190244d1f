from __future__ import annotations

import pytest


@pytest.mark.slow
def test_a_quick_run_measures_what_needs_no_data_and_says_what_it_skipped(quick_run):
    pytest.importorskip("numba")
    content, text = quick_run("analysis")
    assert content["quick"] is True and content["command"] == "python -m benchmarks.bench_analysis --quick"
    assert [line.split()[0] for line in content["skipped"]] == ["beauty", "ml-1m"]
    assert list(content["sections"]) == ["scale"]
    ways = {(record["backend"], record["threads"]) for record in content["sections"]["scale"]}
    assert ways == {("numpy", 1), ("numpy", 2), ("numba", 1), ("numba", 2)}
    for record in content["sections"]["scale"]:
        assert 0 < record["kl_s"]["min"] <= record["kl_s"]["median"] and record["peak_bytes"] > 0
    assert all(goal["what"] in text for goal in content["goals"])
