"""`eval_args: {split: {GT: [0.8, 0.1, 0.1]}}`: a global temporal split at the same times for all users.

    targets: last | first | successive   of a user's interactions in a part: the last, the first, or each of them
    time: FIELD                          the field with times; without it TIME_FIELD

`genpas_plugins.data.temporal` is the same split of a store. `genpas export-recbole` writes the position in the
sequence as TIME_FIELD and the times of the store in the field `time`. List `time` in load_col.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from genpas_plugins.data.temporal import check_shares, cut_times
from genpas_plugins.support.array_types import AnyArray, Int64
from genpas_plugins.support.errors import InputError, nearest

GT = "GT"
TARGETS = ("last", "first", "successive")


def is_temporal(eval_args: Mapping[str, Any]) -> bool:
    """Return whether the evaluation setting asks for a global temporal split."""
    split = eval_args.get("split")
    return isinstance(split, dict) and GT in split


def check(eval_args: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the keys of a global temporal split; nothing for another split."""
    if not is_temporal(eval_args):
        return
    try:
        check_shares(eval_args["split"][GT])
    except (InputError, TypeError, ValueError):
        yield f"split {GT} is {eval_args['split'][GT]!r}. Give three shares that add up to 1, such as [0.8, 0.1, 0.1]."
    if (targets := eval_args.get("targets", TARGETS[0])) not in TARGETS:
        yield f"targets {targets!r} is not a choice.{nearest(str(targets), TARGETS)}"


def split_in_time(dataset: Any, row_field: str) -> tuple[list[Int64], dict[str, Any]]:
    """Return the rows that train, validate and test. Return a report of the split too.

    `dataset` is a WindowDataset with all its rows. `row_field` has their places in its store. The report has the two
    times and counts of each part: the users, the users without a training pair and the targets that no training
    sequence has. `without_history` counts users whose only interaction in the part is their first of all.

    Raises InputError if the field is missing or a part is empty. Each sequence must be in its order.
    """
    args, store = dataset.config["eval_args"], dataset.store
    if dataset.n_added:
        raise InputError(f"{dataset.dataset_name} has added sequences, which a temporal split could not keep apart.")
    times = _times(dataset, args.get("time") or dataset.time_field)
    cuts = cut_times(times, args["split"][GT])
    rows, users = (dataset.inter_feat[field].numpy() for field in (row_field, dataset.uid_field))
    part_of_all = np.searchsorted(cuts, times, side="right")
    part, whole = part_of_all[rows], store.lengths()
    before = np.cumsum(np.concatenate([[0], part_of_all == 0]))
    trained = np.diff(before[store.offsets])
    known = np.bincount(store.values[part_of_all == 0], minlength=store.n_items + 1) > 0
    owner = np.repeat(np.arange(store.n_sequences), whole)
    chosen = [np.flatnonzero(part == 0)]
    report: dict[str, Any] = {"split": GT, "from": list(map(float, cuts))}
    for number, name in ((1, "validation"), (2, "test")):
        inside = _targets(np.flatnonzero(part == number), users, args.get("targets", TARGETS[0]))
        chosen.append(inside)
        of_part = np.unique(owner[part_of_all == number])
        report[name] = {
            "users": len(of_users := np.unique(users[inside])),
            "unseen_users": int(np.count_nonzero(trained[of_users] < 2)),  # noqa: PLR2004 – a pair has two items
            "unseen_items": int(np.count_nonzero(~known[store.values[rows[inside]]])),
            "without_history": len(np.setdiff1d(of_part, of_users)),
        }
    return chosen, report


def _targets(rows: Int64, users: Int64, which: str) -> Int64:
    """Return the target rows of one part. Rows of a user are in the order of time."""
    if which == "successive":
        return rows
    of_row = users[rows]
    order = np.argsort(of_row, kind="stable")
    last = np.append(of_row[order][1:] != of_row[order][:-1], True)[: len(rows)]
    ends = last if which == "last" else np.append(True, last[:-1])[: len(rows)]
    return np.sort(rows[order[ends]])


def _times(dataset: Any, field: str) -> AnyArray:
    store = dataset.store
    if field not in store.columns:
        raise InputError(
            f"eval_args: there is no field {field!r} among the loaded fields {', '.join(store.columns)}. Add it "
            "to load_col, or name another one as eval_args: time."
        )
    times = np.asarray(store.columns[field])
    later = np.flatnonzero(times[1:] < times[:-1]) + 1
    if len(wrong := np.setdiff1d(later, store.offsets)):
        row = int(np.searchsorted(store.offsets, wrong[0], side="right")) - 1
        user = dataset.id2token(dataset.uid_field, row)
        raise InputError(f"The interactions of user {user} are not in the order of {field}. Sort by it: TIME_FIELD.")
    return times
