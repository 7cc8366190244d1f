"""`train_users` in RecBole: training reads some users alone, validation and test stay what they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from recbole.quick_start import run_recbole
from recbole.utils import init_seed

from genpas_plugins import InputError, SequenceStore
from genpas_plugins.augment.neighbours import nearest_items
from genpas_plugins.sampling.train_users import keep_users
from recbole_ext.dataset import ROW
from recbole_ext.mixing import _neighbours
from recbole_ext.models.tiger_ids import training_sequences

SHARE = 0.4
SPLITS = {
    "leave one out": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"},
    "popular negatives": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "pop10"},
    "ratio": {"split": {"RS": [0.6, 0.2, 0.2]}, "order": "TO", "group_by": "user", "mode": "uni10"},
}
STRATEGIES: dict[str, dict[str, Any]] = {
    "last_target": {"strategy": "last_target"},
    "multi_target": {"strategy": "multi_target"},
    "slide_window": {"strategy": "slide_window"},
    "sampled": {"strategy": "sampled", "alpha": 1, "beta": 0, "gamma": 0},
}
POPULAR = {"loss_type": "BPR", "train_neg_sample_args": {"distribution": "popularity", "sample_num": 1}}


def users_of(loader: Any) -> set[int]:
    """Users with a training pair."""
    return set(np.flatnonzero(loader.stream.view.lengths() >= 2).tolist())


def shared(strategy: str = "multi_target", **more: Any) -> dict[str, Any]:
    return {**STRATEGIES[strategy], "train_users": SHARE, **more}


def interactions_of(loader: Any) -> Counter[int]:
    """What stands in the training part of the users who are trained on, item by item, by a loop over all of it."""
    view = loader.stream.view
    return Counter(
        int(view.store.values[view.store.offsets[user] + place])
        for user, length in enumerate(view.lengths())
        for place in range(length)
    )


@pytest.mark.parametrize("negatives", [{}, POPULAR], ids=["CE", "BPR"])
@pytest.mark.parametrize("split", SPLITS)
def test_validation_and_test_are_those_of_all_users(
    split: str, negatives: dict[str, Any], prepare: Callable[..., Any], same_evaluation: Callable[..., None]
):
    changes = {"eval_args": SPLITS[split], **negatives}
    whole, part = prepare(STRATEGIES["multi_target"], **changes), prepare(shared(), **changes)
    assert len(users_of(part.train)) < len(users_of(whole.train))
    same_evaluation(whole.valid, part.valid)
    same_evaluation(whole.test, part.test)


@pytest.mark.parametrize("changes", [{}, POPULAR], ids=["CE", "BPR"])
def test_all_users_change_nothing(changes: dict[str, Any], prepare: Callable[..., Any], same: Callable[..., None]):
    plain, all_users = (prepare({**STRATEGIES["sampled"], **more}, **changes) for more in ({}, {"train_users": 1.0}))
    for a, b in zip(*(seeded_epoch(made.train) for made in (plain, all_users)), strict=True):
        same(a, b)


def seeded_epoch(loader: Any) -> list[Any]:
    init_seed(3, True)
    return list(loader)


@pytest.mark.parametrize("targets", ["single", "parallel"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_trains_on_the_same_users_and_no_others(
    strategy: str, targets: str, prepare: Callable[..., Any]
):
    whole = prepare(STRATEGIES["multi_target"])
    expected = keep_users(whole.train.stream.view, SHARE, whole.config["seed"])
    made = prepare(shared(strategy, targets=targets))
    assert np.array_equal(made.train.stream.view.lengths(), expected.lengths())
    assert len(users_of(made.train)) == -(-len(users_of(whole.train)) * 4 // 10)
    seen = {int(user) for batch in made.train for user in batch["user_id"]}
    assert seen <= users_of(made.train)
    if strategy != "sampled":
        assert seen == users_of(made.train)
    if targets == "single":
        n = expected.lengths()
        pairs = {"last_target": len(users_of(made.train)), "slide_window": int((n * (n - 1) // 2).sum())}
        assert made.train.stream.pairs_per_epoch == pairs.get(strategy, expected.n_pairs)


def test_another_seed_takes_other_users(prepare: Callable[..., Any]):
    chosen = [users_of(prepare(shared(), seed=seed).train) for seed in (7, 8)]
    assert len(chosen[0]) == len(chosen[1]) and chosen[0] != chosen[1]


def test_whatever_is_counted_for_training_is_of_these_users(prepare: Callable[..., Any]):
    made = prepare(shared(augment={"operator": "substitute", "rate": 0.3}))
    data, users, counts = made.train._dataset, users_of(made.train), interactions_of(made.train)
    lengths = made.train.stream.view.lengths()
    assert set(data.inter_feat["user_id"].tolist()) == users
    matrix = data.inter_matrix("csr").toarray()
    assert set(np.flatnonzero(matrix.sum(1)).tolist()) == users
    assert {item: int(n) for item, n in enumerate(matrix.sum(0)) if n} == counts
    assert np.array_equal(data.original_view().lengths(), lengths)
    assert np.array_equal(training_sequences(data).lengths(), lengths)
    # The neighbours of substitute and of BASRec are those of a store that holds nothing else.
    store = made.train.stream.view.store
    rows = [store.values[store.offsets[user] : store.offsets[user] + lengths[user]] for user in sorted(users)]
    alone = SequenceStore.from_arrays(
        np.concatenate(rows), np.cumsum([0, *map(len, rows)]), n_items=store.n_items
    )  # fmt: skip
    expected = nearest_items(alone.view())
    assert np.array_equal(made.train.stream.catalogue.neighbours, expected)
    assert np.array_equal(_neighbours(data), np.where(expected > 0, expected, np.arange(len(expected))))
    assert not np.array_equal(nearest_items(made.dataset.store.view()), expected)


def test_negatives_are_drawn_alike_for_every_share(prepare: Callable[..., Any]):
    made, of_all = prepare(shared(), **POPULAR), prepare(shared(train_users=1.0), **POPULAR)
    rows = made.train._dataset.inter_feat
    assert dict(made.train._sampler.prob) == dict(of_all.train._sampler.prob)
    assert set(rows[ROW].tolist()) < set(prepare(shared(train_users=1.0)).train._dataset.inter_feat[ROW].tolist())
    assert len(list(made.train)) == len(made.train)


def test_a_run_reports_them(settings: dict[str, Any], prepare: Callable[..., Any]):
    made = prepare(shared())
    result = run_recbole(
        "SASRec", "tiny", config_dict={**settings, "genpas": "multi_target", "genpas_train_users": 0.4}
    )
    report = result["trained_on"]
    everybody = users_of(prepare("multi_target").train)
    users = users_of(made.train)
    assert (report["train_users"], report["users"], report["users_left_out"]) == (
        0.4,
        len(users),
        len(everybody) - len(users),
    )
    assert report["pairs_per_epoch"] == made.train.stream.view.n_pairs
    assert report["kl_validation"] > 0
    report = run_recbole("SASRec", "tiny", config_dict={**settings, "genpas": "multi_target"})["trained_on"]
    assert (report["train_users"], report["users"], report["users_left_out"]) == (1.0, len(everybody), 0)


def test_it_belongs_inside_the_section(prepare: Callable[..., Any]):
    with pytest.raises(InputError, match="train_users belongs inside the genpas key, or is written genpas_train_users"):
        prepare("multi_target", train_users=0.5)
    with pytest.raises(InputError, match="train_users must be a number above 0"):
        prepare({**STRATEGIES["multi_target"], "train_users": 0})
