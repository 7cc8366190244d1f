import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins.sampling.permutation import LARGEST, binary_halves, halves, permute, round_keys


def order_of(n: int, seed: int = 0, epoch: int = 0) -> np.ndarray:
    return permute(np.arange(n), n, round_keys(seed, epoch))


def test_it_is_a_bijection_for_every_small_n():
    for n in range(1, 301):
        for seed in (0, 1):
            assert np.array_equal(np.sort(order_of(n, seed)), np.arange(n)), n


@given(n=st.integers(301, 50_000), seed=st.integers(0, 2**64 - 1), epoch=st.integers(0, 2**32 - 1))
def test_it_is_a_bijection_for_larger_n(n: int, seed: int, epoch: int):
    assert np.array_equal(np.sort(order_of(n, seed, epoch)), np.arange(n))


@given(n=st.integers(1, LARGEST), seed=st.integers(0, 2**64 - 1), share=st.floats(0, 1))
def test_it_stays_in_range_and_keeps_numbers_apart_for_huge_n(n: int, seed: int, share: float):
    first = min(int(n * share), n - 1)
    indices = np.unique(np.concatenate([np.arange(first, min(first + 100, n)), [0, n // 2, n - 1]]))
    places = permute(indices, n, round_keys(seed, 0))
    assert places.min() >= 0
    assert places.max() < n
    assert len(np.unique(places)) == len(indices)


@given(n=st.integers(1, LARGEST))
def test_halves_hold_n_and_little_more(n: int):
    a, b = halves(n)
    assert n <= a * b < n + a
    assert max(a, b) <= 2**31
    a, b = binary_halves(n)
    assert n <= a * b < n + b and b.bit_count() == 1 and a <= 4 * b and b <= 2 * a


@given(n=st.integers(2, 5000), chosen=st.data())
def test_the_place_of_an_index_does_not_depend_on_the_others(n: int, chosen: st.DataObject):
    indices = np.array(chosen.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=20)))
    assert np.array_equal(permute(indices, n, round_keys(3, 1)), order_of(n, 3, 1)[indices])


def test_it_does_not_change_what_it_is_given():
    indices = np.arange(100)
    permute(indices, 101, round_keys(0, 0))
    assert np.array_equal(indices, np.arange(100))


@pytest.mark.parametrize("n", [100, 1_000, 10_007, 65_536])
@pytest.mark.parametrize("seed", [0, 1, 2**63])
def test_the_order_looks_shuffled(n: int, seed: int):
    """Displacement, serial correlation and runs of a random order lie within five standard errors of these values."""
    order = order_of(n, seed).astype(float)
    displacement = np.abs(order - np.arange(n)).mean() / n
    assert abs(displacement - 1 / 3) < 5 * 0.3 / np.sqrt(n)
    assert abs(np.corrcoef(order, np.arange(n))[0, 1]) < 5 / np.sqrt(n)
    assert abs(np.corrcoef(order[1:], order[:-1])[0, 1]) < 5 / np.sqrt(n)
    assert abs((np.diff(order) > 0).mean() - 0.5) < 5 * 0.3 / np.sqrt(n)


def test_epochs_and_seeds_have_different_orders():
    keys = [(0, 0), (0, 1), (1, 0), (1 << 32, 0), (0, 1 << 31)]
    orders = {tuple(order_of(200, seed, epoch)) for seed, epoch in keys}
    assert len(orders) == len(keys)


@pytest.mark.parametrize("n", [4, 5, 7])
def test_every_index_reaches_every_place_equally_often(n: int):
    draws = 3_000
    counts = np.zeros((n, n))
    for epoch in range(draws):
        counts[np.arange(n), order_of(n, 5, epoch)] += 1
    expected = draws / n
    # Each cell is binomial; six standard deviations over 49 cells never happen by chance.
    assert np.abs(counts - expected).max() < 6 * np.sqrt(expected)
