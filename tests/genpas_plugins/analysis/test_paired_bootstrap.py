"""The paired bootstrap against all resamples of a small set, and figures of ranks against RecBole's definitions."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from genpas_plugins.analysis.paired_bootstrap import RESAMPLES, figure_of_ranks, paired_bootstrap


@pytest.mark.parametrize("given", [[-1, 0, 3], [1, 1, -4, 2], [0.5, 0.5, 0.25], [2, -2, 2, -2]])
def test_resamples_have_the_law_of_all_of_them(given: list[float]):
    means = [math.fsum(drawn) / len(given) for drawn in itertools.product(given, repeat=len(given))]
    found = paired_bootstrap(given)
    p = min(1, 2 * min(np.mean(np.array(means) <= 1e-12), np.mean(np.array(means) >= -1e-12)))
    assert found.mean == pytest.approx(np.mean(given))
    assert found.p == pytest.approx(p, abs=10 / math.sqrt(RESAMPLES))
    assert found.low <= found.mean <= found.high
    for end, level in ((found.low, 0.025), (found.high, 0.975)):
        below = np.mean(np.array(means) < end - 1e-9), np.mean(np.array(means) <= end + 1e-9)
        assert below[0] - 0.01 <= level <= below[1] + 0.01


def test_a_large_difference_is_sure_and_its_sign_does_not_matter():
    given = np.random.default_rng(1).normal(0.5, 1, 500)
    found, other = paired_bootstrap(given), paired_bootstrap(-given)
    assert found.low > 0 > other.high and max(found.p, other.p) < 0.001


def test_figures_of_ranks():
    ranks = np.array([0, 1, 2, 10, 11], np.uint16)
    gains = [0, 1, 1 / math.log2(3), 1 / math.log2(11), 0]
    assert figure_of_ranks(ranks, "NDCG@10") == pytest.approx(gains)
    assert figure_of_ranks(ranks, "Hit@10").tolist() == figure_of_ranks(ranks, "recall@10").tolist() == [0, 1, 1, 1, 0]
    assert figure_of_ranks(ranks, "MRR@2") == pytest.approx([0, 1, 0.5, 0, 0])
    assert figure_of_ranks(ranks, "Precision@2") == pytest.approx([0, 0.5, 0.5, 0, 0])
