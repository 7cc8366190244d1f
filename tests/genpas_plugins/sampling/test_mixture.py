"""Mixtures: the distribution against sums over all pairs, and streams against the streams of their policies."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins import InputError, Pairs, SamplingPolicy, SequenceStore, pair_stream
from genpas_plugins.analysis.target_distribution import target_distribution
from genpas_plugins.sampling.coverage import coverage
from genpas_plugins.sampling.mixture import Mixture, deal, part_sizes
from genpas_plugins.sampling.policy import named_policy
from genpas_plugins.sampling.stream import window_stream

LENGTHS = [2, 5, 3, 7, 1]
STORE = SequenceStore.from_arrays(np.arange(sum(LENGTHS)) % 6 + 1, np.cumsum([0, *LENGTHS]))
VIEW = STORE.view()
POLICIES = (SamplingPolicy.named("multi_target"), SamplingPolicy(1, 0, 1), named_policy("last_items:length=2"))
MIXTURE = Mixture((2, 1, 1), POLICIES)


def all_pairs() -> Pairs:
    found = [(s, j, k) for s, n in enumerate(LENGTHS) for k in range(1, n) for j in range(k)]
    return Pairs(*np.array(found).T)


def test_the_distribution_is_the_weighted_sum():
    pairs = all_pairs()
    p = np.exp(MIXTURE.log_prob(VIEW, pairs))
    expected = sum(
        w * np.exp(policy.log_prob(VIEW, pairs)) for w, policy in zip((0.5, 0.25, 0.25), POLICIES, strict=True)
    )
    assert p == pytest.approx(expected) and p.sum() == pytest.approx(1)
    items = STORE.values[STORE.offsets[pairs.sequence] + pairs.target]
    assert target_distribution(VIEW, MIXTURE) == pytest.approx(np.bincount(items, p, STORE.n_items + 1))
    lengths = pairs.target - pairs.start
    assert MIXTURE.expected_history_length(VIEW, 3) == pytest.approx(p @ np.minimum(lengths, 3))
    mass = np.bincount(VIEW.lengths(pairs.sequence), p)[VIEW.groups.length]
    assert MIXTURE.sequence_mass(VIEW) == pytest.approx(mass)


@given(weights=st.lists(st.floats(0.01, 1), min_size=1, max_size=4), n=st.integers(1, 300))
def test_every_range_has_its_share_and_every_example_a_place_of_its_own(weights: list[float], n: int):
    dealt, sizes = deal(np.arange(n), weights), part_sizes(n, weights)
    assert [np.flatnonzero(dealt.part == k).size for k in range(len(weights))] == sizes
    for k, size in enumerate(sizes):
        assert dealt.place[dealt.part == k].tolist() == list(range(size))
        assert abs(size - n * weights[k] / sum(weights)) <= len(weights)


@given(epoch=st.integers(0, 5), some=st.lists(st.integers(0, 39), min_size=1, max_size=9))
def test_pairs_are_those_of_the_policies_in_any_part_of_an_epoch(epoch: int, some: list[int]):
    stream = pair_stream(VIEW, MIXTURE, seed=3, pairs_per_epoch=40)
    whole = np.stack(stream.pairs(epoch, np.arange(40)))
    assert np.array_equal(np.stack(stream.pairs(epoch, some)), whole[:, some])
    part = deal(np.arange(40), MIXTURE.weights).part
    for k, count in enumerate((20, 10, 10)):
        own = pair_stream(VIEW, POLICIES[k], seed=MIXTURE.seed_of(3, k), pairs_per_epoch=count)
        assert np.array_equal(whole[:, part == k], np.stack(own.pairs(epoch, np.arange(count))))


@pytest.mark.parametrize("max_length", [2, 50])
def test_windows_are_those_of_the_policies_in_any_part_of_an_epoch(max_length: int):
    stream = window_stream(VIEW, MIXTURE, max_length=max_length, seed=3, pairs_per_epoch=80)
    rng = np.random.default_rng(0)
    for epoch in range(3):
        every = [stream.windows(epoch, [i]) for i in range(stream.size)]
        some = rng.permutation(stream.size)[:7]
        found = stream.windows(epoch, some)
        for name in ("pairs", "first", "weights"):
            expected = np.concatenate([np.atleast_2d(getattr(every[i], name)) for i in some], axis=1)
            assert np.array_equal(np.atleast_2d(getattr(found, name)), expected), name
        assert np.array_equal(found.example, np.repeat(np.arange(7), [len(every[i].first) for i in some]))
        dealt = deal(np.arange(stream.size), MIXTURE.weights)
        for k, own in enumerate(stream.streams):
            assert own.size == np.count_nonzero(dealt.part == k)
            mine = stream.windows(epoch, np.flatnonzero(dealt.part == k))
            assert all(np.array_equal(a, b) for a, b in zip(mine, own.windows(epoch, np.arange(own.size)), strict=True))


def test_weighted_targets_have_the_mixture_s_distribution():
    """Two enumerated policies in whole passes: the weights of an epoch add up to the closed form exactly."""
    mixture = Mixture((1, 1), (POLICIES[0], SamplingPolicy.named("last_target")))
    passes = [window_stream(VIEW, policy, max_length=9, seed=1).size for policy in mixture.policies]
    size = 2 * int(np.lcm(*passes))
    per_example = window_stream(VIEW, mixture, max_length=9, seed=1).targets_per_example
    stream = window_stream(VIEW, mixture, max_length=9, seed=1, pairs_per_epoch=round(size * per_example))
    assert stream.size == size
    batch = stream.batch(4, np.arange(size), 9)
    share = np.bincount(STORE.values[batch.targets.rows], batch.weights, STORE.n_items + 1) / size
    assert share == pytest.approx(target_distribution(VIEW, mixture), rel=1e-6)
    with pytest.raises(InputError, match="max_length is 8, but"):
        stream.batch(4, [0], 8)


def test_streams_count_pickle_and_begin_at_the_size_of_multi_target():
    for stream in (pair_stream(VIEW, MIXTURE, seed=3), window_stream(VIEW, MIXTURE, max_length=3, seed=3)):
        assert stream.pairs_per_epoch == VIEW.n_pairs and stream.draws == 2 and coverage(stream) is not None
        again = pickle.loads(pickle.dumps(stream))
        first, second = (list(itertools.chain(*of.batch(1, [0, 2], 3).targets)) for of in (stream, again))
        assert first == second


@pytest.mark.parametrize(
    ("weights", "message"), [((1, 0, 1), "above 0"), ((1, 2), "as many weights"), ((1, 1, np.inf), "finite numbers")]
)
def test_weights_that_are_none_are_refused(weights: tuple[float, ...], message: str):
    with pytest.raises(InputError, match=message):
        Mixture(weights, POLICIES)


def test_a_policy_without_an_example_is_refused():
    with pytest.raises(InputError, match="An epoch of 2 examples has none of 1,0,1"):
        pair_stream(VIEW, MIXTURE, seed=1, pairs_per_epoch=2)


def test_histories_that_end_early_stay_without_the_items_before_their_target():
    parts = [named_policy("future_window:items=3"), SamplingPolicy.named("multi_target")]
    stream = pair_stream(VIEW, Mixture((1, 1), parts), seed=3, pairs_per_epoch=40)
    pairs, addresses = stream.addresses(0, np.arange(40))
    dealt = deal(np.arange(40), (1, 1))
    for k, part in enumerate(stream.streams):
        of_part = [np.stack(drawn) for drawn in part.addresses(0, dealt.place[dealt.part == k])]
        assert np.array_equal(np.stack(pairs)[:, dealt.part == k], of_part[0])
        assert np.array_equal(np.stack(addresses)[:, dealt.part == k], of_part[1])
    assert (addresses.target < pairs.target).any()
    assert np.array_equal(
        stream.batch(0, np.arange(40), 5).histories.lengths, np.minimum(addresses.target - addresses.start, 5)
    )
