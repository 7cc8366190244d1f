"""New targets alone: the law is the policy's own, restricted; an epoch has it with little variance."""

from __future__ import annotations

import math

import numpy as np
import pytest

from genpas_plugins import InputError, SamplingPolicy, SequenceStore
from genpas_plugins.data.sequences import Pairs
from genpas_plugins.sampling.new_targets import NewTargets
from genpas_plugins.sampling.policy import named_policy

LENGTHS, KNOWN = np.array([6, 2, 5, 1, 4, 0, 9]), np.array([3, 0, 5, 0, 1, 0, 2])
N = int(LENGTHS.sum())
STORE = SequenceStore.from_arrays(np.arange(1, N + 1), np.concatenate([[0], np.cumsum(LENGTHS)]))
PAIRS = Pairs(*np.array([(s, j, k) for s, n in enumerate(LENGTHS) for k in range(1, n) for j in range(k)]).T)
POLICIES = [
    *(SamplingPolicy.named(name) for name in ("multi_target", "last_target", "slide_window")),
    *(SamplingPolicy(*point) for point in ((1, 0, 0), (2, 1, -1), (0.5, -2, 1), (math.inf, 0, 0), (0, math.inf, 2))),
]


def stream(policy: SamplingPolicy, n: int | None = None, known: np.ndarray = KNOWN) -> NewTargets:
    return NewTargets(STORE.view(), policy, known, seed=5, pairs_per_epoch=n)


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.label)
def test_the_law_is_the_policy_given_a_new_target(policy: SamplingPolicy):
    law = np.exp(policy.log_prob(STORE.view(), PAIRS)) * (PAIRS.target >= KNOWN[PAIRS.sequence])
    law /= law.sum()
    drawn = stream(policy, 10_000)
    by_item = np.bincount(STORE.offsets[PAIRS.sequence] + PAIRS.target + 1, law, N + 1)
    assert drawn.target_distribution() == pytest.approx(by_item, abs=1e-12)
    lengths = np.minimum(PAIRS.target - PAIRS.start, 3)
    assert drawn.expected_history_length(3) == pytest.approx(law @ lengths)
    pairs = drawn.pairs(1, np.arange(10_000))
    counts = np.bincount(STORE.offsets[pairs.sequence] + pairs.target + 1, minlength=N + 1)
    assert np.abs(counts - 10_000 * by_item).max() < 2
    starts = np.zeros((N + 1, 9))
    np.add.at(starts, (STORE.offsets[pairs.sequence] + pairs.target, pairs.start), 1)
    np.add.at(starts, (STORE.offsets[PAIRS.sequence] + PAIRS.target, PAIRS.start), -10_000 * law)
    assert np.abs(starts).max() < 5 * math.sqrt(10_000 * 0.25)


def test_an_epoch_of_multi_target_has_each_new_target_once():
    drawn = stream(SamplingPolicy.named("multi_target"))
    new = [(s, k) for s, n in enumerate(LENGTHS) for k in range(max(1, KNOWN[s]), n)]
    for epoch in (0, 3):
        pairs = drawn.pairs(epoch, np.arange(drawn.size))
        assert sorted(zip(pairs.sequence.tolist(), pairs.target.tolist(), strict=True)) == new
        some = np.array([7, 0, 3])
        assert np.array_equal(np.stack(drawn.pairs(epoch, some)), np.stack(pairs)[:, some])


def test_what_has_no_new_target_is_refused():
    with pytest.raises(InputError, match="No sequence has a new target"):
        stream(POLICIES[0], known=LENGTHS)
    with pytest.raises(InputError, match="draws none of the 1 new targets"):
        stream(SamplingPolicy(1, -math.inf, 0), known=np.where(LENGTHS == 6, 5, LENGTHS))
    with pytest.raises(InputError, match="drawn from exponents, which strategy last_items:length=3 has not"):
        stream(named_policy("last_items:length=3"))
