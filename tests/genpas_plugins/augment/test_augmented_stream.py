"""An augmented history is a function of (seed, epoch, index): whoever asks for it, in whatever company."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins import InputError, SamplingPolicy, SequenceStore, pair_stream
from genpas_plugins.augment import OPERATORS, AugmentedStream, augment_stream
from genpas_plugins.augment.draws import BLOCKS, FIRST, OPERATORS_AT_MOST, choose_numbers, jagged_words
from genpas_plugins.augment.operators.delete import Delete
from genpas_plugins.augment.operators.insert import Insert
from genpas_plugins.sampling.constructions import construction_of
from genpas_plugins.sampling.random_stream import PERMUTATION, philox

operators = st.lists(
    st.builds(
        lambda name, rate, probability: OPERATORS[name](rate, probability),
        st.sampled_from(sorted(OPERATORS)),
        st.floats(0, 1),
        st.sampled_from([0.3, 1.0]),
    ),
    min_size=1,
    max_size=4,
)


def made(store, policy, chosen, backend="numpy", seed=7) -> AugmentedStream:
    stream = augment_stream(
        pair_stream(store.leave_last_out().train, policy, seed=seed, pairs_per_epoch=50, backend=backend),
        chosen,
        with_rows=True,
    )
    assert isinstance(stream, AugmentedStream)
    return stream


def histories(stream, epoch, index, max_length=5) -> list[tuple[list[int], list[int]]]:
    found = stream.histories(epoch, index, stream.pairs(epoch, index), max_length)
    parts = [slice(*bounds) for bounds in zip(found.offsets[:-1], found.offsets[1:], strict=True)]
    return [(found.items[part].tolist(), found.rows[part].tolist()) for part in parts]


@given(
    store=st.from_type(SequenceStore),
    policy=st.sampled_from([SamplingPolicy.named("multi_target"), SamplingPolicy(1, 0, 0)]),
    chosen=operators,
    cuts=st.lists(st.integers(0, 50), max_size=4),
    order=st.permutations(range(50)),
    epoch=st.integers(0, 3),
)
def test_any_split_of_a_batch_gives_the_same_histories(*, store, policy, chosen, cuts, order, epoch):
    stream = made(store, policy, chosen)
    whole = histories(stream, epoch, np.arange(50))
    parts = [histories(stream, epoch, part) for part in np.split(np.arange(50), sorted(cuts))]
    assert whole == [history for part in parts for history in part]
    assert [whole[i] for i in order] == histories(stream, epoch, np.array(order))


@given(store=st.from_type(SequenceStore), chosen=operators, seed=st.integers(0, 2**64 - 1), length=st.integers(1, 9))
def test_compiled_histories_are_the_same(store, chosen, seed, length):
    pytest.importorskip("numba")
    index = np.arange(50)
    results = [
        histories(made(store, SamplingPolicy(1, 0, 0), chosen, backend, seed), 1, index, length)
        for backend in ("numpy", "numba")
    ]
    assert results[0] == results[1]


def test_a_history_that_ends_early_stays_without_the_items_before_its_target():
    store = SequenceStore.from_arrays(np.arange(1, 13), [0, 12])
    stream = made(store, construction_of("future_window:items=4"), [Insert(0.0), Delete(0.0, 0.5)])
    index = np.arange(50)
    plain, changed = stream.stream.batch(0, index, 20).histories, stream.batch(0, index, 20).histories
    assert changed.jagged()[0].tolist() == plain.jagged()[0].tolist()
    assert (plain.lengths < stream.pairs(0, index).target).any()


def test_a_history_of_masked_items_alone_is_masked_no_further():
    store = SequenceStore.from_arrays([1, 1, 1, 1, 1], [0, 5])
    mask, crop = OPERATORS["mask"](1.0, 0.3), OPERATORS["crop"](1.0, 0.3)
    before = histories(made(store, SamplingPolicy(1, 0, 0), [mask, crop], seed=1), 1, np.arange(50), 2)
    assert ([0] in [items for items, _ in before]) and ([1] in [items for items, _ in before])
    after = histories(made(store, SamplingPolicy(1, 0, 0), [mask, crop, mask], seed=1), 1, np.arange(50), 2)
    for (items, rows), (masked, rows_after) in zip(before, after, strict=True):
        assert rows_after == rows and (masked == items or (sorted(items) == [1, 1] and sorted(masked) == [0, 1]))


def test_long_histories_are_the_same_compiled():
    pytest.importorskip("numba")
    store = SequenceStore.from_arrays(np.arange(1, 3001), [0, 1500, 3000])
    chosen = [operator(0.6, 0.8) for operator in OPERATORS.values()]
    numpy, numba = (made(store, SamplingPolicy(1, 2, 0), chosen, b) for b in ("numpy", "numba"))
    assert histories(numpy, 0, np.arange(50), 1000) == histories(numba, 0, np.arange(50), 1000)


def test_seed_epoch_and_index_all_matter(medium: SequenceStore):
    policy = SamplingPolicy.named("multi_target")
    stream, other = made(medium, policy, [Insert(0.9)]), made(medium, policy, [Insert(0.9)], seed=8)
    index = np.arange(50)
    pairs = stream.pairs(0, index)  # the same pairs for all, so that only the operators differ

    def items(of, epoch, indices):
        return of.histories(epoch, indices, pairs, 30).items.tolist()

    results = [items(stream, 0, index), items(stream, 1, index), items(other, 0, index), items(stream, 0, index[::-1])]
    assert all(results[a] != results[b] for a in range(4) for b in range(a))


def test_pairs_are_those_of_the_plain_stream(medium: SequenceStore):
    stream = made(medium, SamplingPolicy(1, 0, 0), [Insert(0.9)])
    for mine, plain in zip(stream.pairs(2, np.arange(50)), stream.stream.pairs(2, np.arange(50)), strict=True):
        assert np.array_equal(mine, plain)


def test_operators_and_everything_else_have_blocks_of_their_own():
    negatives_and_dropout = PERMUTATION - 2
    assert FIRST == 2
    assert negatives_and_dropout > FIRST + OPERATORS_AT_MOST * BLOCKS


def test_words_are_those_of_the_blocks():
    counts = np.array([5, 0, 3])
    words = jagged_words(7, 2, 9, np.array([4, 5, 6]), counts)
    blocks = [philox(7, 2, block, [4, 5, 6]) for block in (9, 10)]
    assert words.tolist() == [*blocks[0][:, 0].tolist(), int(blocks[1][0, 0]), *blocks[0][:3, 2].tolist()]


def test_choosing_is_the_beginning_of_a_shuffle():
    words = np.array([0, 2**32 - 1, 0, 2**31], np.uint32)
    chosen = choose_numbers(words, np.array([10, 20]), np.array([3, 2]), np.array([3, 1]))
    # 10 of 10 11 12; then the last of 11 12; then what is left; and the second of 20 21.
    assert chosen.tolist() == [10, 12, 11, 21]


def test_a_stream_without_operators_is_the_stream(medium: SequenceStore):
    plain = pair_stream(medium.leave_last_out().train, SamplingPolicy(1, 0, 0), seed=7)
    assert augment_stream(plain, None) is plain


def test_a_pickled_stream_is_the_same(medium: SequenceStore):
    stream = made(medium, SamplingPolicy(1, 0, 0), [OPERATORS["substitute"](0.5), Delete(0.5)])
    copy = pickle.loads(pickle.dumps(stream))
    assert histories(copy, 1, np.arange(50)) == histories(stream, 1, np.arange(50))


@pytest.mark.parametrize("length", [0, 2**24 + 1, 1.5])
def test_lengths_without_enough_random_words_are_refused(length, medium: SequenceStore):
    stream = made(medium, SamplingPolicy(1, 0, 0), [Delete(0.5)])
    with pytest.raises(InputError, match="max_length with augment must be a whole number"):
        histories(stream, 0, np.arange(2), length)
