"""The nearest item, against the formula in plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins import SequenceStore
from genpas_plugins.augment import neighbours


def similarity(baskets: list[set[int]], i: int, j: int) -> float:
    shared = math.fsum(1 / math.log(1 + len(basket)) for basket in baskets if {i, j} <= basket)
    popularity = [sum(item in basket for basket in baskets) for item in (i, j)]
    return shared / math.sqrt(popularity[0] * popularity[1]) if shared else 0.0


@given(store=st.from_type(SequenceStore), at_once=st.sampled_from([1, 20, 1 << 22]))
def test_the_nearest_item_has_the_largest_similarity(store: SequenceStore, at_once: int):
    view = store.leave_last_out().train
    baskets = [
        set(store.values[begin : begin + length].tolist())
        for begin, length in zip(store.offsets, view.lengths(), strict=False)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "_PAIRS", at_once)
        nearest = neighbours.nearest_items(view)
    assert len(nearest) == store.n_items + 1 and nearest[0] == 0
    for item in range(1, store.n_items + 1):
        others = {j: similarity(baskets, item, j) for j in range(1, store.n_items + 1) if j != item}
        best = max(others.values(), default=0)
        if best == 0:
            assert nearest[item] == 0
        else:
            # Sums of two orders differ in their last bits, so a tie may fall either way.
            assert others[int(nearest[item])] == pytest.approx(best, rel=1e-12)


def test_of_equal_ones_the_lowest_number_is_nearest():
    store = SequenceStore.from_arrays([3, 2, 1, 4], [0, 4])
    assert neighbours.nearest_items(store.view()).tolist() == [0, 2, 1, 1, 1]


def test_held_out_items_are_not_read():
    store = SequenceStore.from_arrays([1, 2, 3, 4, 1, 3, 4, 2], [0, 4, 8])
    train = store.leave_last_out().train  # 1 2 | 1 3
    assert neighbours.nearest_items(train).tolist() == [0, 2, 1, 1, 0]
    assert not np.array_equal(neighbours.nearest_items(train), neighbours.nearest_items(store.view()))
