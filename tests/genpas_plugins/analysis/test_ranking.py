import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins import InputError, SamplingPolicy
from genpas_plugins.analysis.ranking import average_ranks, inversions, rank_agreement, rank_difference
from genpas_plugins.analysis.target_distribution import target_distribution

# Few different weights, so that ties are common.
weights = st.integers(2, 25).flatmap(
    lambda n: st.tuples(*(st.lists(st.integers(0, 6), min_size=n, max_size=n) for _ in range(2)))
)
NAMED = {
    "LT": SamplingPolicy.named("last_target"),
    "MT": SamplingPolicy.named("multi_target"),
    "2,1,0": SamplingPolicy(2, 1, 0),
}


def distribution(numbers) -> np.ndarray:
    return np.array([99, *numbers]) / 7


def sign(x) -> int:
    return (x > 0) - (x < 0)


@given(weights)
def test_ranks_are_means_of_the_places_that_ties_share(pair):
    numbers = pair[0]
    places = sorted(range(len(numbers)), key=lambda i: -numbers[i])
    expected = []
    for number in numbers:
        shared = [place + 1 for place, i in enumerate(places) if numbers[i] == number]
        expected.append(sum(shared) / len(shared))
    np.testing.assert_allclose(average_ranks(distribution(numbers)), expected)


@given(weights)
def test_the_rank_difference_is_the_mean_over_items(pair):
    p, q = map(distribution, pair)
    expected = sum(abs(a - b) for a, b in zip(average_ranks(p), average_ranks(q), strict=True)) / len(pair[0])
    assert rank_difference(p, q) == pytest.approx(expected)


@given(weights)
def test_the_agreement_is_the_mean_over_all_pairs(pair):
    a, b = pair
    terms = [1 - abs(sign(a[i] - a[j]) - sign(b[i] - b[j])) / 2 for i, j in itertools.combinations(range(len(a)), 2)]
    assert rank_agreement(*map(distribution, pair)) == pytest.approx(sum(terms) / len(terms), abs=1e-15)


@given(st.lists(st.integers(0, 40), max_size=60))
def test_inversions_are_counted(numbers):
    expected = sum(a > b for a, b in itertools.combinations(numbers, 2))
    assert inversions(np.array(numbers, dtype=np.int64)) == expected


def test_the_extremes():
    p = distribution(range(50))
    assert rank_agreement(p, p) == 1 and rank_difference(p, p) == 0
    assert rank_agreement(p, distribution(range(50, 0, -1))) == 0
    assert rank_agreement(p, distribution([1] * 50)) == 0.5
    assert rank_agreement(distribution([1] * 50), distribution([3] * 50)) == 1


@given(weights)
def test_it_agrees_with_kendalls_tau(pair):
    stats = pytest.importorskip("scipy.stats")
    a, b = pair
    if len(set(a)) == 1 or len(set(b)) == 1:
        return
    n = len(a) * (len(a) - 1) / 2

    def untied(x):
        return n - sum(m * (m - 1) / 2 for m in np.bincount(x))

    balance = stats.kendalltau(a, b).statistic * np.sqrt(untied(a) * untied(b))
    # Concordant minus discordant, and both with the ties half each, give the agreement once joint ties count one.
    joint = sum(m * (m - 1) / 2 for m in np.unique(np.c_[a, b], axis=0, return_counts=True)[1])
    assert rank_agreement(*map(distribution, pair)) == pytest.approx((n + joint + balance) / (2 * n))


def test_sums_in_another_order_are_still_ties():
    tied, apart = (np.array([0, 0.1 + 0.2 + 0.3, last]) for last in (0.3 + 0.2 + 0.1, 0.6001))
    assert average_ranks(tied).tolist() == [1.5, 1.5]
    assert average_ranks(apart).tolist() == [2, 1]


@pytest.mark.parametrize("function", [rank_difference, rank_agreement])
def test_other_items_are_refused(function):
    with pytest.raises(InputError, match="the same items"):
        function(np.zeros(4), np.zeros(5))
    with pytest.raises(InputError, match="at least one"):
        function(np.zeros(1), np.zeros(1))


def test_a_single_item_has_no_pair():
    assert rank_difference(np.zeros(2), np.ones(2)) == 0
    assert math.isnan(rank_agreement(np.zeros(2), np.ones(2)))


def test_it_is_not_quadratic():
    generator = np.random.default_rng(0)
    p, q = (generator.random(300_001) for _ in range(2))
    assert rank_agreement(p, q) == pytest.approx(0.5, abs=0.01)  # n² pairs would be 45 billion


@pytest.mark.slow
@pytest.mark.parametrize(
    ("a", "b", "difference", "agreement"),
    [
        ("LT", "MT", 2263.8, 0.728),
        # 0.65878 exactly; the paper prints .658.
        ("LT", "2,1,0", 2762.7, 0.659),
        ("MT", "2,1,0", 1754.8, 0.791),
    ],
)
def test_the_published_rankings_on_beauty(published_data, a, b, difference, agreement):
    train = published_data("beauty").leave_last_out().train
    p, q = (target_distribution(train, NAMED[name]) for name in (a, b))
    assert round(rank_difference(p, q), 1) == difference
    assert round(rank_agreement(p, q), 3) == agreement
