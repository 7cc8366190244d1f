import math
import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins import InputError, PairEnumeration, SamplingPolicy, SequenceStore
from genpas_plugins.data.lengths import LengthIndex
from genpas_plugins.data.sequences import SequenceView
from genpas_plugins.sampling import permutation
from genpas_plugins.sampling.backend import implementation
from genpas_plugins.sampling.constructions import construction_of
from genpas_plugins.sampling.enumeration import PairNumbering, enumerate_numbers

STRATEGIES = ("last_target", "multi_target", "slide_window")


def listed(pairs) -> list[tuple[int, int, int]]:
    return list(zip(*(address.tolist() for address in pairs), strict=True))


def epoch_of(stream, epoch: int) -> list[tuple[int, int, int]]:
    return listed(stream.pairs(epoch, np.arange(stream.pairs_per_epoch)))


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(store=st.from_type(SequenceStore), seed=st.integers(0, 2**64 - 1), epoch=st.integers(0, 2**32 - 1))
def test_an_epoch_holds_each_pair_exactly_once(strategy, enumerated, store, seed, epoch):
    view = store.leave_last_out().train
    stream = PairEnumeration(view, strategy, seed, backend="numpy")
    assert sorted(epoch_of(stream, epoch)) == sorted(enumerated(strategy, view.lengths().tolist()))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_both_backends_enumerate_the_same(medium, strategy, backend, enumerated):
    view = medium.leave_last_out().train
    stream = PairEnumeration(view, strategy, 3, backend=backend)
    assert sorted(epoch_of(stream, 2)) == sorted(enumerated(strategy, view.lengths().tolist()))
    assert epoch_of(stream, 2) == epoch_of(PairEnumeration(view, strategy, 3, backend="numpy"), 2)


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(
    store=st.from_type(SequenceStore),
    share=st.sampled_from([0.3, 0.5, 0.9, 1.0, 1.7, 2.0, 3.4]),
    seed=st.integers(0, 2**64 - 1),
)
def test_epochs_of_another_length_cut_the_same_row_of_complete_passes(strategy, enumerated, store, share, seed):
    view = store.leave_last_out().train
    whole = PairEnumeration(view, strategy, seed, backend="numpy")
    length = max(1, int(share * whole.n_pairs))
    stream = PairEnumeration(view, strategy, seed, length, "numpy")
    n_passes = 3
    n_epochs = -(-n_passes * whole.n_pairs // length)
    row = [pair for epoch in range(n_epochs) for pair in epoch_of(stream, epoch)]
    everything = sorted(enumerated(strategy, view.lengths().tolist()))
    for number in range(n_passes):
        one_pass = row[number * whole.n_pairs : (number + 1) * whole.n_pairs]
        assert sorted(one_pass) == everything
        assert one_pass == epoch_of(whole, number)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_passes_and_seeds_have_different_orders(medium, strategy):
    view = medium.leave_last_out().train
    stream = PairEnumeration(view, strategy, 1)
    orders = [epoch_of(stream, epoch) for epoch in (0, 1, 2**32 - 1)]
    orders += [epoch_of(PairEnumeration(view, strategy, seed), 0) for seed in (0, 2, 2**64 - 1)]
    assert len({tuple(order) for order in orders}) == len(orders)


def test_the_order_is_shuffled_over_users_and_positions(medium):
    view = medium.leave_last_out().train
    pairs = PairEnumeration(view, "slide_window", 1).pairs(0, np.arange(500))
    assert len(set(pairs.sequence.tolist())) > 30
    assert abs(np.corrcoef(pairs.sequence, np.arange(500))[0, 1]) < 0.25
    assert abs(np.corrcoef(pairs.target[1:], pairs.target[:-1])[0, 1]) < 0.25


def test_the_numbers_of_pairs_are_those_of_the_definitions(medium):
    view = medium.leave_last_out().train
    n = view.lengths()
    n = n[n >= 2]
    counts = {strategy: PairEnumeration(view, strategy, 1).n_pairs for strategy in STRATEGIES}
    assert counts == {
        "last_target": len(n),
        "multi_target": int((n - 1).sum()),
        "slide_window": int((n * (n - 1) // 2).sum()),
    }
    assert counts["multi_target"] == view.n_pairs


def test_a_store_of_a_trillion_windows_starts_at_once_and_keeps_nothing(backend):
    """One user of 1.5 million items beside short ones: 1.1e12 windows, which nobody could store or shuffle."""
    lengths = [3, 1_500_000, 2, 400]
    store = SequenceStore.from_arrays(np.ones(sum(lengths), np.int32), np.cumsum([0, *lengths]))
    indices = np.random.default_rng(0).integers(0, 10**12, 2_000)
    PairEnumeration(store.view(), "slide_window", 5, backend=backend).pairs(0, [0])  # compiles
    tracemalloc.start()
    stream = PairEnumeration(store.view(), "slide_window", 5, backend=backend)
    pairs = stream.pairs(0, indices)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert stream.n_pairs == sum(n * (n - 1) // 2 for n in lengths) > 10**12
    assert peak < 2_000_000
    assert len(set(listed(pairs))) == len(set(indices.tolist()))
    assert (pairs.start >= 0).all()
    assert (pairs.start < pairs.target).all()
    assert (pairs.target < np.array(lengths)[pairs.sequence]).all()
    # Windows are uniform, so the mean target of a long sequence stands at two thirds.
    assert abs(pairs.target.mean() / 1_500_000 - 2 / 3) < 0.03


def indices_of(numbers: np.ndarray, n: int, keys: np.ndarray) -> np.ndarray:
    """Return the indices that `permute` sends to these numbers: its rounds backwards."""
    a, b = permutation.halves(n)

    def backwards(x: np.ndarray) -> np.ndarray:
        left, right = x // b, x % b
        for number in reversed(range(len(keys))):
            if number % 2 == 0:
                left = (left - permutation._scaled_hash(right, keys[number], a)) % a
            else:
                right = (right - permutation._scaled_hash(left, keys[number], b)) % b
        return left * b + right

    indices = backwards(numbers)
    while (indices >= n).any():
        indices = np.where(indices >= n, backwards(indices), indices)
    return indices


@pytest.mark.parametrize("length", [2, 3, 4, 1_000, 94_906_267, 1_500_000_000, 2_147_483_648])
def test_windows_are_numbered_exactly_up_to_the_longest_sequence(length, backend):
    """Number by number around the triangular numbers, where a square root that is off by one would show."""
    total = length * (length - 1) // 2
    one = np.array([1])
    construction = construction_of("slide_window")
    numbering = PairNumbering(construction, total * one, total * one, length * one, 0 * one, np.zeros(1, np.int32))
    targets = [t for t in (1, 2, length // 2, *range(max(length - 50, 1), length)) if t < length]
    numbers = {t * (t - 1) // 2 + offset for t in targets for offset in (-1, 0, t - 1, t)}
    numbers = np.array(sorted(number for number in numbers if 0 <= number < total))
    keys = permutation.round_keys(1, 0)
    indices = indices_of(numbers, total, keys)
    places = implementation(enumerate_numbers, backend)(numbering, keys, indices)
    start, target = construction.pair(places.length, places.number)
    expected = [(1 + math.isqrt(1 + 8 * number)) // 2 for number in numbers.tolist()]
    assert target.tolist() == expected
    assert start.tolist() == [n - t * (t - 1) // 2 for n, t in zip(numbers.tolist(), expected, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "counts"), [("beauty", (22_363, 131_413, 1_197_012)), ("sports", (35_598, 189_543, 1_255_069))]
)
def test_the_published_numbers_of_pairs(published_data, name, counts):
    view = published_data(name).leave_last_out().train
    assert tuple(PairEnumeration(view, strategy, 1).n_pairs for strategy in STRATEGIES) == counts


def test_more_pairs_than_can_be_numbered_are_refused():
    store = SequenceStore.from_arrays(np.ones(2, int), [0, 2])
    index = LengthIndex(np.array([10**9]), np.array([5]), np.zeros(5, np.int32))
    view = SequenceView(store, 0, np.full(5, 10**9), index)
    with pytest.raises(InputError, match=r"slide_window has 2499999997500000000 pairs .* at most 2\*\*61"):
        PairEnumeration(view, "slide_window", 1)


def test_an_unknown_strategy_is_refused(medium):
    with pytest.raises(InputError, match=r"Unknown strategy .sampled..*Valid: .*last_target"):
        PairEnumeration(medium.view(), "sampled", 1)


def test_frequencies_over_many_passes_are_uniform_at_every_place(store, p_value):
    """Which pair comes first in an epoch is uniform over the pairs."""
    view = store.leave_last_out().train
    stream = PairEnumeration(view, "multi_target", 9, backend="numpy")
    first = Counter(listed(stream.pairs(epoch, [0]))[0] for epoch in range(3_000))
    uniform = {pair: 1 / stream.n_pairs for pair in epoch_of(stream, 0)}
    assert p_value(first, uniform) > 1e-6


def test_enumeration_has_the_distribution_its_policy_states(medium):
    view = medium.leave_last_out().train
    for strategy in STRATEGIES:
        stream = PairEnumeration(view, strategy, 1)
        log_prob = SamplingPolicy.named(strategy).log_prob(view, stream.pairs(0, np.arange(stream.n_pairs)))
        np.testing.assert_allclose(log_prob, -math.log(stream.n_pairs))
