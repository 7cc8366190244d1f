import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins import InputError, Pairs, SamplingPolicy, SequenceStore
from genpas_plugins.sampling.policy import EXPONENTS, PowerTable, check_exponent

INF = math.inf


def addresses(table: dict) -> Pairs:
    """Turn {(sequence, start, target): …} into Pairs, in the order of the dict."""
    return Pairs(*np.array(list(table), dtype=np.int64).reshape(-1, 3).T)


@given(store=st.from_type(SequenceStore), policy=st.from_type(SamplingPolicy), held_out=st.sampled_from([0, 2]))
def test_log_prob_is_the_papers_formula(store, policy, held_out, enumerated, probabilities_of):
    view = store.view(held_out=held_out)
    every = dict.fromkeys(enumerated("slide_window", view.lengths().tolist()), 0.0)
    expected = every | probabilities_of(policy, view.lengths().tolist())
    actual = np.exp(policy.log_prob(view, addresses(expected)))
    np.testing.assert_allclose(actual, list(expected.values()), rtol=1e-9, atol=1e-300)


@given(store=st.from_type(SequenceStore), policy=st.from_type(SamplingPolicy))
def test_probabilities_sum_to_one_over_all_windows(store, policy, enumerated):
    view = store.leave_last_out().train
    log_prob = policy.log_prob(view, addresses(dict.fromkeys(enumerated("slide_window", view.lengths().tolist()))))
    assert math.fsum(np.exp(log_prob)) == pytest.approx(1, abs=1e-12)


def test_log_prob_of_one_sequence_by_hand():
    """Three items, β = γ = 1: k = 2, 3 with 1/3, 2/3; then j = 1, or j = 1, 2 with 1/3, 2/3."""
    view = SequenceStore.from_arrays([1, 2, 3], [0, 3]).view()
    pairs = Pairs(np.array([0, 0, 0]), np.array([0, 0, 1]), np.array([1, 2, 2]))
    np.testing.assert_allclose(np.exp(SamplingPolicy(5, 1, 1).log_prob(view, pairs)), [1 / 3, 2 / 9, 4 / 9])


def test_log_prob_stays_finite_where_the_probability_underflows():
    view = SequenceStore.from_arrays(np.ones(1002, int), [0, 2, 1002]).view()
    log_prob = SamplingPolicy(500, 0, 0).log_prob(view, Pairs(np.array([0]), np.array([0]), np.array([1])))
    assert log_prob == pytest.approx([-500 * math.log(999)])


@pytest.mark.parametrize(
    "address", [(0, 0, 3), (0, -1, 1), (0, 1, 1), (0, 2, 1), (1, 0, 1), (2, 0, 1), (-1, 0, 1), (5, 0, 1)], ids=str
)
def test_log_prob_refuses_an_address_outside_the_view(store, address):
    pair = Pairs(*(np.array([number]) for number in address))
    with pytest.raises(InputError, match="pair"):
        SamplingPolicy(1, 0, 0).log_prob(store.leave_last_out().train, pair)


def test_log_prob_of_no_pairs_is_empty(store):
    assert SamplingPolicy(1, 0, 0).log_prob(store.view(), Pairs(*(np.zeros(0, int),) * 3)).shape == (0,)


@given(
    store=st.from_type(SequenceStore),
    policy=st.from_type(SamplingPolicy),
    max_length=st.one_of(st.none(), st.integers(1, 10)),
)
def test_expected_history_length_is_the_mean_over_all_pairs(store, policy, max_length, probabilities_of):
    view = store.leave_last_out().train
    expected = math.fsum(
        p * min(target - start, max_length or target)
        for (_, start, target), p in probabilities_of(policy, view.lengths().tolist()).items()
    )
    assert policy.expected_history_length(view, max_length) == pytest.approx(expected, rel=1e-9)


def test_expected_history_length_of_the_named_strategies_by_hand(store):
    """Training lengths 3, 5, 2: histories of 2, 4, 1; of 1 to 2, 1 to 4, 1."""
    train = store.leave_last_out().train
    assert SamplingPolicy.named("last_target").expected_history_length(train) == pytest.approx(7 / 3)
    assert SamplingPolicy.named("multi_target").expected_history_length(train) == pytest.approx((3 + 10 + 1) / 7)
    assert SamplingPolicy.named("last_target").expected_history_length(train, 3) == pytest.approx(6 / 3)


def test_expected_history_length_needs_pairs_and_a_positive_maximum(store):
    with pytest.raises(InputError, match="No training pair"):
        SamplingPolicy(1, 0, 0).expected_history_length(store.view(held_out=6))
    with pytest.raises(InputError, match="max_length"):
        SamplingPolicy(1, 0, 0).expected_history_length(store.view(), 0)


# strategy, its exponents, and whether drawing from the exponents gives the enumerated strategy's distribution.
@pytest.mark.parametrize(
    ("strategy", "exponents", "exact"),
    [
        ("last_target", (0, INF, -INF), True),
        ("multi_target", (1, 0, -INF), True),
        ("slide_window", (2, 1, 0), False),
    ],
)
@given(store=st.from_type(SequenceStore))
def test_the_table_of_equivalences(strategy, exponents, exact, enumerated, store):
    view = store.leave_last_out().train
    lengths = view.lengths().tolist()
    pairs = addresses(dict.fromkeys(enumerated("slide_window", lengths)))
    named = SamplingPolicy.named(strategy).log_prob(view, pairs)
    sampled = SamplingPolicy(*exponents).log_prob(view, pairs)
    assert EXPONENTS[strategy] == exponents
    assert np.array_equal(np.isfinite(named), np.isfinite(sampled))
    if exact:
        np.testing.assert_allclose(np.exp(named), np.exp(sampled), rtol=1e-12)
    else:
        # PAPERS: enumeration gives a user |s| / (2 (|s| - 1)) of what the exponents give, up to one normaliser.
        n = view.lengths(pairs.sequence)
        ratio = np.exp(named - sampled) / (n / (2 * (n - 1)))
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-12)


@pytest.mark.parametrize(
    ("policy", "text", "label"),
    [
        (SamplingPolicy(1, 0, -INF), "SamplingPolicy(alpha=1, beta=0, gamma=-inf)  # multi_target", "1,0,-inf"),
        (SamplingPolicy(0, INF, -INF), "SamplingPolicy(alpha=0, beta=inf, gamma=-inf)  # last_target", "0,inf,-inf"),
        (SamplingPolicy(2, 1, 0), "SamplingPolicy(alpha=2, beta=1, gamma=0)", "2,1,0"),
        (SamplingPolicy(0.5, -1.25, 0), "SamplingPolicy(alpha=0.5, beta=-1.25, gamma=0)", "0.5,-1.25,0"),
        (SamplingPolicy.named("multi_target"), "SamplingPolicy.named('multi_target')", "multi_target"),
    ],
)
def test_policies_are_readable(policy, text, label):
    assert repr(policy) == text
    assert policy.label == label


@given(policy=st.from_type(SamplingPolicy))
def test_the_representation_makes_the_same_policy(policy):
    assert eval(repr(policy), {"SamplingPolicy": SamplingPolicy, "inf": INF}) == policy


@given(one=st.floats(-4, 4), other=st.floats(-4, 4))
def test_different_policies_have_different_labels(one, other):
    assert (SamplingPolicy(one, 0, 0).label == SamplingPolicy(other, 0, 0).label) == (one == other)


@pytest.mark.parametrize("name", ["alpha", "beta", "gamma"])
@pytest.mark.parametrize(
    "value", [math.nan, np.float32("nan"), "1", None, True, [1], 1j, 10**400], ids=lambda v: f"{v!r:.9}"
)
def test_exponents_must_be_numbers(name, value):
    with pytest.raises(InputError, match=name):
        SamplingPolicy(**({"alpha": 0, "beta": 0, "gamma": 0} | {name: value}))


def test_numpy_numbers_and_integers_are_exponents():
    assert SamplingPolicy(np.float32(0.5), np.int64(2), 1) == SamplingPolicy(0.5, 2.0, 1.0)
    assert type(check_exponent("alpha", np.float64(1))) is float


def test_strategies_are_made_by_name():
    with pytest.raises(InputError, match=r"'sampled'. Valid: last_target, multi_target, slide_window, suffix"):
        SamplingPolicy.named("sampled")
    with pytest.raises(InputError, match=r"SamplingPolicy\.named\('multi_target'\)"):
        SamplingPolicy(2, 0, 0, strategy="multi_target")
    assert SamplingPolicy(1, 0, -INF, strategy="multi_target") == SamplingPolicy.named("multi_target")
    assert SamplingPolicy(1, 0, -INF) != SamplingPolicy.named("multi_target")


def test_an_exponent_that_overflows_is_an_error_with_the_mend(store):
    view = store.leave_last_out().train
    for policy in (SamplingPolicy(0, 2000, 0), SamplingPolicy(0, 0, 2000)):
        with pytest.raises(InputError, match=r"exponent 2000 overflows for sequences of 5 items; use inf"):
            policy.expected_history_length(view)
    assert SamplingPolicy(2000, -2000, -2000).expected_history_length(view) == pytest.approx(1)


@given(exponent=st.one_of(st.sampled_from([-INF, INF]), st.floats(-3, 3)), n=st.integers(1, 12))
def test_a_power_table_serves_every_size(exponent, n, paper):
    table = PowerTable.of(exponent, n)
    values = np.arange(n) * 1.7 + 1
    means = table.mean_of_first(values)
    assert means[0] == 0
    for m in range(1, n + 1):
        # The paper's choice of a target among m, read off a single sequence of m + 1 items.
        weight = dict.fromkeys(range(m), 0.0)
        for (_, _, target), p in paper([m + 1], 0, exponent, -INF).items():
            weight[target - 1] += p
        assert means[m] == pytest.approx(sum(weight[i] * values[i] for i in range(m)))
