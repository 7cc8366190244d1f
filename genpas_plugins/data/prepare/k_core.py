"""The iterative k-core: users and items with few interactions go until every one left has enough."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from genpas_plugins.support.array_types import AnyArray, Bools, Int64


class Core(NamedTuple):
    """Who and what stays, bool [n_users] and [n_items], and with how many interactions, int64."""

    users: Bools
    items: Bools
    user_counts: Int64
    item_counts: Int64


def find_core(
    pieces: Callable[[], Iterable[tuple[AnyArray, AnyArray]]],
    user_counts: Int64,
    item_counts: Int64,
    *,
    user_core: int,
    item_core: int,
    progress: Callable[[int, int], None] | None = None,
) -> Core:
    """Return the largest set in which each user has `user_core` interactions and each item `item_core`.

    `pieces()` yields all interactions as (user rows, item rows) in arrays of any size, each time it is called anew;
    `user_counts` and `item_counts` are the interactions of each. A repeated interaction counts as often as it occurs.
    `progress(round, interactions left)` is called after every round.
    """
    users, items = user_counts >= user_core, item_counts >= item_core
    rounds = 0
    while not (np.all(users | (user_counts == 0)) and np.all(items | (item_counts == 0))):
        user_counts, item_counts = np.zeros_like(user_counts), np.zeros_like(item_counts)
        for user_rows, item_rows in pieces():
            kept = users[user_rows] & items[item_rows]
            user_counts += np.bincount(user_rows[kept], minlength=len(users))
            item_counts += np.bincount(item_rows[kept], minlength=len(items))
        users &= user_counts >= user_core
        items &= item_counts >= item_core
        rounds += 1
        if progress is not None:
            progress(rounds, int(user_counts.sum()))
    return Core(users & (user_counts > 0), items & (item_counts > 0), user_counts, item_counts)
