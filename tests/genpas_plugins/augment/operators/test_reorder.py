"""Reorder shuffles a contiguous part, every order equally likely."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins import SequenceStore
from genpas_plugins.augment.operators.reorder import Reorder


@given(store=st.from_type(SequenceStore), rate=st.floats(0.01, 1), seed=st.integers(0, 2**64 - 1))
def test_only_a_part_moves(changes, store, rate, seed):
    for change in changes(store, Reorder(rate), seed=seed):
        n = len(change.old)
        assert sorted(change.new_rows) == change.rows
        assert change.new == store.values[change.new_rows].tolist()
        moved = [place for place in range(n) if change.new_rows[place] != change.rows[place]]
        assert not moved or moved[-1] - moved[0] < max(2, int(round(rate * n, 9)))


@pytest.mark.parametrize("place", [0, 5])
def test_every_item_is_equally_likely_to_come_first_and_last(place, changes_of_six, counts_are_even):
    assert counts_are_even(Counter(change.new_rows[place] for change in changes_of_six(Reorder(1.0))), range(6))


def test_every_order_of_a_part_is_equally_likely(changes_of_six, p_value):
    # One of the 3! orders of a part is the old one.
    assert (
        p_value(Counter(change.is_one for change in changes_of_six(Reorder(0.5))), {False: 1 / 6, True: 5 / 6}) > 1e-4
    )
