import pickle
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins import InputError, SamplingPolicy, SequenceStore
from genpas_plugins.analysis.target_distribution import target_distribution
from genpas_plugins.data.lengths import LengthIndex, smallest_index_type


def test_a_store_knows_its_sizes(store: SequenceStore):
    assert (store.n_sequences, store.n_interactions, store.n_items) == (5, 18, 9)
    assert store.lengths().tolist() == [5, 2, 0, 7, 4]
    assert store.values.dtype == np.int32
    assert store.offsets.dtype == np.int64


def test_item_numbers_are_64_bits_only_where_they_must_be():
    assert smallest_index_type(2**31 - 1) is np.int32
    assert smallest_index_type(2**31) is np.int64
    assert SequenceStore.from_arrays([2**31, 1], [0, 2]).values.dtype == np.int64
    assert SequenceStore.from_arrays(np.array([1, 2], np.uint64), [0, 2]).values.dtype == np.int32


def test_a_store_may_be_empty():
    store = SequenceStore.from_arrays([], [0])
    assert (store.n_sequences, store.n_interactions, store.n_items) == (0, 0, 0)
    with pytest.raises(InputError, match="No training pair"):
        store.view().require_pairs()


@pytest.mark.parametrize(
    ("values", "offsets", "options", "message"),
    [
        ([1.5, 2.0], [0, 2], {}, r"values must be one row of integers; got dtype float64"),
        ([[1, 2]], [0, 2], {}, r"values must be one row of integers; .*shape \(1, 2\)"),
        (["a", "b"], [0, 2], {}, r"values must be one row of integers"),
        ([1, 2], [0.0, 2.0], {}, r"offsets must be one row of integers"),
        ([1, 2], [], {}, r"offsets must rise from 0 to the number of values, 2"),
        ([1, 2], [1, 2], {}, r"offsets must rise from 0"),
        ([1, 2], [0, 1], {}, r"offsets must rise from 0 to the number of values, 2"),
        ([1, 2], [0, 3, 2], {}, r"offsets must rise from 0"),
        ([1, 0, 2], [0, 3], {}, r"values\[1\] is 0, but item numbers run from 1 .*0 is padding"),
        ([1, 2, -5], [0, 3], {}, r"values\[2\] is -5"),
        ([1, 2, 9], [0, 3], {"n_items": 8}, r"values\[2\] is 9, .*n_items=8"),
        ([1, 2], [0, 2], {"columns": {"price": np.zeros(3)}}, r"Column 'price' has shape \(3,\) for 2 interactions"),
        ([1, 2], [0, 2], {"user_ids": ["a", "b"]}, r"user_ids has 2 entries; 1 are needed"),
        ([1, 2], [0, 2], {"item_ids": ["a"]}, r"item_ids has 1 entries; 2 are needed"),
        ([1, 2], [0, 2], {"n_items": 3, "item_ids": ["a", "b"]}, r"item_ids has 2 entries; 3 are needed"),
        ([1, 2], [0, 2], {"n_items": "3"}, r"n_items"),
        ([1, 2], [0, 2], {"n_items": 3.5}, r"n_items"),
        ([], [0], {"n_items": -1}, r"n_items"),
        ([1, 2], [0, 2], {"columns": {"price": np.float64(3)}}, r"price"),
        ([1, 2], [0, 2], {"columns": {"tags": np.array([{}, []], object)}}, r"tags"),
        ([1, 2], [0, 2], {"item_ids": ["a", 1]}, r"item_ids"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_arrays_that_are_no_sequences_are_refused(values, offsets, options, message):
    with pytest.raises(InputError, match=message):
        SequenceStore.from_arrays(values, offsets, **options)


def test_leave_last_out_cuts_two_one_and_no_items(store: SequenceStore):
    split = store.leave_last_out()
    assert split.train.lengths().tolist() == [3, 0, 0, 5, 2]
    assert split.validation.lengths().tolist() == [4, 1, 0, 6, 3]
    assert split.test.lengths().tolist() == [5, 2, 0, 7, 4]
    assert all(view.store is store for view in split)


def test_a_view_gives_the_lengths_of_some_rows(store: SequenceStore):
    for view in (store.view(held_out=2), store.view(lengths=[3, 0, 0, 5, 2])):
        assert view.lengths([3, 0]).tolist() == [5, 3]
        assert view.lengths(slice(3, None)).tolist() == [5, 2]


def test_groups_hold_the_sequences_of_two_items_or_more_by_length(store: SequenceStore):
    view = store.leave_last_out().train
    assert view.groups.length.tolist() == [2, 3, 5]
    assert view.groups.size.tolist() == [1, 1, 1]
    assert view.index.order[view.groups.first].tolist() == [4, 0, 3]
    assert view.n_pairs == 2 + 4 + 1
    assert view.max_length == 5


@given(store=st.from_type(SequenceStore), held_out=st.integers(0, 3))
def test_groups_cover_each_drawable_sequence_once(store: SequenceStore, held_out: int):
    view = store.view(held_out=held_out)
    lengths = view.lengths()
    assert lengths.tolist() == [max(b - a - held_out, 0) for a, b in pairwise(store.offsets.tolist())]
    rows = [
        (int(row), int(length))
        for length, first, count in zip(*view.groups, strict=True)
        for row in view.index.order[first : first + count]
    ]
    assert sorted(rows) == [(row, length) for row, length in enumerate(lengths.tolist()) if length >= 2]
    assert view.n_pairs == sum(length - 1 for _, length in rows)
    assert view.max_length == max((length for _, length in rows), default=0)


@given(store=st.from_type(SequenceStore), held_out=st.integers(0, 3))
def test_a_view_by_lengths_is_the_same_as_one_by_held_out_items(store: SequenceStore, held_out: int):
    by_number = store.view(held_out=held_out)
    by_lengths = store.view(lengths=by_number.lengths())
    for of_one, of_other in zip(by_number.groups, by_lengths.groups, strict=True):
        assert np.array_equal(of_one, of_other)
    assert by_number.n_pairs == by_lengths.n_pairs


def test_last_pairs_are_the_evaluation_pairs(store: SequenceStore):
    pairs = store.leave_last_out().validation.last_pairs()
    assert pairs.sequence.tolist() == [0, 3, 4]
    assert pairs.start.tolist() == [0, 0, 0]
    assert pairs.target.tolist() == [3, 5, 2]


@pytest.mark.parametrize("lengths", [[1, 2], [6, 0, 0, 0, 0], [-1, 0, 0, 0, 0], [[3, 0, 0, 5, 2]], [1.5, 0, 0, 0, 0]])
def test_lengths_that_do_not_fit_are_refused(store: SequenceStore, lengths):
    with pytest.raises(InputError, match="lengths must"):
        store.view(lengths=lengths)


@pytest.mark.parametrize("held_out", [-1, 1.5, "2", True])
def test_a_number_of_held_out_items_that_is_none_is_refused(store: SequenceStore, held_out):
    """-1 would let a pair reach into the next user's sequence."""
    with pytest.raises(InputError, match="held_out"):
        store.view(held_out=held_out)


def test_held_out_and_lengths_exclude_each_other(store: SequenceStore):
    with pytest.raises(InputError, match="held_out"):
        store.view(held_out=1, lengths=store.lengths())


def test_a_view_does_not_change_with_the_array_it_was_made_from(store: SequenceStore):
    lengths = np.array([3, 0, 0, 5, 2])
    view = store.view(lengths=lengths)
    lengths[:] = 0
    assert view.lengths().tolist() == [3, 0, 0, 5, 2]


def test_looking_at_a_view_does_not_change_it(store: SequenceStore):
    lengths = np.array([3, 1, 0, 5, 2])
    view = store.view(lengths=lengths)
    target_distribution(view, SamplingPolicy(1, 0, 0))
    assert view.lengths().tolist() == [3, 1, 0, 5, 2]


def test_no_pair_anywhere_is_an_error_that_says_why(store: SequenceStore):
    with pytest.raises(InputError, match=r"two training items.* 5 users .*longest whole sequence has 7 items"):
        store.view(held_out=6).require_pairs()


@pytest.mark.parametrize("piece", [2, 1 << 22])
def test_the_length_index_keeps_ties_in_order(piece: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("genpas_plugins.data.lengths._PIECE", piece)
    index = LengthIndex.of(np.array([3, 1, 3, 0, 1]))
    assert index.lengths.tolist() == [0, 1, 3]
    assert index.counts.tolist() == [1, 2, 2]
    assert index.order.tolist() == [3, 1, 4, 0, 2]
    # Long enough for a sort that is not stable to show.
    many = np.random.default_rng(0).integers(0, 50, 10_000)
    assert LengthIndex.of(many).order.tolist() == sorted(range(10_000), key=many.tolist().__getitem__)


IDS = [
    (["apple", "pear", "plum"], "pear", "cherry"),
    ([30, 10, 20], 10, 11),
    (pa.array([7, 8, 9], pa.uint8()), 8, 10),
    (pa.array(["a", "b", "c"], pa.large_string()), "b", "d"),
    (pa.array([b"\x00", b"\x01", b"\x02"]), b"\x01", b"\x03"),
    (pa.array(["a", "b", "c"]).dictionary_encode(), "b", "d"),
]


@pytest.mark.parametrize(("ids", "second", "unknown"), IDS)
def test_ids_are_mapped_to_numbers_and_rows(ids, second, unknown):
    store = SequenceStore.from_arrays([1, 2, 3], [0, 1, 2, 3], user_ids=ids, item_ids=ids)
    assert store.item_numbers(ids).tolist() == [1, 2, 3]
    assert store.item_numbers([second, second]).tolist() == [2, 2]
    assert store.user_rows([second]).tolist() == [1]
    assert store.item_numbers([second]).dtype == np.int64
    with pytest.raises(InputError, match=r"1 item ids are not in the store"):
        store.item_numbers([second, unknown])
    with pytest.raises(InputError, match=r"1 user ids are not in the store"):
        store.user_rows([unknown, second])


def test_an_unknown_id_is_shown():
    store = SequenceStore.from_arrays([1, 2], [0, 2], item_ids=["a", "b"])
    with pytest.raises(InputError, match=r"2 item ids are not in the store, 'x' the first of them"):
        store.item_numbers(["a", "x", "y"])


def test_without_ids_the_number_is_the_id(store: SequenceStore):
    assert store.item_numbers([9, 1]).tolist() == [9, 1]
    assert store.user_rows([0, 4]).tolist() == [0, 4]
    assert store.item_numbers([]).tolist() == []
    for ids in ([0], [10], [-1]):
        with pytest.raises(InputError, match="item ids are not in the store"):
            store.item_numbers(ids)
    with pytest.raises(InputError, match="user ids are not in the store"):
        store.user_rows([5])


@pytest.mark.parametrize("ids", [["a"], [1.5], [None], [[1]]], ids=repr)
def test_ids_of_another_type_are_refused(store: SequenceStore, ids):
    with pytest.raises(InputError, match="item ids"):
        store.item_numbers(ids)
    with_ids = SequenceStore.from_arrays([1, 2], [0, 2], item_ids=[3, 4])
    with pytest.raises(InputError, match="item ids"):
        with_ids.item_numbers(ids)


def test_a_store_in_memory_is_pickled_whole(store: SequenceStore):
    copy = pickle.loads(pickle.dumps(store))
    assert np.array_equal(copy.values, store.values)
    assert np.array_equal(copy.columns["timestamp"], store.columns["timestamp"])
    assert copy.n_items == store.n_items
    assert pickle.loads(pickle.dumps(store.view(held_out=2))).n_pairs == store.view(held_out=2).n_pairs
