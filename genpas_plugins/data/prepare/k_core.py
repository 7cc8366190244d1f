"""The iterative k-core: drop users and items with few interactions until all have enough."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from genpas_plugins.support.array_types import AnyArray, Bools, Integers


class Core(NamedTuple):
    """The users bool [n_users] and items bool [n_items] that stay and the number of their interactions."""

    users: Bools
    items: Bools
    user_counts: Integers
    item_counts: Integers


def find_core(
    pieces: Callable[[], Iterable[tuple[AnyArray, AnyArray]]],
    user_counts: Integers,
    item_counts: Integers,
    *,
    user_core: int,
    item_core: int,
    progress: Callable[[int, int], None] | None = None,
) -> Core:
    """Return the largest set in which each user has `user_core` interactions and each item `item_core`.

    Parameters
    ----------
    pieces
        Yields all interactions anew at every call as (user rows, item rows).
    user_counts, item_counts
        Integers [n_users] and [n_items]. A repeated interaction counts each time.
    user_core, item_core
        Fewest interactions of a user and of an item.
    progress
        Called as progress(round, interactions left) after every round.
    """
    users, items = user_counts >= user_core, item_counts >= item_core
    rounds = 0
    while not (np.all(users | (user_counts == 0)) and np.all(items | (item_counts == 0))):
        user_counts, item_counts = np.zeros_like(user_counts), np.zeros_like(item_counts)
        for user_rows, item_rows in pieces():
            kept = users[user_rows] & items[item_rows]
            add_counts(user_counts, user_rows[kept])
            add_counts(item_counts, item_rows[kept])
        users &= user_counts >= user_core
        items &= item_counts >= item_core
        rounds += 1
        if progress is not None:
            progress(rounds, int(user_counts.sum()))
    return Core(users & (user_counts > 0), items & (item_counts > 0), user_counts, item_counts)


def add_counts(counts: Integers, rows: AnyArray) -> None:
    """Add to the integers `counts` [n] how often each row number occurs. Rows that are close together cost little."""
    if len(rows):
        first = int(rows.min())
        found = np.bincount(rows - first)
        counts[first : first + len(found)] += found.astype(counts.dtype)
