import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins import InputError, SamplingPolicy, SequenceStore
from genpas_plugins.analysis.alignment import alignment_discrimination
from genpas_plugins.analysis.histograms import (
    effective_users,
    group_shares,
    history_lengths,
    item_counts,
    popularity_groups,
    target_positions,
    user_mass,
)
from genpas_plugins.analysis.history_length import length_distribution
from genpas_plugins.analysis.inputs import input_target_statistics
from genpas_plugins.sampling.policy import PowerTable

anything = {"store": st.from_type(SequenceStore), "policy": st.from_type(SamplingPolicy)}


@given(**anything, held_out=st.sampled_from([0, 2]))
def test_users_and_positions_are_marginals(store, policy, held_out, probabilities_of):
    view = store.view(held_out=held_out)
    lengths = view.lengths().tolist()
    users, from_start, from_end = np.zeros(len(lengths)), np.zeros(max(lengths)), np.zeros(max(lengths))
    for (s, _, target), p in probabilities_of(policy, lengths).items():
        users[s] += p
        from_start[target] += p
        from_end[lengths[s] - 1 - target] += p
    np.testing.assert_allclose(user_mass(view, policy), users, rtol=1e-9, atol=1e-14)
    positions = target_positions(view, policy)
    np.testing.assert_allclose(positions.from_start, from_start, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(positions.from_end, from_end, rtol=1e-9, atol=1e-14)
    entropy = -math.fsum(p * math.log(p) for p in users if p > 0)
    assert effective_users(view, policy) == pytest.approx(math.exp(entropy))


@given(**anything, max_length=st.sampled_from([None, 1, 2, 5, 50]))
def test_history_lengths_are_a_marginal(store, policy, max_length, probabilities_of):
    view = store.view()
    limit = max_length or 100
    longest = min(limit, view.max_length - 1)
    expected = np.zeros(longest + 1)
    for (_, start, target), p in probabilities_of(policy, view.lengths().tolist()).items():
        expected[min(target - start, limit)] += p
    actual = history_lengths(view, policy, max_length)
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-14)
    assert actual @ np.arange(len(actual)) == pytest.approx(policy.expected_history_length(view, max_length))


@given(store=st.from_type(SequenceStore), held_out=st.integers(0, 3))
def test_items_are_counted(store, held_out):
    view = store.view(held_out=held_out)
    expected = np.zeros(store.n_items + 1, int)
    for first, length in zip(store.offsets, view.lengths(), strict=False):
        for item in store.values[first : first + length]:
            expected[item] += 1
    assert item_counts(view).tolist() == expected.tolist()


@given(store=st.from_type(SequenceStore), n=st.integers(1, 5))
def test_groups_are_equal_shares_of_the_items_by_popularity(store, n):
    view = store.view()
    groups, counts = popularity_groups(view, n), item_counts(view)
    assert groups[0] == 0 and set(groups[1:].tolist()) <= set(range(1, n + 1))
    sizes = np.bincount(groups[1:], minlength=n + 1)[1:]
    assert sizes.max() - sizes.min() <= 1
    for number in range(1, n):
        more, less = counts[groups == number], counts[groups > number]
        if len(more) and len(less):
            assert more.min() >= less.max()


def test_groups_by_hand(store):
    """Items 1 … 9 occur 3, 2, 2, 4, 2, 2, 1, 1, 1 times."""
    groups = popularity_groups(store.view())
    assert groups.tolist() == [0, 1, 1, 2, 1, 2, 2, 3, 3, 3]
    shares = group_shares(np.array([0, 0.1, 0.2, 0.3, 0.4, 0, 0, 0, 0, 0]), groups)
    assert shares == pytest.approx({"T1": 0.7, "T2": 0.3, "T3": 0})


def test_what_cannot_be_is_refused(store):
    with pytest.raises(InputError, match="max_length"):
        history_lengths(store.view(), SamplingPolicy(1, 0, 0), 0)
    with pytest.raises(InputError, match="No training pair"):
        user_mass(store.view(held_out=6), SamplingPolicy(1, 0, 0))
    with pytest.raises(InputError, match="n must be"):
        popularity_groups(store.view(), 0)


@pytest.mark.parametrize("gamma", [-3, -0.5, 0, 0.5, 2, 50, 70])
def test_long_histories_are_convolved_exactly(gamma):
    n = 5_000
    targets = np.random.default_rng(0).random(n + 1) ** 4
    targets[0] = 0
    targets /= targets.sum()
    starts = PowerTable.of(gamma, n)
    expected = np.convolve((targets[1:] / starts.cumulative[1:])[::-1], starts.powers)[n - 1 :: -1]
    np.testing.assert_allclose(length_distribution(targets, gamma)[1:], expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("exponents", [(308, 0, 0), (400, 92, 0), (-400, 0, 92), (0, 92, 92)])
def test_large_exponents_have_figures(exponents):
    short, long = 3, 2_000
    values = np.random.default_rng(0).integers(1, 9, short + long)
    view = SequenceStore.from_arrays(values, [0, short, short + long]).view()
    policy = SamplingPolicy(*exponents)
    before = np.arange(1, long)
    weight = np.exp(policy.beta * np.log(before / before[-1]))
    users = np.array([policy.alpha <= 0, policy.alpha >= 0]) / (1 + (policy.alpha == 0))
    np.testing.assert_allclose(user_mass(view, policy), users, atol=1e-12)
    positions = target_positions(view, policy)
    np.testing.assert_allclose(positions.from_start[short:], users[1] * (weight / weight.sum())[short - 1 :], rtol=1e-9)
    lengths = history_lengths(view, policy)
    assert lengths.sum() == pytest.approx(1)
    assert lengths @ np.arange(len(lengths)) == pytest.approx(policy.expected_history_length(view))
    figures = [*input_target_statistics(view, policy).values(), effective_users(view, policy)]
    figures += [*vars(alignment_discrimination(view, policy, view)).values()][:-1]
    assert np.isfinite(figures).all()
