"""Substitute puts the nearest item at uniform places; an item without a neighbour stays."""

from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins import SequenceStore
from genpas_plugins.augment.neighbours import nearest_items
from genpas_plugins.augment.operators.substitute import Substitute


@given(store=st.from_type(SequenceStore), rate=st.floats(0.01, 1), seed=st.integers(0, 2**64 - 1))
def test_a_changed_item_is_the_nearest_one(changes, store, rate, seed):
    nearest = nearest_items(store.leave_last_out().train)
    for change in changes(store, Substitute(rate), seed=seed):
        n, places = len(change.old), [p for p, item in enumerate(change.old) if change.new[p] != item]
        assert change.new_rows == change.rows
        assert len(places) <= max(1, int(round(rate * n, 9)))
        assert all(change.new[place] == nearest[change.old[place]] != 0 for place in places)


def test_every_item_changes_that_has_a_neighbour(changes, medium: SequenceStore):
    nearest = nearest_items(medium.leave_last_out().train)
    for change in changes(medium, Substitute(1.0)):
        assert change.new == [int(nearest[item]) or item for item in change.old]
