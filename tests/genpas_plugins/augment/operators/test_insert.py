"""Insert adds uniform items at uniform places and leaves the rest in order."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins import SequenceStore
from genpas_plugins.augment.operators.insert import Insert


@given(
    store=st.from_type(SequenceStore),
    rate=st.floats(0.01, 1),
    max_length=st.integers(1, 9),
    seed=st.integers(0, 2**64 - 1),
)
def test_without_the_new_items_it_is_the_end_of_the_history(changes, store, rate, max_length, seed):
    for change in changes(store, Insert(rate), max_length=max_length, seed=seed):
        n, rows = len(change.old), change.new_rows
        longer = min(max_length, n + max(1, int(round(rate * n, 9))))
        assert len(change.new) == longer
        # A new item is the first of two from one row.
        real = [place for place in range(longer) if rows[place] not in rows[place + 1 :]]
        assert [change.new[place] for place in real] == change.old[n - len(real) :]
        assert [rows[place] for place in real] == change.rows[n - len(real) :]
        assert (rows[-1], change.new[-1]) == (change.rows[-1], change.old[-1])
        assert max(Counter(rows).values()) <= 2 and 0 not in change.new


def test_every_place_is_equally_likely(changes_of_six, counts_are_even):
    places = Counter(p for change in changes_of_six(Insert(0.5)) for p in range(6) if change.new_rows.count(p) == 2)
    assert counts_are_even(places, range(6))


def test_new_items_are_uniform_over_the_catalogue(stream_of_one, counts_are_even):
    items = stream_of_one(4, Insert(1.0), 2000, n_items=20).batch(0, range(2000), 50).histories.items
    assert counts_are_even(Counter(items.reshape(2000, 8)[:, ::2].ravel().tolist()), range(1, 21))
