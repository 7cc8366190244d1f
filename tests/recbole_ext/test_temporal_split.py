"""The split GT in RecBole: by a loop over the file, nothing trains as late as a target, unseen users are counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genpas_plugins import InputError
from genpas_plugins.data.temporal import cut_times

SHARES = [0.6, 0.2, 0.2]
KEY = {"strategy": "multi_target"}


def given(targets: str | None = None, **more: Any) -> dict[str, Any]:
    chosen = {} if targets is None else {"targets": targets}
    return {"eval_args": {"split": {"GT": SHARES}, "order": "TO", "mode": "full", **chosen, **more}}


def times_of(dataset: Any) -> np.ndarray:
    return dataset.inter_feat[dataset.time_field].numpy()


@pytest.mark.parametrize("targets", [None, "last", "first", "successive"])
def test_parts_are_those_of_a_loop(targets: str | None, prepare: Callable[..., Any]):
    made = prepare(KEY, **given(targets))
    store = made.dataset.store
    times = store.columns["timestamp"]
    cuts = cut_times(times, SHARES)
    expected: list[list[tuple[int, int]]] = [[], [], []]
    for user in range(1, made.dataset.user_num):
        low, high = store.offsets[user], store.offsets[user + 1]
        part = np.searchsorted(cuts, times[low:high], side="right")
        expected[0] += [(user, k) for k in range(1, high - low) if part[k] == 0]
        for number in (1, 2):
            inside = [k for k in range(1, high - low) if part[k] == number]
            kept = {"first": inside[:1], "successive": inside}.get(targets or "last", inside[-1:])
            expected[number] += [(user, k) for k in kept]
    for part, rows in zip((made.train.dataset, made.valid.dataset, made.test.dataset), expected, strict=True):
        users = part.inter_feat["user_id"].numpy()
        found = zip(users, part.inter_feat["_store_row"].numpy() - store.offsets[users], strict=True)
        assert sorted((int(user), int(k)) for user, k in found) == rows
    assert times_of(made.train.dataset).max() < cuts[0] <= times_of(made.valid.dataset).min()
    assert times_of(made.test.dataset).min() >= cuts[1]
    report = made.train.dataset.split_report
    tested = {user for user, _ in expected[2]}
    trained = {user for user, _ in expected[0]}
    assert report["test"]["users"] == len(tested) and report["test"]["unseen_users"] == len(tested - trained)


def test_a_run_reports_the_split_and_its_unseen_users(settings: dict[str, Any]):
    from recbole_ext import experiment_cell
    from recbole_ext.training_run import train

    more = {**given("first"), "epochs": 1, "metrics": ["NDCG"], "topk": [5], "valid_metric": "NDCG@5", "genpas": KEY}
    run = train({**settings, **more}, model="SASRec", dataset="tiny")
    report = run.trained_on["split"]
    assert report["split"] == "GT" and report["from"][0] < report["from"][1]
    groups = experiment_cell.test(Path(run.checkpoint), Path(settings["data_path"]) / "tiny").groups["masked"]["users"]
    counted = report["test"]
    assert groups.get("unseen", {"n": 0})["n"] == counted["unseen_users"] > 0
    assert sum(group["n"] for group in groups.values()) == counted["users"]


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ({"split": {"GT": [0.5, 0.5]}}, "Give three shares that add up to 1"),
        ({"split": {"GT": SHARES}, "targets": "lats"}, "Did you mean 'last'"),
        ({"split": {"GT": SHARES}, "time": "when"}, "there is no field 'when'"),
        ({"split": {"GT": SHARES}, "time": "rating"}, "not in the order of rating"),
    ],
)
def test_settings_that_cannot_split_are_refused(args: dict[str, Any], told: str, prepare: Callable[..., Any]):
    with pytest.raises(InputError, match=told):
        prepare(KEY, eval_args={"order": "TO", "mode": "full", **args})
