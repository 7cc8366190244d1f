"""Replace puts uniform items at uniform places."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins import SequenceStore
from genpas_plugins.augment.operators.replace import Replace


@given(store=st.from_type(SequenceStore), rate=st.floats(0.01, 1), seed=st.integers(0, 2**64 - 1))
def test_only_so_many_items_change(changes, store, rate, seed):
    for change in changes(store, Replace(rate), seed=seed):
        n = len(change.old)
        assert change.new_rows == change.rows and 0 not in change.new
        assert sum(a != b for a, b in zip(change.new, change.old, strict=True)) <= max(1, int(round(rate * n, 9)))


def test_every_place_is_equally_likely(changes_of_six, counts_are_even):
    places = Counter(p for change in changes_of_six(Replace(0.5)) for p in range(6) if change.new[p] != p + 1)
    assert counts_are_even(places, range(6))


def test_new_items_are_uniform_over_the_catalogue(stream_of_one, counts_are_even):
    items = stream_of_one(4, Replace(1.0), 2000, n_items=20).batch(0, range(2000), 50).histories.items
    assert counts_are_even(Counter(items.tolist()), range(1, 21))
