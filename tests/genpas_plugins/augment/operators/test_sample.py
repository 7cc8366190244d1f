"""Sample keeps each item independently, and never none."""

import math
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins import SequenceStore
from genpas_plugins.augment.operators.sample import Sample


@given(store=st.from_type(SequenceStore), rate=st.floats(0.01, 1), seed=st.integers(0, 2**64 - 1))
def test_the_rest_is_in_order(changes, store, rate, seed):
    for change in changes(store, Sample(rate), seed=seed):
        assert change.new_rows == sorted(set(change.new_rows))
        assert change.new == store.values[change.new_rows].tolist()


def test_every_item_is_equally_likely_to_stay(changes_of_six, counts_are_even):
    assert counts_are_even(Counter(row for change in changes_of_six(Sample(0.5)) for row in change.new_rows), range(6))


def test_the_size_is_binomial(stream_of_one, p_value):
    sizes = stream_of_one(4, Sample(0.3)).batch(0, range(8_000), 50).histories.lengths
    expected = {size: math.comb(4, size) * 0.7**size * 0.3 ** (4 - size) for size in range(5)}
    expected[1] += expected.pop(0)
    assert p_value(Counter(sizes.tolist()), expected) > 1e-4
