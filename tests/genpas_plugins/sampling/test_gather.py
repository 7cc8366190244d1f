import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins import InputError, Pairs, SamplingPolicy, SequenceStore, gather_jagged, gather_padded, pair_stream

DTYPES = ["int8", "uint16", "int32", "int64", "uint64", "float32", "float64", "bool"]
# What numba cannot compute with falls back on numpy.
ODD_DTYPES = ["float16", ">i4", "datetime64[s]", "timedelta64[ms]"]
BACKENDS = ("numpy", "numba")


def histories(column, offsets, pairs, max_length) -> list[np.ndarray]:
    """The definition, one pair at a time: the last `max_length` rows of [start, target) of the sequence."""
    result = []
    for sequence, start, target in zip(*pairs, strict=True):
        whole = column[offsets[sequence] : offsets[sequence + 1]]
        result.append(whole[start:target][-max_length:])
    return result


def assert_padded(batch, column, offsets, pairs, max_length, *, width=None) -> None:
    expected = histories(column, offsets, pairs, max_length)
    assert batch.history.shape == (len(expected), width or max_length, *column.shape[1:])
    assert batch.history.dtype == column.dtype
    assert batch.length.dtype == np.int64
    assert batch.length.tolist() == [len(history) for history in expected]
    for row, history in zip(batch.history, expected, strict=True):
        assert np.array_equal(row[: len(history)], history)
        assert np.array_equal(row[len(history) :], np.zeros_like(row[len(history) :]))
    assert_targets(batch, column, offsets, pairs)


def assert_targets(batch, column, offsets, pairs) -> None:
    assert batch.target.dtype == column.dtype
    assert np.array_equal(batch.target, column[offsets[pairs.sequence] + pairs.target])


def assert_jagged(batch, column, offsets, pairs, max_length) -> None:
    expected = histories(column, offsets, pairs, max_length)
    assert batch.values.dtype == column.dtype
    assert batch.offsets.dtype == np.int64
    assert batch.offsets.tolist() == np.cumsum([0, *map(len, expected)]).tolist()
    assert np.array_equal(batch.values, np.concatenate([column[:0], *expected]))
    assert_targets(batch, column, offsets, pairs)


@pytest.fixture
def pairs() -> Pairs:
    """Windows of `store`: whole prefixes, one item, the last position, the same pair twice."""
    return Pairs(np.array([0, 3, 3, 4, 1, 3]), np.array([0, 0, 2, 2, 0, 2]), np.array([4, 6, 5, 3, 1, 5]))


def test_a_batch_by_hand(store, pairs, backend):
    batch = gather_padded(store.values, store.offsets, pairs, 4, backend=backend)
    assert batch.history.tolist() == [
        [1, 2, 3, 4],
        [1, 7, 8, 9],
        [1, 7, 8, 0],
        [5, 0, 0, 0],
        [6, 0, 0, 0],
        [1, 7, 8, 0],
    ]
    assert batch.length.tolist() == [4, 4, 3, 1, 1, 3]
    assert batch.target.tolist() == [5, 4, 9, 6, 1, 9]
    jagged = gather_jagged(store.values, store.offsets, pairs, 2, backend=backend)
    assert jagged.values.tolist() == [3, 4, 8, 9, 7, 8, 5, 6, 7, 8]
    assert jagged.offsets.tolist() == [0, 2, 4, 6, 7, 8, 10]
    assert jagged.target.tolist() == [5, 4, 9, 6, 1, 9]


@pytest.mark.parametrize("max_length", [1, 3, 6, 50])
@pytest.mark.parametrize("dtype", DTYPES + ODD_DTYPES)
def test_columns_of_any_type_are_gathered(store, pairs, dtype, max_length, backend):
    column = (np.arange(18) % 7 + 1).astype(dtype)
    padded = gather_padded(column, store.offsets, pairs, max_length, backend=backend)
    assert_padded(padded, column, store.offsets, pairs, max_length)
    jagged = gather_jagged(column, store.offsets, pairs, max_length, backend=backend)
    assert_jagged(jagged, column, store.offsets, pairs, max_length)


@pytest.mark.parametrize("shape", [(18, 3), (18, 2, 2), (18, 0)])
def test_columns_of_vectors_are_gathered(store, pairs, shape, backend):
    column = np.arange(1, 1 + np.prod(shape), dtype=np.float32).reshape(shape)
    padded = gather_padded(column, store.offsets, pairs, 4, backend=backend)
    assert_padded(padded, column, store.offsets, pairs, 4)
    assert_jagged(gather_jagged(column, store.offsets, pairs, 4, backend=backend), column, store.offsets, pairs, 4)


def test_a_column_that_is_not_contiguous_is_gathered(store, pairs, backend):
    column = np.arange(36).reshape(18, 2)[:, 1]
    assert not column.flags.c_contiguous
    assert_padded(gather_padded(column, store.offsets, pairs, 4, backend=backend), column, store.offsets, pairs, 4)
    assert_jagged(gather_jagged(column, store.offsets, pairs, 4, backend=backend), column, store.offsets, pairs, 4)


@given(
    store=st.from_type(SequenceStore),
    seed=st.integers(0, 1000),
    n=st.integers(0, 30),
    max_length=st.integers(1, 12),
    trim=st.booleans(),
)
def test_both_backends_gather_what_the_definition_says(store, seed, n, max_length, trim):
    pytest.importorskip("numba")
    stream = pair_stream(store.view(), SamplingPolicy(1, 0, 0), seed=seed, pairs_per_epoch=30)
    pairs = stream.pairs(0, np.arange(n))
    longest = int(np.minimum(pairs.target - pairs.start, max_length).max(initial=1))
    for column in (store.values, store.columns["timestamp"]):
        for backend in BACKENDS:
            padded = gather_padded(column, store.offsets, pairs, max_length, trim=trim, backend=backend)
            width = longest if trim else max_length
            assert_padded(padded, column, store.offsets, pairs, max_length, width=width)
            jagged = gather_jagged(column, store.offsets, pairs, max_length, backend=backend)
            assert_jagged(jagged, column, store.offsets, pairs, max_length)


def test_trimmed_is_as_wide_as_the_longest_history(store, pairs, backend):
    wide = gather_padded(store.values, store.offsets, pairs, 50, backend=backend)
    trimmed = gather_padded(store.values, store.offsets, pairs, 50, trim=True, backend=backend)
    assert trimmed.history.shape == (6, 6)
    assert np.array_equal(trimmed.history, wide.history[:, :6])
    cut = gather_padded(store.values, store.offsets, pairs, 3, trim=True, backend=backend)
    assert cut.history.shape == (6, 3)


def test_no_pairs_give_an_empty_batch(store, backend):
    nothing = Pairs(*(np.zeros(0, np.int64),) * 3)
    assert gather_padded(store.values, store.offsets, nothing, 4, backend=backend).history.shape == (0, 4)
    jagged = gather_jagged(store.values, store.offsets, nothing, 4, backend=backend)
    assert jagged.values.shape == (0,)
    assert jagged.offsets.tolist() == [0]
    assert jagged.values.dtype == store.values.dtype


def test_batches_are_writable_copies(store, pairs, backend, tmp_path):
    store.save(tmp_path / "store")
    opened = SequenceStore.open(tmp_path / "store")
    batch = gather_padded(opened.values, opened.offsets, pairs, 4, backend=backend)
    assert_padded(batch, store.values, store.offsets, pairs, 4)
    jagged = gather_jagged(opened.values, opened.offsets, pairs, 4, backend=backend)
    for array in (batch.history, batch.target, jagged.values, jagged.target):
        array[...] = 0
    assert np.array_equal(opened.values, store.values)


@pytest.mark.parametrize("max_length", [0, -1])
def test_a_length_below_one_is_refused(store, pairs, max_length, backend):
    for gather in (gather_padded, gather_jagged):
        with pytest.raises(InputError, match=rf"max_length must be a whole number from 1 to \d+, not {max_length}"):
            gather(store.values, store.offsets, pairs, max_length, backend=backend)
