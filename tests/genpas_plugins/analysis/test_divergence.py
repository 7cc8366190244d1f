import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins import SamplingPolicy
from genpas_plugins.analysis.divergence import kl_divergence
from genpas_plugins.analysis.target_distribution import last_target_distribution, target_distribution

distributions = st.lists(st.integers(0, 50), min_size=5, max_size=5).filter(any)


def normalised(weights) -> np.ndarray:
    return np.array([0, *weights]) / sum(weights)


@given(p=distributions, q=distributions, smoothing=st.sampled_from([1e-10, 1e-3, 0.5]))
def test_it_is_the_smoothed_sum_over_items(p, q, smoothing):
    p, q = normalised(p), normalised(q)
    expected = math.fsum(
        (a + smoothing) * math.log((a + smoothing) / (b + smoothing)) for a, b in zip(p[1:], q[1:], strict=True)
    )
    assert kl_divergence(p, q, smoothing) == pytest.approx(expected, abs=1e-12)


def test_by_hand():
    p, q = np.array([0, 0.5, 0.5]), np.array([0, 0.25, 0.75])
    assert kl_divergence(p, q, 0) == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))
    assert kl_divergence(p, q) != pytest.approx(kl_divergence(q, p))


@given(p=distributions, q=distributions)
def test_it_is_never_negative_and_zero_for_equals(p, q):
    p, q = normalised(p), normalised(q)
    assert kl_divergence(p, p) == 0
    assert kl_divergence(p, q) > -1e-12


def test_padding_does_not_count():
    p, q = np.array([9.0, 0.5, 0.5]), np.array([0.1, 0.5, 0.5])
    assert kl_divergence(p, q) == 0


def test_an_item_never_trained_on_costs_much_but_not_everything():
    assert kl_divergence(np.array([0, 1.0, 0]), np.array([0, 0, 1.0])) == pytest.approx(math.log(1e10), rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "published"),
    [
        (SamplingPolicy.named("last_target"), 2.768),
        (SamplingPolicy.named("multi_target"), 0.898),
        (SamplingPolicy(2, 1, 0), 1.158),
    ],
    ids=lambda value: getattr(value, "label", value),
)
def test_the_published_divergences_on_beauty(published_data, policy, published):
    """KL of the test targets from the training targets, the paper's table for Amazon Beauty."""
    split = published_data("beauty").leave_last_out()
    kl = kl_divergence(last_target_distribution(split.test), target_distribution(split.train, policy))
    assert kl == pytest.approx(published, abs=5e-4)
