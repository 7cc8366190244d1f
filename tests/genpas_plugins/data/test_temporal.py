"""The global temporal split against a plain loop: nothing trains that is as late as a target of validation or test."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins import InputError, SequenceStore
from genpas_plugins.data.temporal import cut_times, evaluated_counts, read_split, temporal_split

SHARES = (0.6, 0.2, 0.2)


def store_of(sequences: list[list[int]]) -> SequenceStore:
    """Return a store with these times, each sequence in order; items count up through the store."""
    sorted_times = [sorted(times) for times in sequences]
    flat = [time for times in sorted_times for time in times]
    offsets = np.cumsum([0, *map(len, sequences)])
    return SequenceStore.from_arrays(
        np.arange(len(flat)) % 7 + 1, offsets, n_items=7, columns={"timestamp": np.array(flat, np.int64)}
    )


@given(st.lists(st.lists(st.integers(0, 30), max_size=8), min_size=1, max_size=12), st.sampled_from(["last", "first"]))
def test_views_are_those_of_a_plain_loop(sequences: list[list[int]], target: str):
    store = store_of(sequences)
    times = store.columns["timestamp"]
    try:
        cuts = cut_times(times, SHARES)
    except InputError:
        return
    split = temporal_split(store, SHARES, target=target)  # type: ignore[arg-type]
    for s, (low, high) in enumerate(zip(store.offsets[:-1], store.offsets[1:], strict=True)):
        own = times[low:high].tolist()
        parts = [[k for k, time in enumerate(own) if inside(time)] for inside in bounds(*cuts)]
        assert split.train.lengths()[s] == len(parts[0])
        for view, part in ((split.validation, parts[1]), (split.test, parts[2])):
            expected = (part[-1] if target == "last" else part[0]) + 1 if part else 0
            assert view.lengths()[s] == expected
    counts = evaluated_counts(split)
    pairs = split.test.last_pairs()
    trained = split.train.lengths()
    assert counts["test"]["users"] == len(pairs.target)
    assert counts["test"]["unseen_users"] == sum(trained[s] < 2 for s in pairs.sequence)
    seen = {int(store.values[low + k]) for low, n in zip(store.offsets[:-1], trained, strict=True) for k in range(n)}
    targets = store.values[store.offsets[pairs.sequence] + pairs.target]
    assert counts["test"]["unseen_items"] == sum(int(item) not in seen for item in targets)


def bounds(first: float, second: float):
    return (lambda t: t < first), (lambda t: first <= t < second), (lambda t: t >= second)


def test_a_word_names_a_split():
    store = store_of([list(range(10)), list(range(5, 15))])
    assert read_split(store, "leave_last_out").test.lengths().tolist() == [10, 10]
    for word, target in (("temporal:0.6,0.2,0.2", "last"), ("temporal:0.6,0.2,0.2:first", "first")):
        expected = temporal_split(store, SHARES, target=target)  # type: ignore[arg-type]
        assert [v.lengths().tolist() for v in read_split(store, word)] == [v.lengths().tolist() for v in expected]


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("tempora", "Did you mean 'temporal'"),
        ("temporal:0.5", "three shares above 0 that add up to 1"),
        ("temporal:a,b,c", "three shares"),
        ("temporal:0.6,0.2,0.2:middle", "'middle' is not a choice"),
        ("leave_last_out:1", "not a choice"),
    ],
)
def test_other_words_are_refused(word: str, told: str):
    with pytest.raises(InputError, match=told):
        read_split(store_of([list(range(10))]), word)


def test_times_that_cannot_split_are_refused():
    with pytest.raises(InputError, match="Prepare the store with --column timestamp"):
        temporal_split(SequenceStore.from_arrays([1, 2], [0, 2]))
    with pytest.raises(InputError, match="leaves a part empty"):
        temporal_split(store_of([[1, 1, 1]]))
    disordered = SequenceStore.from_arrays([1, 2, 1, 2], [0, 1, 4], columns={"timestamp": np.array([9, 1, 3, 2])})
    with pytest.raises(InputError, match="Sequence 1 is not in the order of timestamp: its interaction 2"):
        temporal_split(disordered)
    gaps = SequenceStore.from_arrays([1, 2], [0, 2], columns={"timestamp": np.array([1.0, np.nan])})
    with pytest.raises(InputError, match="1 interactions have no timestamp"):
        temporal_split(gaps)
