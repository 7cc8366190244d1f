"""The transition model against sums over all pairs, and the search by it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from genpas_plugins import InputError, Pairs, SamplingPolicy, SequenceStore
from genpas_plugins.sampling.constructions import construction_of
from genpas_plugins.sampling.mixture import Mixture
from genpas_plugins.sampling.policy import Policy
from genpas_plugins.search.by_transitions import MULTI_TARGET, search_by_transitions
from genpas_plugins.search.grid import Grid
from genpas_plugins.search.transition_model import DECAY, OF_PAIRS, K, TransitionModel

POINTS = [(1, 0, -math.inf), (1, 0, 0), (0, math.inf, 2), (0.5, -1, math.inf), (2, 1, 0)]


@pytest.fixture(scope="module")
def store() -> SequenceStore:
    rng = np.random.default_rng(3)
    lengths = [2, 3, 5, 9, 1, 7, 6, 8]
    return SequenceStore.from_arrays(rng.integers(1, 8, sum(lengths)), np.cumsum([0, *lengths]), n_items=8)


def by_hand(store: SequenceStore, policy: Policy) -> tuple[np.ndarray, float]:
    """Return the cosines, and the entropy of all pairs, by a loop over all pairs of the training view."""
    view = store.leave_last_out().train
    joint, entropy = np.zeros((store.n_items + 1, store.n_items + 1)), 0.0
    for s, n in enumerate(view.lengths()):
        items = store.values[store.offsets[s] : store.offsets[s] + n]
        for k in range(1, n):
            starts = np.arange(k)
            pairs = Pairs(np.full(k, s), starts, np.full(k, k))
            for start, p in zip(starts, np.exp(policy.log_prob(view, pairs)), strict=True):
                entropy -= p * math.log(p) if p > 0 else 0
                for d in range(k - start):
                    joint[items[k - 1 - d], items[k]] += p * DECAY**d
    norm = np.sqrt(joint.sum(1, keepdims=True) * joint.sum(0))
    return np.divide(joint, norm, out=np.zeros_like(joint), where=norm > 0), entropy


@pytest.mark.parametrize("point", POINTS)
def test_transitions_are_sums_over_all_pairs(point: tuple[float, float, float], store: SequenceStore):
    split = store.leave_last_out()
    policy = SamplingPolicy(*point)
    _assert_close(TransitionModel.of(split.train, split.validation), policy, by_hand(store, policy))


@pytest.mark.parametrize("label", ["last_items:length=4", "suffix", "multi_target", "stochastic_length:length=3"])
def test_transitions_of_a_construction_are_sums_over_its_pairs(label: str, store: SequenceStore):
    split, construction = store.leave_last_out(), construction_of(label)
    _assert_close(TransitionModel.of(split.train, split.validation), construction, by_hand(store, construction))


def test_transitions_of_a_mixture_are_sums_over_its_pairs(store: SequenceStore):
    split = store.leave_last_out()
    mixture = Mixture((3, 1), (SamplingPolicy(1, 0, 0), construction_of("last_items:length=4")))
    _assert_close(TransitionModel.of(split.train, split.validation), mixture, by_hand(store, mixture))


def _assert_close(model: TransitionModel, policy: Policy, expected: tuple[np.ndarray, float]):
    np.testing.assert_allclose(model.transitions(policy).toarray(), expected[0], rtol=1e-9, atol=1e-15)
    assert model.entropy(policy) == pytest.approx(expected[1], abs=1e-9)


def test_the_search_ranks_constructions_too(store: SequenceStore):
    split = store.leave_last_out()
    model, points = TransitionModel.of(split.train, split.validation), [construction_of("last_items:length=4")]
    found = search_by_transitions(model, [*points, SamplingPolicy(1, 0, 0), *points])
    assert {row.policy for row in found.ranked} == {MULTI_TARGET, SamplingPolicy(1, 0, 0), *points}
    with pytest.raises(InputError, match="future_window"):
        model.ndcg(construction_of("future_window"))


@pytest.mark.parametrize("point", POINTS)
def test_figures_are_those_of_plain_rankings(point: tuple[float, float, float], store: SequenceStore):
    split, policy = store.leave_last_out(), SamplingPolicy(*point)
    table, expected = by_hand(store, policy)[0], []
    pairs = split.validation.last_pairs()
    for s, k in zip(pairs.sequence, pairs.target, strict=True):
        items = store.values[store.offsets[s] : store.offsets[s] + k + 1]
        scores = sum(DECAY**d * table[items[k - 1 - d]] for d in range(k))
        scores[np.unique(items[:k])] = 0
        own = scores[items[k]]
        rank = (scores > own + 1e-15).sum() + 1 + (np.isclose(scores, own, rtol=0, atol=1e-15).sum() - 1) / 2
        expected.append(1 / math.log2(rank + 1) if own > 0 and rank < K + 1 else 0)
    assert TransitionModel.of(split.train, split.validation).ndcg(policy) == pytest.approx(expected)


def test_the_search_never_takes_a_point_that_is_not_surely_better(medium: SequenceStore):
    split = medium.leave_last_out()
    grid = Grid(alpha=(0, 1), beta=(0, math.inf), gamma=(-math.inf, 0))
    model = TransitionModel.of(split.train, split.validation)
    found = search_by_transitions(model, grid.points)
    assert [row.predicted for row in found.ranked] == sorted((row.predicted for row in found.ranked), reverse=True)
    assert MULTI_TARGET in [row.policy for row in found.ranked] and len(found.ranked) == len(grid.points)
    assert found.chosen == (found.ranked[0].policy if found.difference.low > 0 else MULTI_TARGET)
    first = found.ranked[0].policy
    counted, reference = model.ndcg(first), model.ndcg(MULTI_TARGET)
    gain = math.exp(model.entropy(first) - model.entropy(MULTI_TARGET)) ** OF_PAIRS
    assert found.difference.mean == pytest.approx((counted * gain - reference)[1::2].mean())
    assert found.counted.mean == pytest.approx((counted - reference)[1::2].mean())
    assert found.users == len(counted[1::2])
    worse = search_by_transitions(model, [SamplingPolicy(0, math.inf, math.inf)])
    if worse.ranked[0].policy == MULTI_TARGET:
        assert worse.chosen == MULTI_TARGET and not worse.sure
