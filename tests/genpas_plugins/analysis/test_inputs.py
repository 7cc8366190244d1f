import itertools
import math
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins import InputError, SamplingPolicy, SequenceStore
from genpas_plugins.analysis.alignment import alignment_discrimination
from genpas_plugins.analysis.evaluation_profiles import EvaluationProfiles
from genpas_plugins.analysis.history_length import length_probabilities
from genpas_plugins.analysis.inputs import input_target_statistics
from genpas_plugins.analysis.similarity import positional, recency_containment

EXPONENTS = [-math.inf, -2.5, 0.0, 1.0, math.inf]


def joint(store, policy, lengths, probabilities_of):
    """Return p(x, y), x as a tuple of items, by plain loops."""
    sequences = [tuple(store.values[a:b].tolist()) for a, b in itertools.pairwise(store.offsets)]
    table = defaultdict(float)
    for (s, start, target), p in probabilities_of(policy, lengths).items():
        table[sequences[s][start:target], sequences[s][target]] += p
    return table


def mean_profiles(store, policy, lengths, similarity, probabilities_of):
    """Return E[b(m, d) of each item | target y], [n_items + 1, features], by plain loops."""
    size, table = store.n_items + 1, similarity.training_table()
    profiles, mass = np.zeros((size, size * (similarity.length if similarity.positional else 1))), np.zeros(size)
    for (x, y), p in joint(store, policy, lengths, probabilities_of).items():
        mass[y] += p
        for d, item in enumerate(x[::-1][: similarity.length]):
            profiles[y, item + d * size * similarity.positional] += p * table[min(len(x), similarity.length), d]
    return profiles / np.where(mass > 0, mass, 1)[:, None]


@pytest.mark.parametrize("of", [recency_containment(), positional()], ids=lambda of: of.name)
def test_alignment_is_the_product_of_the_profiles(medium, of, probabilities_of):
    sparse = pytest.importorskip("scipy.sparse")
    split, policy = medium.leave_last_out(), SamplingPolicy(1, 1, -0.5)
    training = mean_profiles(medium, policy, split.train.lengths().tolist(), of, probabilities_of)
    tests = EvaluationProfiles.of(split.test, of)
    inputs = sparse.csr_array((tests.weight, tests.feature, tests.bounds), shape=training.shape)
    trained, evaluated = training.sum(1) > 0, tests.pairs > 0
    mean = sparse.diags_array(1 / np.maximum(tests.pairs, 1)) @ inputs
    similar = mean @ training.T
    other = similar[np.ix_(evaluated, trained)].sum() - similar.diagonal()[evaluated & trained].sum()
    found = alignment_discrimination(split.train, policy, split.test, of)
    covered = tests.pairs[trained].sum()
    assert found.alignment == pytest.approx((tests.pairs * similar.diagonal())[trained].sum() / covered)
    n = evaluated.sum() * trained.sum() - (evaluated & trained).sum()
    assert found.discrimination == pytest.approx(other / n)


@given(n=st.integers(1, 12), gamma=st.sampled_from(EXPONENTS), longest=st.integers(1, 15))
def test_length_probabilities_are_the_start_distribution(n, gamma, longest, paper):
    expected = np.zeros((n + 1, longest + 1))
    for t in range(1, n + 1):
        # A sequence whose last item has t items before it, and whose only target is that.
        for (_, start, target), p in paper([t + 1], 0, math.inf, gamma).items():
            expected[t, min(target - start, longest)] += p
    np.testing.assert_allclose(length_probabilities(n, gamma, longest), expected, rtol=1e-12)


@given(
    store=st.from_type(SequenceStore),
    policy=st.from_type(SamplingPolicy),
    held_out=st.sampled_from([0, 2]),
    max_length=st.sampled_from([1, 2, 3, 50]),
)
def test_statistics_are_those_of_the_joint_distribution(store, policy, held_out, max_length, probabilities_of):
    view = store.view(held_out=held_out)
    table = defaultdict(float)
    for (x, y), p in joint(store, policy, view.lengths().tolist(), probabilities_of).items():
        table[x[-max_length:], y] += p
    inputs, mass = defaultdict(set), defaultdict(float)
    for (x, y), p in table.items():
        inputs[y].add(x)
        mass[y] += p
    counts = [len(of) for of in inputs.values()]
    found = input_target_statistics(view, policy, max_length)
    assert found["targets"] == len(counts)
    assert found["distinct_inputs_mean"] == pytest.approx(np.mean(counts))
    assert found["distinct_inputs_median"] == np.median(counts)
    assert found["distinct_inputs_max"] == max(counts)
    assert found["expected_history_length"] == pytest.approx(math.fsum(p * len(x) for (x, _), p in table.items()))
    entropy = -math.fsum(p * math.log(p) for p in table.values())
    of_target = -math.fsum(p * math.log(p) for p in mass.values())
    assert found["entropy_input_target"] == pytest.approx(entropy, abs=1e-9)
    assert found["entropy_target"] == pytest.approx(of_target, abs=1e-9)
    assert found["entropy_input_given_target"] == pytest.approx(entropy - of_target, abs=1e-9)


def test_no_pair_is_an_error(store):
    with pytest.raises(InputError, match="No training pair"):
        input_target_statistics(store.view(held_out=6), SamplingPolicy(1, 0, 0))
