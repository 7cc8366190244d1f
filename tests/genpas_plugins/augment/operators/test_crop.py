"""Crop keeps a contiguous part, and every part is equally likely."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins import SequenceStore
from genpas_plugins.augment.operators.crop import Crop


@given(store=st.from_type(SequenceStore), rate=st.floats(0.01, 1), seed=st.integers(0, 2**64 - 1))
def test_the_part_is_contiguous(changes, store, rate, seed):
    for change in changes(store, Crop(rate), seed=seed):
        n = len(change.old)
        kept = n - min(max(1, int(round(rate * n, 9))), n - 1)
        assert change.new_rows == list(range(change.new_rows[0], change.new_rows[0] + kept))
        assert change.new == store.values[change.new_rows].tolist()


def test_every_beginning_is_equally_likely(changes_of_six, counts_are_even):
    assert counts_are_even(Counter(change.new_rows[0] for change in changes_of_six(Crop(0.5))), range(4))
