"""Training on a share of the users: for data efficiency and for users whom a model sees only in the test.

The users with a training pair are in a pseudo-random order keyed by the seed. A share is the beginning of this
order. It does not depend on strategy or process. A smaller share is part of a larger share.
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
"""The number of the users' order; the orders of enumerated epochs count from 0."""


def check_share(share: Any) -> None:
    """Raise InputError unless `share` is a number above 0 and at most 1."""
    is_number = isinstance(share, int | float) and not isinstance(share, bool)
    if not is_number or not 0 < share <= 1:
        raise InputError(
            f"train_users must be a number above 0 and at most 1, the share of the users to train on, not {share!r}."
        )


def keep_users(view: SequenceView, share: float, seed: int, owner: Int64 | None = None) -> SequenceView:
    """Return the view with the sequences of a share of its users. All other sequences have length 0.

    Parameters
    ----------
    view : the sequences; `view` itself is returned if all users are kept
    share : ⌈share · n⌉ of the n users with a training pair are kept
    seed : the run's
    owner : row of each sequence's user, int64 [n_sequences]. A sequence of several users has -1 and is dropped.
        None takes the owners of a regenerated store. In any other store every sequence is its own user's.

    Raises
    ------
    InputError
        For a share or a seed out of range.

    Examples
    --------
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
    # Owner -1 (no single user) indexes the extra last element of `kept`, which stays False.
    kept = np.zeros(len(rows) + 1, np.bool_)
    kept[chosen] = True
    return view.store.view(lengths=np.where(kept[owner], lengths, 0))
