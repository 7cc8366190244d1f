"""Figures of groups: who is in them by a plain loop, and what RecBole measures of these rows alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recbole.model.sequential_recommender import SASRec
from recbole.trainer import Trainer

from genpas_plugins import SequenceStore
from genpas_plugins.data.recbole_files import export_recbole
from genpas_plugins.neural.dr4sr.inference import Regenerated
from genpas_plugins.neural.dr4sr.mining import mine_patterns
from genpas_plugins.neural.dr4sr.regenerated_store import regenerated_store
from recbole_ext import experiment_cell
from recbole_ext.training_run import train
from recbole_ext.user_groups import POPULARITY, evaluate, groups_of, interactions, popularity_groups

METRICS = ["Recall", "NDCG", "MRR", "Hit", "Precision", "MAP"]
MEASURED = {"metrics": METRICS, "topk": [1, 5], "valid_metric": "NDCG@5", "metric_decimal_place": 12}
PART = {"strategy": "multi_target", "train_users": 0.4}
NAMES = {f"{metric.lower()}@{k}" for metric in METRICS for k in (1, 5)}


@pytest.fixture
def trainer_of() -> Callable[[Any], Trainer]:
    """Return trainer_of(prepared): a trainer of an untrained model."""

    def of(made: Any) -> Trainer:
        torch.manual_seed(2)
        trainer = Trainer(made.config, SASRec(made.config, made.train._dataset))
        trainer.eval_collector.data_collect(made.train)
        return trainer

    return of


def training_part(made: Any) -> dict[int, list[int]]:
    """Items of every user but the last two, and the first two of users with fewer than four, as RecBole splits."""
    store = made.dataset.store
    sequences = [part.tolist() for part in np.split(store.values, store.offsets[1:-1])]
    return {user: items[: max(2, len(items) - 2)] if len(items) > 1 else [] for user, items in enumerate(sequences)}


def group_by_hand(counts: dict[int, int], n_items: int) -> dict[int, str]:
    """Write one interaction after another, items with many first, and look in which third an item's first one is."""
    row = [
        item
        for item in sorted(range(n_items + 1), key=lambda item: (-counts.get(item, 0), item))
        for _ in range(counts.get(item, 0))
    ]
    return {
        item: "G3" if item not in row else ("G1", "G2", "G3")[3 * row.index(item) // len(row)]
        for item in range(n_items + 1)
    }


@given(st.lists(st.integers(0, 9), max_size=40))
def test_thirds_of_the_interactions(counts: list[int]):
    groups = popularity_groups(np.array([0, *counts]))
    names = group_by_hand(dict(enumerate([0, *counts])), len(counts))
    assert [POPULARITY[group] for group in groups] == [names[item] for item in range(len(counts) + 1)]


def test_equal_items_are_ordered_by_number():
    assert popularity_groups(np.array([0, 1, 1, 1])).tolist() == [2, 0, 1, 2]
    assert popularity_groups(np.array([0, 0])).tolist() == [2, 2]


def test_the_groups_are_those_of_a_loop(prepare: Callable[..., Any]):
    made = prepare(PART)
    part = training_part(made)
    counts: dict[int, int] = {}
    for items in part.values():
        for item in items:
            counts[item] = counts.get(item, 0) + 1
    assert {item: int(n) for item, n in enumerate(interactions(made.train._dataset)) if n} == counts
    of_item = group_by_hand(counts, made.dataset.item_num - 1)
    rows = made.test._dataset.inter_feat
    groups = groups_of(made.train._dataset, made.test._dataset)
    assert {name: chosen.tolist() for name, chosen in groups["popularity"].items()} == {
        name: [of_item[item] == name for item in rows["item_id"].tolist()] for name in ("G1", "G2", "G3")
    }
    trained = {int(user) for batch in made.train for user in batch["user_id"]}
    seen = [user in trained for user in rows["user_id"].tolist()]
    assert (groups["users"]["seen"].tolist(), groups["users"]["unseen"].tolist()) == (seen, [not one for one in seen])
    assert 0 < sum(seen) < len(seen)


def test_they_are_the_same_whatever_is_trained_on(prepare: Callable[..., Any]):
    by_share = [groups_of(made.train._dataset, made.test._dataset) for made in (prepare("multi_target"), prepare(PART))]
    assert list(by_share[0]) == ["popularity"] and list(by_share[1]) == ["popularity", "users"]
    for name, chosen in by_share[0]["popularity"].items():
        assert np.array_equal(chosen, by_share[1]["popularity"][name])


def test_added_sequences_move_no_item(prepare: Callable[..., Any], tmp_path: Path):
    lengths = 4 + np.arange(20) % 5
    values = np.random.default_rng(0).integers(1, 9, lengths.sum())
    original = SequenceStore.from_arrays(values, np.cumsum([0, *lengths]), n_items=8)
    view = original.leave_last_out().train
    written = np.random.default_rng(1).integers(1, 9, (20, 2, 3))
    made = Regenerated(np.arange(20), written, np.zeros((20, 2), bool))
    export_recbole(original, tmp_path, "plain")
    export_recbole(regenerated_store(original, mine_patterns(view), made), tmp_path, "new")
    loaded = {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}, "data_path": str(tmp_path)}
    plain, new = (prepare("multi_target", dataset=name, **loaded).train._dataset for name in ("plain", "new"))
    assert new.n_added and np.array_equal(interactions(plain), interactions(new))


@pytest.mark.parametrize("masked", [True, False])
def test_a_group_has_the_figures_of_its_rows_alone(
    masked: bool, prepare: Callable[..., Any], trainer_of: Callable[..., Trainer]
):
    """RecBole's own evaluation of a test set that holds nothing but these rows."""
    made = prepare(PART, **MEASURED, mask_history=masked)
    trainer = trainer_of(made)
    groups = groups_of(made.train._dataset, made.test._dataset)
    result = evaluate(trainer, made.test, groups)
    assert result.figures == trainer.evaluate(made.test, load_best_model=False)
    assert result.figures.keys() == NAMES
    assert {kind: set(named) for kind, named in result.groups.items()} == {
        "popularity": {"G1", "G2", "G3"},
        "users": {"seen", "unseen"},
    }
    for kind, named in result.groups.items():
        assert sum(group["n"] for group in named.values()) == len(made.test._dataset)
        for name, group in named.items():
            rows = np.flatnonzero(groups[kind][name])
            data = made.test._dataset.copy(made.test._dataset.inter_feat[rows])
            alone = type(made.test)(made.config, data, made.test._sampler, shuffle=False)
            assert group == {"n": len(rows), **trainer.evaluate(alone, load_best_model=False)}
        for metric, figure in result.figures.items():
            mean = sum(group["n"] * group[metric] for group in named.values()) / len(made.test._dataset)
            assert mean == pytest.approx(figure, abs=1e-11)
    assert any(result.groups["users"]["seen"][name] != result.figures[name] for name in NAMES)


def test_one_ranking_is_enough(
    prepare: Callable[..., Any], trainer_of: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
):
    made = prepare(PART, **MEASURED)
    trainer = trainer_of(made)
    ranked = []
    original = trainer.model.full_sort_predict
    monkeypatch.setattr(trainer.model, "full_sort_predict", lambda batch: ranked.append(len(batch)) or original(batch))
    evaluate(trainer, made.test, groups_of(made.train._dataset, made.test._dataset))
    assert sum(ranked) == len(made.test._dataset)


def test_groups_without_rows_are_left_out(prepare: Callable[..., Any], trainer_of: Callable[..., Trainer]):
    made = prepare(PART, **MEASURED)
    everybody = np.ones(len(made.test._dataset), bool)
    groups = {"some": {"all": everybody, "none": ~everybody}, "no": {"none": ~everybody}}
    result = evaluate(trainer_of(made), made.test, groups)
    assert result.groups == {"some": {"all": {"n": len(everybody), **result.figures}}}


@pytest.mark.parametrize("mode", ["full", "uni10"])
def test_metrics_of_lists_and_of_whole_rankings_are_taken_too(
    mode: str, prepare: Callable[..., Any], trainer_of: Callable[..., Trainer]
):
    split = {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": mode}
    metrics = {**MEASURED, "metrics": ["NDCG", "GAUC", "ShannonEntropy"], "eval_args": split}
    made = prepare(PART, **metrics)
    groups = groups_of(made.train._dataset, made.test._dataset)
    result = evaluate(trainer_of(made), made.test, groups)
    for named in result.groups.values():
        for group in named.values():
            assert group.keys() == {"n", *result.figures}
        for metric, precision in {"ndcg@5": 1e-11, "gauc": 1e-6}.items():  # RecBole computes GAUC in float32
            mean = sum(group["n"] * group[metric] for group in named.values()) / len(made.test._dataset)
            assert mean == pytest.approx(result.figures[metric], abs=precision)


@pytest.mark.parametrize(
    "changes",
    [
        {"metrics": ["AUC", "LogLoss"], "valid_metric": "AUC", "train_neg_sample_args": {"distribution": "uniform"}},
        {"eval_args": {"split": {"RS": [0.4, 0.2, 0.4]}, "order": "TO", "group_by": "user", "mode": "uni10"}},
    ],
    ids=["by sample", "several targets a user"],
)
def test_metrics_without_an_entry_a_row_have_no_groups(
    changes: dict[str, Any], prepare: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    by_sample = "AUC" in changes.get("metrics", ())
    more = {"eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "uni10"}}
    made = prepare(PART, **{**MEASURED, **(more if by_sample else {}), **changes}, **({"loss_type": "BPR"}))
    trainer = Trainer(made.config, SASRec(made.config, made.train._dataset))
    trainer.eval_collector.data_collect(made.train)
    told: list[str] = []
    monkeypatch.setattr(trainer.logger, "warning", told.append)  # whatever level an earlier test has given it
    result = evaluate(trainer, made.test, groups_of(made.train._dataset, made.test._dataset))
    assert result.figures and result.groups == {}
    assert told and "No figures of groups for" in told[0]


def test_a_tested_cell_has_them_in_both_protocols(settings: dict[str, Any]):
    given = {**settings, **MEASURED, "valid_metric": "NDCG@5", "genpas": PART}
    run = train(given, model="SASRec", dataset="tiny")
    result = experiment_cell.test(Path(run.checkpoint), Path(settings["data_path"]) / "tiny")
    assert result.test.keys() == result.groups.keys() == {"masked", "unmasked"}
    assert result.test["masked"] != result.test["unmasked"]
    for protocol, figures in result.test.items():
        for kind, names in {"popularity": {"G1", "G2", "G3"}, "users": {"seen", "unseen"}}.items():
            named = result.groups[protocol][kind]
            assert named.keys() == names
            for metric, figure in ((metric, figures[metric]) for metric in NAMES):
                n = [group["n"] for group in named.values()]
                mean = np.average([group[metric] for group in named.values()], weights=n)
                assert mean == pytest.approx(figure, abs=1e-11)
    users = result.groups["masked"]["users"]
    trained = run.trained_on
    assert users["seen"]["n"] <= trained["users"] and users["unseen"]["n"] <= trained["users_left_out"]
    assert users["seen"]["n"] + users["unseen"]["n"] == sum(1 + user % 13 > 2 for user in range(40))
