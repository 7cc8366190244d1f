"""The contract of every operator, whatever it does."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins import InputError, SequenceStore
from genpas_plugins.augment import OPERATORS, operators_of
from genpas_plugins.augment.histories import numbers_of_items

every_operator = pytest.mark.parametrize("name", sorted(OPERATORS))


def test_every_operator_has_a_test_file():
    files = (Path(__file__).parent / "operators").glob("test_*.py")
    assert {file.stem.removeprefix("test_") for file in files} == set(OPERATORS)


@every_operator
@given(
    store=st.from_type(SequenceStore),
    rate=st.floats(0, 1),
    probability=st.sampled_from([0.0, 0.5, 1.0]),
    max_length=st.integers(1, 9),
    seed=st.integers(0, 2**64 - 1),
)
def test_a_history_has_items_of_its_own_rows_or_new_ones(name, *, changes, store, rate, probability, max_length, seed):
    operator = OPERATORS[name](rate, probability)
    for change in changes(store, operator, max_length=max_length, seed=seed):
        assert 1 <= len(change.new) <= max_length and set(change.new_rows) <= set(change.rows)
        assert set(change.new) <= set(range(store.n_items + 1))
        if operator.identity:
            assert not change.is_one


@every_operator
def test_probability_is_the_share_of_pairs_that_may_change(name, changes, medium: SequenceStore):
    shares = []
    for probability in (1.0, 0.5):
        operator = OPERATORS[name](0.999 if name == "sample" else 0.4, probability)
        found = [change for epoch in range(20) for change in changes(medium, operator, epoch=epoch)]
        found = [change.is_one for change in found if 1 < len(change.old) < 9]
        shares.append(np.mean(found))
    assert shares[0] > 0 and abs(shares[1] - shares[0] / 2) < 5 * 0.5 / math.sqrt(len(found))


@every_operator
def test_it_is_read_from_a_mapping(name):
    (operator,) = operators_of({"operator": name, "rate": 0.25})
    assert operator == OPERATORS[name](0.25) and operator.operator == name
    with pytest.raises(InputError, match=f"augment: {name}: rate must be a number from 0 to 1"):
        operators_of({"operator": name, "rate": 2})


@given(rate=st.floats(0.001, 1), n=st.integers(1, 200))
def test_the_number_of_items_is_the_share_rounded_down_and_at_least_one(rate, n):
    assert numbers_of_items(rate, 8)[n] == max(1, math.floor(round(rate * n, 9)))
    assert numbers_of_items(rate, 8)[0] == 0


def test_operators_of_a_list_draw_independently(stream_of_one):
    # Two deletions of one of six items: with the same numbers they would always meet at the same place.
    stream = stream_of_one(6, OPERATORS["delete"](0.1), 3000)
    twice = type(stream)(stream.stream, stream.operators * 2, stream.catalogue, with_rows=True)
    index = np.arange(3000)
    once, both = (s.batch(0, index, 50).histories.rows.reshape(3000, -1).tolist() for s in (stream, twice))
    first = [(set(range(6)) - set(row)).pop() for row in once]
    second = [row.index((set(row) - set(left)).pop()) for row, left in zip(once, both, strict=True)]
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / math.sqrt(3000)


def test_operators_are_applied_in_order(changes, medium: SequenceStore):
    crop, mask = OPERATORS["crop"](1.0), OPERATORS["mask"](1.0)
    # One item is left by either; only a mask before the crop leaves something for the crop to lose.
    assert all(change.new != [0] for change in changes(medium, crop, mask))
    assert any(change.new == [0] for change in changes(medium, mask, crop))


def test_no_pairs_are_no_histories(store: SequenceStore, backend: str, changed_stream):
    stream = changed_stream(store, [operator(0.5) for operator in OPERATORS.values()], backend)
    after = stream.batch(0, [], 5).histories
    assert (len(after.items), after.offsets.tolist()) == (0, [0])
