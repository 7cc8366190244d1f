"""Figures of groups of users from the same ranking as the figures of all users.

popularity   G1, G2, G3: by the user's target. Items are sorted by falling number of training interactions. Each group
             has a third of the interactions: G1 is the few popular items and G3 the long tail.
users        seen, unseen: whether the user trains. Only with `train_users` or a split in time.

RecBole's evaluator computes the figures of a group from the rows that it collected for the group.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from recbole.evaluator.collector import DataStruct
from recbole.trainer import Trainer

from genpas_plugins.sampling.jagged import spans
from genpas_plugins.support.array_types import AnyArray, Bools, Int64, Integers
from genpas_plugins.support.override import recorded
from recbole_ext.dataset import WindowDataset

Groups = dict[str, dict[str, Bools]]  # {kind: {group: rows of an evaluation set that are in the group, bool [n]}}

POPULARITY = ("G1", "G2", "G3")
SEEN, UNSEEN = "seen", "unseen"

_OF_THE_DATA = ("data.num_items", "data.num_users", "data.count_items", "data.count_users")
"""What RecBole collects once, the same for all groups."""


class Evaluated(NamedTuple):
    """Figures by RecBole's name of the metric for all users and for {kind: {group}}. Groups also have `n` rows."""

    figures: dict[str, float]
    groups: dict[str, dict[str, dict[str, float]]]
    ranks: Integers | None  # uint16 [n], rank of each row's best target, from 1; 0 below the longest list
    items: Integers | None  # int64 [n, longest list], what is recommended

    # Both are None if no metric needs them: an accuracy, or a figure of the lists.


def groups_of(train: WindowDataset, evaluation: Any) -> Groups:
    """Return the groups of an evaluation set's rows; a row is a user and a target.

    Popularity counts the training parts of all users without added sequences. So the groups of a data set do not depend
    on the strategy or on `train_users`.
    """
    users, targets = (evaluation.inter_feat[field].numpy() for field in (train.uid_field, train.iid_field))
    of_item = popularity_groups(interactions(train))
    kinds = {"popularity": {name: of_item[targets] == k for k, name in enumerate(POPULARITY)}}
    seen = train.training_view().lengths()[users] > 0
    if not seen.all():
        kinds["users"] = {SEEN: seen, UNSEEN: ~seen}
    return kinds


def interactions(train: WindowDataset) -> Int64:
    """Return how often each item `int64 [n_items + 1]` is in the training parts of all users."""
    store, lengths = train.store, train.view_of_all_users().lengths()
    n_users = int(train.user_num)
    items = store.values[spans(store.offsets[:n_users], lengths[:n_users])]
    return np.bincount(items, minlength=store.n_items + 1)


def popularity_groups(counts: Int64) -> Int64:
    """Return the index into POPULARITY of each item's group from its interactions: both `int64 [n_items + 1]`.

    An item is in the group of its first interaction. Interactions are in the order of the items.

    >>> popularity_groups(np.array([0, 1, 3, 0, 2]))
    array([2, 2, 0, 2, 1])
    """
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]
    group = np.empty(len(counts), np.int64)
    group[order] = len(POPULARITY) * before // max(1, int(counts.sum()))
    group[counts == 0] = len(POPULARITY) - 1
    return group


def evaluate(trainer: Trainer, loader: Any, groups: Groups) -> Evaluated:
    """Rank a loader's set once with the trainer's current weights and return all figures.

    A group without rows is left out. Groups have only metrics that RecBole computes from one entry a row. This excludes
    AUC and the loss. It excludes all metrics if a user has several targets.
    """
    with recorded(trainer.evaluator, "evaluate") as calls:
        figures = _as_plain(trainer.evaluate(loader, load_best_model=False))
    ((args, _),) = calls
    n = len(loader._dataset)
    content: Mapping[str, Any] = args[0]._data_dict
    rows = {name for name, value in content.items() if isinstance(value, torch.Tensor) and len(value) == n}
    evaluator = copy.copy(trainer.evaluator)
    by_row = [
        metric
        for metric in evaluator.metrics
        if all(name in rows or name in _OF_THE_DATA for name in evaluator.metric_class[metric].metric_need)
    ]
    if by_row != evaluator.metrics:
        left_out = ", ".join(metric for metric in evaluator.metrics if metric not in by_row)
        trainer.logger.warning(f"No figures of groups for {left_out}: not computed from one entry a row.")
    evaluator.metrics = by_row
    by_kind: dict[str, dict[str, dict[str, float]]] = {}
    for kind, named in groups.items():
        of_group = {
            name: {"n": int(chosen.sum()), **_as_plain(evaluator.evaluate(_part(content, rows, chosen)))}
            for name, chosen in named.items()
            if by_row and chosen.any()
        }
        if of_group:
            by_kind[kind] = of_group
    hits, items = (content[name].numpy() if name in content else None for name in ("rec.topk", "rec.items"))
    return Evaluated(figures, by_kind, None if hits is None else _ranks(hits), items)


def _ranks(hits: AnyArray) -> Integers:
    """Return the rank of each row's first hit: 0 without a hit. The last column of `hits` counts the targets."""
    inside = hits[:, :-1] > 0
    return np.where(inside.any(1), inside.argmax(1) + 1, 0).astype(np.uint16)


def _part(content: Mapping[str, Any], rows: set[str], chosen: Bools) -> Any:
    part = DataStruct()
    mask = torch.from_numpy(chosen)
    for name, value in content.items():
        part.set(name, value[mask] if name in rows else value)
    return part


def _as_plain(figures: Mapping[str, Any]) -> dict[str, float]:
    return {metric: float(value) for metric, value in figures.items()}
