"""What each operator does to a history, whatever the store, the pairs and the numbers drawn."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins import Pairs, SamplingPolicy, SequenceStore, pair_stream
from genpas_plugins.augment import OPERATORS, AugmentedStream, Operator, augmented

rates = st.one_of(st.sampled_from([0.0, 0.1, 0.5, 1.0]), st.floats(0, 1))


def made(store: SequenceStore, operators: list[Operator], backend: str = "numpy", seed: int = 7) -> AugmentedStream:
    pairs = pair_stream(
        store.leave_last_out().train,
        SamplingPolicy.named("multi_target"),
        seed=seed,
        pairs_per_epoch=60,
        backend=backend,
    )
    stream = augmented(pairs, operators, with_rows=True)
    assert isinstance(stream, AugmentedStream)
    return stream


def before_and_after(stream: AugmentedStream, max_length: int, epoch: int = 0) -> list[tuple[list[int], ...]]:
    """(items before, items after, store rows before, store rows after) of every pair of an epoch."""
    index = np.arange(stream.pairs_per_epoch)
    pairs, store = stream.pairs(epoch, index), stream.view.store
    after = stream.histories(epoch, index, pairs, max_length)
    assert after.rows is not None and after.items.dtype == store.values.dtype
    assert after.offsets[0] == 0 and after.offsets[-1] == len(after.items) == len(after.rows)
    found = []
    for i, (s, start, target) in enumerate(zip(*pairs, strict=True)):
        stop = store.offsets[s] + target
        rows = list(range(stop - min(target - start, max_length), stop))
        mine = slice(after.offsets[i], after.offsets[i + 1])
        found.append((store.values[rows].tolist(), after.items[mine].tolist(), rows, after.rows[mine].tolist()))
    return found


def changed(rate: float, n: int) -> int:
    return max(1, math.floor(round(rate * n, 9))) if rate else 0


def is_subsequence(short: list[int], long: list[int]) -> bool:
    rest = iter(long)
    return all(any(item == other for other in rest) for item in short)


@given(
    store=st.from_type(SequenceStore),
    name=st.sampled_from(sorted(OPERATORS)),
    rate=rates,
    probability=st.sampled_from([0.0, 0.5, 1.0]),
    max_length=st.integers(1, 9),
    seed=st.integers(0, 2**64 - 1),
)
def test_every_operator_does_what_it_says(  # noqa: PLR0912 – one branch an operator
    *, store, name, rate, probability, max_length, seed
):
    stream = made(store, [OPERATORS[name](rate, probability)], seed=seed)
    nearest = stream.catalogue.neighbours
    touched = 0
    for old, new, rows, new_rows in before_and_after(stream, max_length):
        n, m = len(old), changed(rate, len(old))
        assert 1 <= len(new) <= max_length
        if name in ("delete", "sample", "crop", "reorder"):
            # Items moved or gone, none new: every one is what its row says.
            assert new == store.values[new_rows].tolist()
            assert len(set(new_rows)) == len(new_rows) and set(new_rows) <= set(rows)
        if rate == 0 or probability == 0 or (new_rows == rows and new == old):
            assert (new, new_rows) == (old, rows)
            continue
        touched += 1
        if name == "insert":
            longer = min(max_length, n + m)
            assert len(new) == longer
            # Taking the new items away (the first of two from one row) leaves the end of the history.
            real = [place for place in range(longer) if new_rows[place] not in new_rows[place + 1 :]]
            assert [new[place] for place in real] == old[n - len(real) :]
            assert [new_rows[place] for place in real] == rows[n - len(real) :]
            assert new_rows[-1] == rows[-1] and new[-1] == old[-1]
            assert max(Counter(new_rows).values()) <= 2
            assert set(new) <= set(range(1, store.n_items + 1))
        elif name == "delete":
            assert len(new) == max(1, n - m) and new_rows == sorted(new_rows)
        elif name == "sample":
            assert new_rows == sorted(new_rows)
        elif name == "crop":
            assert new_rows == list(range(new_rows[0], new_rows[0] + max(1, n - m)))
        elif name == "reorder":
            assert Counter(new) == Counter(old)
            moved = [place for place in range(n) if new_rows[place] != rows[place]]
            assert moved[-1] - moved[0] < max(2, m)
        else:
            assert new_rows == rows
            places = [place for place in range(n) if new[place] != old[place]]
            assert len(places) <= m
            if name == "mask":
                assert len(places) == min(m, n - 1) and {new[place] for place in places} <= {0}
            elif name == "substitute":
                assert all(new[place] == nearest[old[place]] != 0 for place in places)
            else:
                assert set(new) <= set(range(1, store.n_items + 1))
    if probability == 0:
        assert touched == 0


@pytest.mark.parametrize("name", ["delete", "mask", "crop", "insert", "sample"])
def test_with_probability_1_every_longer_history_changes_and_with_a_half_about_half(name: str, medium: SequenceStore):
    shares = []
    for probability in (1.0, 0.5):
        stream = made(medium, [OPERATORS[name](0.999 if name == "sample" else 0.4, probability)])
        found = [pair for epoch in range(20) for pair in before_and_after(stream, 9, epoch) if len(pair[0]) > 1]
        found = [pair for pair in found if len(pair[0]) < 9]
        shares.append(np.mean([new != old for old, new, _, _ in found]))
    assert shares[0] > 0.99 if name == "sample" else shares[0] == 1
    assert abs(shares[1] - 0.5) < 5 * 0.5 / math.sqrt(len(found))


def stream_of_one(length: int, operator: Operator, pairs: int, n_items: int | None = None) -> AugmentedStream:
    """One history of `length` different items, drawn `pairs` times."""
    store = SequenceStore.from_arrays(np.arange(1, length + 4), [0, length + 3], n_items=n_items)
    policy = SamplingPolicy.named("last_target")
    drawn = pair_stream(store.leave_last_out().train, policy, seed=11, pairs_per_epoch=pairs)
    stream = augmented(drawn, [operator], with_rows=True)
    assert isinstance(stream, AugmentedStream)
    return stream


DRAWS = 8_000


@pytest.mark.parametrize(
    ("name", "rate", "seen", "n_values"),
    [
        # Which of 6 items is touched; which of the places a part begins at; which items come new.
        ("delete", 0.5, lambda new, rows: sorted(set(range(6)) - set(rows)), 6),
        ("mask", 0.5, lambda new, rows: [place for place in range(6) if new[place] == 0], 6),
        ("replace", 0.5, lambda new, rows: [place for place in range(6) if new[place] != place + 1], 6),
        ("insert", 0.5, lambda new, rows: [p for p in range(6) if rows.count(p) == 2], 6),
        ("sample", 0.5, lambda new, rows: rows, 6),
        ("crop", 0.5, lambda new, rows: rows[:1], 4),
        ("reorder", 1.0, lambda new, rows: rows[:1], 6),
        ("reorder", 1.0, lambda new, rows: rows[5:], 6),
        ("reorder", 0.5, lambda new, rows: [int(rows != [0, 1, 2, 3, 4, 5])], None),
    ],
)
def test_positions_are_uniform(name, rate, seen, n_values, p_value):
    # 2³¹ - 1 items: a new one is never the old one by chance.
    stream = stream_of_one(6, OPERATORS[name](rate), DRAWS, n_items=2**31 - 1)
    index = np.arange(DRAWS)
    after = stream.histories(0, index, stream.pairs(0, index), 50)
    counts: Counter[int] = Counter()
    for begin, end in zip(after.offsets[:-1], after.offsets[1:], strict=True):
        counts.update(seen(after.items[begin:end].tolist(), after.rows[begin:end].tolist()))
    # Where a part is shuffled, one of its 3! orders is the old one.
    expected = {0: 1 / 6, 1: 5 / 6} if n_values is None else dict.fromkeys(range(n_values), 1 / n_values)
    assert p_value(counts, expected) > 1e-4


@pytest.mark.parametrize("name", ["insert", "replace"])
def test_new_items_are_uniform_over_the_catalogue(name, p_value):
    stream = stream_of_one(4, OPERATORS[name](1.0), DRAWS // 4, n_items=20)
    index = np.arange(DRAWS // 4)
    after = stream.histories(0, index, stream.pairs(0, index), 50)
    lengths = after.lengths
    items = after.items.reshape(len(lengths), -1)
    new = items[:, ::2] if name == "insert" else items
    assert p_value(Counter(new.ravel().tolist()), {item: 1 / 20 for item in range(1, 21)}) > 1e-4


def test_the_size_of_a_sample_is_binomial(p_value):
    stream = stream_of_one(4, OPERATORS["sample"](0.3), DRAWS)
    index = np.arange(DRAWS)
    sizes = stream.histories(0, index, stream.pairs(0, index), 50).lengths
    expected = {size: math.comb(4, size) * 0.7**size * 0.3 ** (4 - size) for size in range(5)}
    expected[1] += expected.pop(0)
    assert p_value(Counter(sizes.tolist()), expected) > 1e-4


def test_operators_of_a_list_draw_independently():
    # Two deletions of one of six items: with the same numbers they would always meet at the same place.
    stream = stream_of_one(6, OPERATORS["delete"](0.1), 3000)
    twice = AugmentedStream(stream.stream, stream.operators * 2, stream.catalogue, with_rows=True)
    index = np.arange(3000)
    pairs = stream.pairs(0, index)
    once = stream.histories(0, index, pairs, 50).rows.reshape(3000, 5)
    both = twice.histories(0, index, pairs, 50).rows.reshape(3000, 4)
    first = [(set(range(6)) - set(row)).pop() for row in once.tolist()]
    second = [row.index((set(row) - set(left)).pop()) for row, left in zip(once.tolist(), both.tolist(), strict=True)]
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / math.sqrt(3000)


def test_operators_are_applied_in_order(medium: SequenceStore):
    masked_last = made(medium, [OPERATORS["crop"](1.0), OPERATORS["mask"](1.0)])
    masked_first = made(medium, [OPERATORS["mask"](1.0), OPERATORS["crop"](1.0)])
    # One item is left by either; only the mask that comes first leaves something for the crop to lose.
    assert all(new != [0] for _, new, _, _ in before_and_after(masked_last, 9))
    assert any(new == [0] for _, new, _, _ in before_and_after(masked_first, 9))


def test_no_pairs_are_no_histories(store: SequenceStore, backend: str):
    stream = made(store, [operator(0.5) for operator in OPERATORS.values()], backend)
    none = np.zeros(0, np.int64)
    after = stream.histories(0, none, Pairs(none, none, none), 5)
    assert (len(after.items), after.offsets.tolist()) == (0, [0])
