"""Mask writes 0 at uniform places and leaves at least one item."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins import SequenceStore
from genpas_plugins.augment.operators.mask import Mask


@given(store=st.from_type(SequenceStore), rate=st.floats(0.01, 1), seed=st.integers(0, 2**64 - 1))
def test_the_other_items_stay(changes, store, rate, seed):
    for change in changes(store, Mask(rate), seed=seed):
        n = len(change.old)
        assert change.new_rows == change.rows
        assert change.new.count(0) == min(max(1, int(round(rate * n, 9))), n - 1)
        assert all(item in (0, old) for item, old in zip(change.new, change.old, strict=True))


def test_every_place_is_equally_likely(changes_of_six, counts_are_even):
    places = Counter(place for change in changes_of_six(Mask(0.5)) for place in range(6) if change.new[place] == 0)
    assert counts_are_even(places, range(6))
