"""Training on a share of the users: data efficiency, and users whom a model meets only when it is tested.

The users who have a training pair stand in a pseudo-random order keyed by the seed, and a share of them is its
beginning. So it depends on no strategy and no process, and a smaller share is part of a larger one.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from genpas_plugins.data.sequences import PAIR_ITEMS, SequenceView
from genpas_plugins.sampling.permutation import permute, round_keys
from genpas_plugins.sampling.random_stream import check_seed
from genpas_plugins.support.array_types import Int64
from genpas_plugins.support.errors import InputError

ORDER = (1 << 62) - 1
"""The number of the users' order; those of enumerated epochs count from 0."""


def check_share(share: Any) -> None:
    """Raise InputError unless `share` is a number above 0 and at most 1."""
    is_number = isinstance(share, int | float) and not isinstance(share, bool)
    if not is_number or not 0 < share <= 1:
        raise InputError(
            f"train_users must be a number above 0 and at most 1, the share of the users to train on, not {share!r}."
        )


def keep_users(view: SequenceView, share: float, seed: int, owner: Int64 | None = None) -> SequenceView:
    """Return the view of the sequences of a share of its users; all other sequences have length 0 in it.

    share : ⌈share · n⌉ of the n users who have a training pair are kept; where these are all, it is `view` itself
    seed  : the run's
    owner : int64 [n_sequences], the row of the user whom each sequence belongs to, which for the user's own sequence is
            its own row; None: what a regenerated store says, in any other store every sequence is a user's own

    A sequence that was added stays or goes with its user; one that is of several users, as patterns are, goes. Raises
    InputError for a share or a seed that is none.

    >>> from genpas_plugins import SequenceStore
    >>> store = SequenceStore.from_arrays([1, 2, 3, 4, 5, 6], [0, 2, 4, 6])
    >>> keep_users(store.view(), 0.5, seed=1).lengths()
    array([0, 2, 2])
    """
    check_share(share)
    seed = check_seed(seed)
    if share == 1:
        return view
    rows = np.arange(view.store.n_sequences)
    owner = view.store.owners() if owner is None else owner
    lengths = view.lengths()
    users = np.flatnonzero((lengths >= PAIR_ITEMS) & (owner == rows))
    count = math.ceil(Fraction(str(share)) * len(users))  # of the decimal: 0.1 · 30 in binary is above 3
    if count == len(users):
        return view
    chosen = users[permute(np.arange(count), len(users), round_keys(seed, ORDER))]
    # Nobody's sequences have the owner -1, which finds the entry behind the last row.
    kept = np.zeros(len(rows) + 1, np.bool_)
    kept[chosen] = True
    return view.store.view(lengths=np.where(kept[owner], lengths, 0))
