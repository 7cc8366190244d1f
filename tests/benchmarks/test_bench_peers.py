"""The comparison with other libraries: its meter, its ranking, its rows, and a whole run that installs nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from benchmarks.peer_meter import Meter, Ranking, Split, ndcg

EMPTY = Split([], np.zeros(0, np.int64), 0)


@pytest.mark.slow
def test_a_quick_run_measures_a_row_that_installs_nothing(quick_run):
    pytest.importorskip("recbole")
    content, text = quick_run("peers")
    from benchmarks.bench_peers import QUICK_ROWS
    from benchmarks.peer_rows import ROWS

    assert tuple(record["way"] for record in content["sections"]["steps"]) == QUICK_ROWS
    assert all(record["cpu"] > 0 and record["bound"] > 0 for record in content["sections"]["steps"])
    assert all(spread["median"] > 0 for spread in content["sections"]["catalogue"][1]["rates"].values())
    assert all(name in text for name in ROWS)  # the others are listed as not run


def test_a_meter_leaves_out_the_warm_up_and_ends_the_loop():
    meter = Meter(EMPTY, warm_up=1, targets=5, seconds=60.0)
    trained = []

    def loop() -> None:
        batches = meter.watch([1, 2, 3], lambda batch: batch)
        while True:
            trained.extend(batches)

    found = meter.run(loop)
    assert trained == [1, 2, 3]
    assert (meter.trained, meter.steps, found["targets"]) == (5, 2, 2.5)
    assert Meter(EMPTY, 0, 0, seconds=0.0).run(loop)["curve"] == []  # out of time


def test_a_meter_ends_the_loop_at_the_quality():
    split = Split([np.array([1])], np.array([2]), 2)
    scores = np.array([[0.0, 1.0, 0.0]])
    ranking = Ranking(np.array([-1, 1, 2]), lambda _: scores)
    meter = Meter(split, warm_up=0, targets=0, seconds=60.0, quality=0.5, ranking=ranking)

    def loop() -> None:
        for _ in range(9):
            list(meter.watch([1], int))

    curve = meter.run(loop)["curve"]
    assert [(passes, score) for passes, _, score in curve] == [(1, 1.0)]  # item 1 is in the history


def test_ndcg_is_as_counted_by_hand():
    random = np.random.default_rng(3)
    users, items = 300, 30
    number = np.array([-1, *random.permutation(items)])
    number[[3, 8]] = -1  # never trained
    train = [random.choice(items, 4, replace=False) + 1 for _ in range(users)]
    valid = random.integers(1, items, users, endpoint=True)
    scores = random.permuted(np.tile(np.arange(items + 2.0), (users, 1)), axis=1)
    begin = 0

    def score(histories):
        nonlocal begin
        begin += len(histories)
        return scores[begin - len(histories) : begin]

    gain = 0.0
    for own, history, target in zip(scores, train, valid, strict=True):
        left = {item: own[number[item]] for item in range(1, items + 1) if number[item] >= 0 and item not in history}
        ranked = sorted(left, key=lambda item: -left[item])[:10]
        gain += 1 / np.log2(ranked.index(target) + 2) if target in ranked else 0
    # A target of the user's own history is scored before the history is masked.
    fresh = [target not in history for history, target in zip(train, valid, strict=True)]
    split = Split([h for h, ok in zip(train, fresh, strict=True) if ok], valid[fresh], items)
    scores = scores[fresh]
    assert ndcg(Ranking(number, score), split) * len(split.valid) == pytest.approx(gain)


def test_a_library_that_cannot_be_installed_is_a_row_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from benchmarks import peer_rows

    def refuse(command, **_):
        return subprocess.CompletedProcess(command, 1, "", "hint\nERROR: No matching distribution found")

    monkeypatch.setattr("benchmarks.peer_environments.subprocess.run", refuse)
    given = {"number": 0, "folder": "", "kept": str(tmp_path), "network": {}, "limits": {}, "fork": False}
    record = peer_rows.measure(name="RePlay 0.22", environments=str(tmp_path), **given)
    assert record["not_run"] == "pip could not install replay: ERROR: No matching distribution found"
    row = next(row for row in peer_rows.speed_table([{"way": "RePlay 0.22", **record}]).rows if row[0] == "RePlay 0.22")
    assert row[2] == f"not run: {record['not_run']}"


def test_goals_compare_with_parallel_targets_in_float32():
    from benchmarks.peer_rows import goals

    def steps(way, cpu, **more):
        return {"way": way, "cpu": cpu, **more}

    seen = [steps("parallel", 1.0, bound=0.5), steps("parallel", 3.0, bound=1.5), steps("RePlay 0.22", 24.0)]
    seen += [steps("cornac 3.0.1", 8.0), {"way": "RecTools 0.19", "not_run": "no network"}]
    reached = [{"way": "parallel", "curve": [[1, 10.0, 0.06]]}, {"way": "RePlay 0.22", "curve": [[1, 300.0, 0.05]]}]
    found = {goal.what: (goal.measured, goal.bound) for goal in goals(seen, reached, 0.06)}
    assert found == {
        "RePlay 0.22 / parallel": (12.0, 10.0),
        "cornac 3.0.1 / parallel": (4.0, 3.0),
        "parallel: of the matrix-product bound": (50.0, 60.0),
    }
