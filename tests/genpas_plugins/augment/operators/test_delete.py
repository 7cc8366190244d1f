"""Delete removes a fixed number of items, each equally likely."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins import SequenceStore
from genpas_plugins.augment.operators.delete import Delete


@given(store=st.from_type(SequenceStore), rate=st.floats(0.01, 1), seed=st.integers(0, 2**64 - 1))
def test_the_rest_is_in_order(changes, store, rate, seed):
    for change in changes(store, Delete(rate), seed=seed):
        n = len(change.old)
        assert len(change.new) == max(1, n - max(1, int(round(rate * n, 9))))
        assert change.new_rows == sorted(set(change.new_rows))
        assert change.new == store.values[change.new_rows].tolist()


def test_every_item_is_equally_likely_to_go(changes_of_six, counts_are_even):
    gone = Counter(row for change in changes_of_six(Delete(0.5)) for row in set(change.rows) - set(change.new_rows))
    assert counts_are_even(gone, range(6))
