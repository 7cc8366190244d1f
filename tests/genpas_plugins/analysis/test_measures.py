import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins import InputError, SamplingPolicy, SequenceStore
from genpas_plugins.analysis.divergence import kl_divergence
from genpas_plugins.analysis.measures import analyze
from genpas_plugins.analysis.similarity import jaccard
from genpas_plugins.analysis.target_distribution import last_target_distribution, target_distribution

NAMED = [SamplingPolicy.named(name) for name in ("last_target", "multi_target", "slide_window")]
POLICIES = [*NAMED, SamplingPolicy(1, 0, 0), SamplingPolicy(0, math.inf, -1)]
KEYS = [
    "store", "policies", "smoothing", "similarity", "kl", "kl_reverse", "rank_difference", "rank_agreement",
    "alignment_discrimination", "alignment_discrimination_validation", "history_length", "target_position", "user_mass",
    "popularity_groups", "input_target",
]  # fmt: skip


def test_everything_is_there_and_plain(medium):
    said = []
    found = analyze(medium.leave_last_out(), POLICIES, progress=said.append)
    assert list(found) == KEYS
    labels = ["last_target", "multi_target", "slide_window", "1,0,0", "0,inf,-1"]
    assert list(found["policies"]) == labels
    for key in ("alignment_discrimination", "history_length", "target_position", "user_mass", "input_target"):
        assert list(found[key]) == labels
    assert list(found["kl"]) == ["test", "validation"] and list(found["kl"]["test"]) == labels
    assert list(found["rank_agreement"])[:2] == ["last_target|multi_target", "last_target|slide_window"]
    assert len(found["rank_difference"]) == 10
    assert list(found["popularity_groups"]) == [*labels, "test", "validation"]
    assert json.loads(json.dumps(found))["kl"] == found["kl"]
    assert "target distributions" in said and len(said) == len(set(said))
    for of in found["popularity_groups"].values():
        assert list(of) == ["T1", "T2", "T3"] and sum(of.values()) == pytest.approx(1)
    for label in labels:
        assert sum(found["history_length"][label]["histogram"]) == pytest.approx(1)
        assert sum(found["target_position"][label]["from_end"]) == pytest.approx(1)


def test_kl_goes_both_ways(medium):
    split, policy = medium.leave_last_out(), SamplingPolicy(1, 0, 0)
    found = analyze(split, [policy], smoothing=1e-3)
    trained = target_distribution(split.train, policy)
    for name, view in (("test", split.test), ("validation", split.validation)):
        observed = last_target_distribution(view)
        assert found["kl"][name]["1,0,0"] == kl_divergence(observed, trained, 1e-3)
        assert found["kl_reverse"][name]["1,0,0"] == kl_divergence(trained, observed, 1e-3)


@given(store=st.from_type(SequenceStore), policy=st.from_type(SamplingPolicy))
def test_any_store_that_has_a_pair_has_an_analysis(store, policy):
    found = analyze(store.leave_last_out(), [policy])
    mass = found["user_mass"][policy.label]
    assert 1 - 1e-9 <= mass["effective_users"] <= found["store"]["training_sequences"] + 1e-6
    assert mass["heaviest_1_percent"] <= mass["heaviest_10_percent"] + 1e-12 <= 1 + 1e-9
    assert found["store"]["interactions"] == store.n_interactions


def test_the_heaviest_users_by_hand(store):
    """Training lengths 3, 5 and 2 and α = 1 give the users 2, 4 and 1 of 7."""
    mass = analyze(store.leave_last_out(), [SamplingPolicy(1, 0, 0)])["user_mass"]["1,0,0"]
    assert mass["by_length"]["length"] == [2, 3, 5] and mass["by_length"]["users"] == [1, 1, 1]
    np.testing.assert_allclose(mass["by_length"]["mass"], [1 / 7, 2 / 7, 4 / 7])
    assert mass["heaviest_10_percent"] == pytest.approx(0.3 * 4 / 7)


def test_a_sampled_similarity_has_a_standard_error(medium):
    found = analyze(medium.leave_last_out(), [SamplingPolicy(1, 0, 0)], similarity=jaccard(5))
    assert found["similarity"] == "jaccard(length=5)"
    assert found["alignment_discrimination"]["1,0,0"]["standard_error"] > 0


def test_a_policy_given_twice_is_refused(medium):
    with pytest.raises(InputError, match="1,0,0 is given twice"):
        analyze(medium.leave_last_out(), [SamplingPolicy(1, 0, 0), *NAMED, SamplingPolicy(1, 0, 0)])


def test_no_training_pair_is_an_error(store):
    with pytest.raises(InputError, match="No training pair"):
        analyze(SequenceStore.from_arrays([1, 2, 3], [0, 3]).leave_last_out(), NAMED)
