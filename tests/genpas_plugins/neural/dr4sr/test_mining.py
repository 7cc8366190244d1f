"""Pattern mining against plain loops over the definition, and against the counts known of four public data sets."""

from __future__ import annotations

import os
from collections import defaultdict
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from genpas_plugins import InputError, SequenceStore
from genpas_plugins.neural.dr4sr.mining import Patterns, mine_patterns, pattern_rows, training_items

KNOWN = {
    "beauty": {2: 28_108, 3: 10_210, 4: 2_091, 5: 255},
    "toys": {2: 18_041, 3: 1_549, 4: 128, 5: 8},
    "sports": {2: 20_826, 3: 1_048, 4: 112, 5: 13},
    "yelp": {2: 25_813, 3: 769, 4: 121, 5: 14},
}


def sequences_of(store: SequenceStore) -> list[list[int]]:
    view = store.leave_last_out().train
    return [store.values[o : o + n].tolist() for o, n in zip(store.offsets, view.lengths(), strict=False)]


def by_loops(sequences: list[list[int]], longest: int, span: int) -> dict[tuple[int, ...], set[int]]:
    """Which sequences hold each pattern: every choice of positions, one by one."""
    holders: dict[tuple[int, ...], set[int]] = defaultdict(set)
    for row, items in enumerate(sequences):
        for length in range(2, longest + 1):
            for places in combinations(range(len(items)), length):
                if places[-1] - places[0] < span:
                    holders[tuple(items[place] for place in places)].add(row)
    return holders


def as_tuples(patterns: Patterns) -> list[tuple[int, ...]]:
    bounds = patterns.offsets
    return [tuple(patterns.values[a:b].tolist()) for a, b in pairwise(bounds)]


@given(
    store=st.from_type(SequenceStore),
    longest=st.integers(2, 5),
    span=st.integers(2, 6),
    min_frequency=st.integers(1, 3),
    rows=st.sampled_from([1, 3, 1 << 20]),
)
def test_every_frequent_pattern_is_found_and_no_other(store, longest, span, min_frequency, rows):
    found = mine_patterns(
        store.leave_last_out().train,
        longest=longest,
        span=span,
        min_frequency=min_frequency,
        per_sequence=10**6,
        rows=rows,
    )
    holders = by_loops(sequences_of(store), longest, span)
    frequent = {pattern: rows for pattern, rows in holders.items() if len(rows) >= min_frequency}
    listed = as_tuples(found)
    assert listed == sorted(frequent, key=lambda pattern: (len(pattern), pattern))
    assert found.frequency.tolist() == [len(frequent[pattern]) for pattern in listed]
    assert list(zip(found.sequence.tolist(), found.pattern.tolist(), strict=True)) == [
        (row, k) for row in range(store.n_sequences) for k, pattern in enumerate(listed) if row in frequent[pattern]
    ]


def test_repeats_inside_a_pattern_count_and_repeats_inside_a_sequence_do_not():
    store = SequenceStore.from_arrays([1, 1, 1, 1, 9, 9, 1, 2, 1, 9, 9], [0, 6, 11], n_items=9)
    found = mine_patterns(store.leave_last_out().train)
    assert as_tuples(found) == [(1, 1)] and found.frequency.tolist() == [2]
    once = SequenceStore.from_arrays([1, 2, 1, 2, 9, 9], [0, 6], n_items=9)
    assert mine_patterns(once.leave_last_out().train).n == 0


def test_held_out_items_are_in_no_pattern():
    store = SequenceStore.from_arrays([1, 2, 3, 4, 1, 2, 3, 4], [0, 4, 8])
    assert as_tuples(mine_patterns(store.leave_last_out().train)) == [(1, 2)]


@pytest.fixture(scope="module")
def rich() -> SequenceStore:
    """Sixty sequences over six items: each holds far more than ten patterns."""
    random = np.random.default_rng(0)
    return SequenceStore.from_arrays(random.integers(1, 7, 60 * 14), np.arange(61) * 14)


def test_at_most_ten_patterns_a_sequence_each_in_it_and_blocks_change_nothing(rich):
    view = rich.leave_last_out().train
    found = mine_patterns(view, seed=3)
    assert np.bincount(found.sequence).tolist() == [10] * 60
    holders, listed = by_loops(sequences_of(rich), 5, 5), as_tuples(found)
    assert all(row in holders[listed[k]] for row, k in zip(found.sequence, found.pattern, strict=True))
    assert len(set(zip(found.sequence.tolist(), found.pattern.tolist(), strict=True))) == 600
    again, other = mine_patterns(view, seed=3, rows=40), mine_patterns(view, seed=4)
    assert np.array_equal(found.pattern, again.pattern) and np.array_equal(found.sequence, again.sequence)
    assert not np.array_equal(found.pattern, other.pattern) and np.array_equal(found.values, other.values)


def test_which_ten_is_every_choice_alike(rich):
    """The chosen ones' ranks among a sequence's patterns are uniform: chi-square over tenths."""
    view = rich.leave_last_out().train
    all_of = mine_patterns(view, per_sequence=10**6)
    own = [all_of.pattern[all_of.sequence == row] for row in range(60)]
    counts = np.zeros(10)
    for seed in range(12):
        found = mine_patterns(view, seed=seed)
        for row in range(60):
            rank = np.searchsorted(own[row], found.pattern[found.sequence == row])
            counts += np.bincount(rank * 10 // len(own[row]), minlength=10)
    expected = np.mean([[(np.arange(len(o)) * 10 // len(o) == d).mean() for d in range(10)] for o in own], axis=0)
    expected *= counts.sum()
    assert stats.chisquare(counts, expected).pvalue > 0.001


def test_nothing_to_mine():
    empty = SequenceStore.from_arrays([], [0])
    short = SequenceStore.from_arrays([1, 2, 3], [0, 3])
    for store in (empty, short):
        found = mine_patterns(store.leave_last_out().train)
        assert found.n == len(found.sequence) == len(found.values) == 0 and found.offsets.tolist() == [0]


def test_patterns_become_padded_rows():
    found = Patterns(np.array([4, 5, 6, 7, 8]), np.array([0, 2, 5]), np.array([2, 2]), np.array([0]), np.array([1]))
    assert pattern_rows(found, np.array([1, 0, 1]), 4).tolist() == [[6, 7, 8, 0], [4, 5, 0, 0], [6, 7, 8, 0]]


def test_training_items_skip_what_is_held_out(store):
    items, sequence = training_items(store.leave_last_out().train)
    assert items.tolist() == [1, 2, 3, 2, 3, 1, 7, 8, 4, 4]
    assert sequence.tolist() == [0, 0, 0, 3, 3, 3, 3, 3, 4, 4]


@pytest.mark.parametrize("setting", [{"longest": 1}, {"span": 1}, {"min_frequency": 0}, {"per_sequence": 0}])
def test_settings_that_cannot_be_used(setting, store):
    with pytest.raises(InputError, match=next(iter(setting))):
        mine_patterns(store.leave_last_out().train, **setting)


@pytest.fixture(params=KNOWN)
def public(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, SequenceStore]:
    """One of the four data sets, where GENPAS_DATA_DIR holds it."""
    pytest.importorskip("polars")
    from genpas_plugins.data.prepare.build import build_store

    file = Path(os.environ.get("GENPAS_DATA_DIR", "")) / request.param / "interactions.parquet"
    if "GENPAS_DATA_DIR" not in os.environ or not file.is_file():
        pytest.skip("needs GENPAS_DATA_DIR")
    return request.param, build_store(str(file), tmp_path / "store", user="user_id", item="item_id", order="position")


def test_counts_of_public_data(public):
    name, store = public
    assert mine_patterns(store.leave_last_out().train).by_length() == KNOWN[name]


def test_seq2pat_finds_the_same(rich):
    """A miner of others, where it is installed: built from source only, so it is no dependency."""
    seq2pat = pytest.importorskip("sequential.seq2pat")
    theirs = seq2pat.Seq2Pat(sequences=sequences_of(rich), max_span=5).get_patterns(min_frequency=2)
    found = mine_patterns(rich.leave_last_out().train)
    ours = {(*pattern, count) for pattern, count in zip(as_tuples(found), found.frequency.tolist(), strict=True)}
    assert ours == {tuple(pattern) for pattern in theirs}
