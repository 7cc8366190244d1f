"""The nearest item of each item by ItemCF-IUF (BASRec): common users where active users weigh less.

    w(i, j) = Σ over users u of both  1 / ln(1 + |I_u|)  /  √(N_i N_j)

I_u are the distinct items of user u. N_i is the number of users of item i.
"""

from __future__ import annotations

import math

import numpy as np

from genpas_plugins.data.lengths import bounds, smallest_index_type
from genpas_plugins.data.sequences import SequenceView
from genpas_plugins.sampling.jagged import spans
from genpas_plugins.support.array_types import Float64, Int64, Integers

_PAIRS = 1 << 22  # (user's item, user's item) pairs that are counted at a time


def nearest_items(view: SequenceView) -> Integers:
    """Return the other item `[n_items + 1]` with the largest w(i, ·) for every item of the view, or 0.

    Of equal items the lowest number is taken. Time grows with Σ |I_u|².

    Examples
    --------
    >>> from genpas_plugins import SequenceStore
    >>> nearest_items(SequenceStore.from_arrays([1, 2, 1, 2, 3, 4], [0, 2, 5, 6]).view())
    array([0, 2, 1, 1, 0], dtype=int32)
    """
    users, items = _distinct(view)
    n_items, n_users = view.store.n_items, view.store.n_sequences
    of_user = np.bincount(users, minlength=n_users)
    begin_of_user = bounds(of_user)
    popularity = np.bincount(items, minlength=n_items + 1)
    # From the C library: numpy's own logarithm may differ in the last bit from one processor to another.
    weight = np.array([0.0, *(1 / math.log(1 + n) for n in range(1, int(of_user.max(initial=0)) + 1))])
    order = np.argsort(items, kind="stable")
    begin_of_item = bounds(popularity)
    nearest = np.zeros(n_items + 1, smallest_index_type(n_items))
    work = bounds(np.bincount(items, of_user[users], minlength=n_items + 1).astype(np.int64))
    first = 0
    while first <= n_items:
        last = max(first + 1, int(np.searchsorted(work, work[first] + _PAIRS, side="right")) - 1)
        entries = order[begin_of_item[first] : begin_of_item[last]]
        partners = of_user[users[entries]]
        other = items[spans(begin_of_user[users[entries]], partners)]
        item = np.repeat(items[entries], partners)
        iuf = np.repeat(weight[partners], partners)
        different = item != other
        _fill_nearest(nearest, item[different], other[different], iuf[different], popularity)
        first = last
    return nearest


def _fill_nearest(nearest: Integers, item: Int64, other: Int64, iuf: Float64, popularity: Int64) -> None:
    """Write the nearest item of each entry of `item`. All its other items must come with it."""
    if not len(item):
        return
    width = len(nearest)
    keys, which = np.unique(item * width + other, return_inverse=True)
    item, other = np.divmod(keys, width)
    w = np.bincount(which, iuf) / np.sqrt(popularity[item] * popularity[other])
    starts = np.flatnonzero(np.diff(item, prepend=-1))
    best = np.repeat(np.maximum.reduceat(w, starts), np.diff(starts, append=len(item)))
    found = np.flatnonzero(w == best)[::-1]
    nearest[item[found]] = other[found]  # of equal items the lowest is written last


def _distinct(view: SequenceView) -> tuple[Int64, Int64]:
    """Return every user with each of their items once and sorted by both: `int64 [m]` each."""
    view.store.check_content()
    lengths = view.lengths()
    items = view.store.values[spans(view.store.offsets[:-1], lengths)].astype(np.int64)
    users = np.repeat(np.arange(len(lengths)), lengths)
    width = view.store.n_items + 1
    users, items = np.divmod(np.unique(users * width + items), width)
    return users, items
