import itertools
import math
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins import InputError, SamplingPolicy, SequenceStore, pair_stream
from genpas_plugins.analysis import target_positions
from genpas_plugins.analysis.target_distribution import (
    last_target_distribution,
    sum_by_target,
    target_distribution,
    target_mass,
)
from genpas_plugins.analysis.target_positions import TargetWeights, row_chunks

BACKENDS = ("numpy", "numba") if find_spec("numba") else ("numpy",)


@given(
    store=st.from_type(SequenceStore),
    policy=st.from_type(SamplingPolicy),
    held_out=st.sampled_from([0, 2]),
    chunk=st.sampled_from([1, 5, 1 << 22]),
)
def test_it_is_the_sum_over_all_pairs(store, policy, held_out, chunk, probabilities_of):
    view = store.view(held_out=held_out)
    expected = np.zeros(store.n_items + 1)
    for (sequence, _, target), p in probabilities_of(policy, view.lengths().tolist()).items():
        expected[store.values[store.offsets[sequence] + target]] += p
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target_positions, "CHUNK", chunk)
        ways = itertools.product((view, store.view(lengths=view.lengths())), BACKENDS, (None, 1, 3))
        for same, backend, threads in ways:
            actual = target_distribution(same, policy, backend=backend, threads=threads)
            assert actual.dtype == np.float64
            np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-12)


def test_by_hand(store):
    """Training sequences 1 2 3, 2 3 1 7 8 and 4 4 give the multi-targets 2 3, 3 1 7 8 and 4."""
    mass = target_distribution(store.leave_last_out().train, SamplingPolicy.named("multi_target"))
    np.testing.assert_allclose(mass * 7, [0, 1, 1, 2, 1, 0, 0, 1, 1, 0])


@given(store=st.from_type(SequenceStore), policy=st.from_type(SamplingPolicy))
def test_it_sums_to_one_and_padding_has_none(store, policy):
    mass = target_distribution(store.view(), policy)
    assert mass.shape == (store.n_items + 1,)
    assert mass[0] == 0
    assert math.fsum(mass) == pytest.approx(1)


def test_drawn_targets_follow_it(medium):
    view = medium.leave_last_out().train
    n = 200_000
    for exponents in [(1, 0, 0), (2, 1, 0), (0, -1, 3)]:
        policy = SamplingPolicy(*exponents)
        pairs = pair_stream(view, policy, seed=3, pairs_per_epoch=n).pairs(0, np.arange(n))
        items = medium.values[medium.offsets[pairs.sequence] + pairs.target]
        drawn = np.bincount(items, minlength=medium.n_items + 1) / n
        mass = target_distribution(view, policy)
        assert (np.abs(drawn - mass) <= 6 * np.sqrt(mass * (1 - mass) / n)).all()


def test_the_start_exponent_does_not_matter(medium):
    view = medium.view()
    distributions = [target_distribution(view, SamplingPolicy(1, 0.5, gamma)) for gamma in (-math.inf, 0, 2)]
    assert np.array_equal(distributions[0], distributions[1])
    assert np.array_equal(distributions[0], distributions[2])


@given(store=st.from_type(SequenceStore), held_out=st.integers(0, 2))
def test_last_targets_are_counted(store, held_out):
    view = store.view(held_out=held_out)
    counts = np.zeros(store.n_items + 1)
    for first, length in zip(store.offsets, view.lengths(), strict=False):
        if length >= 2:
            counts[store.values[first + length - 1]] += 1
    np.testing.assert_allclose(last_target_distribution(view), counts / counts.sum(), rtol=1e-12)


def test_validation_and_test_targets_by_hand(store):
    split = store.leave_last_out()
    np.testing.assert_allclose(last_target_distribution(split.validation) * 3, [0, 0, 0, 0, 1, 1, 0, 0, 0, 1])
    # The user of two items has no training pair but a test one: history 6, target 1.
    np.testing.assert_allclose(last_target_distribution(split.test) * 4, [0, 1, 0, 0, 1, 1, 1, 0, 0, 0])


def test_no_pair_is_an_error(store):
    for call in (last_target_distribution, lambda view: target_distribution(view, SamplingPolicy(1, 0, 0))):
        with pytest.raises(InputError, match="No training pair"):
            call(store.view(held_out=6))


@given(
    store=st.from_type(SequenceStore),
    policy=st.from_type(SamplingPolicy),
    cuts=st.lists(st.integers(0, 12), max_size=4),
)
def test_the_masses_of_row_slices_add_up(store, policy, cuts):
    view = store.view()
    edges = sorted({0, store.n_sequences, *(min(cut, store.n_sequences) for cut in cuts)})
    for backend in BACKENDS:
        parts = [target_mass(view, policy, slice(a, b), backend=backend) for a, b in itertools.pairwise(edges)]
        np.testing.assert_allclose(sum(parts), target_distribution(view, policy), rtol=1e-9, atol=1e-14)


def test_no_rows_have_no_mass(store):
    assert not target_mass(store.view(), SamplingPolicy(1, 0, 0), slice(2, 2)).any()


@given(store=st.from_type(SequenceStore), policy=st.from_type(SamplingPolicy))
def test_other_tables_give_other_sums(store, policy):
    """The derivative in β of Σ scale · t^β is Σ scale · t^β ln t."""
    view = store.view()
    weights = TargetWeights.of(view, policy)
    logs = np.log(np.maximum(np.arange(len(weights.power)), 1))
    actual = sum_by_target(view, TargetWeights(weights.scale, weights.power * logs, weights.last))
    expected = np.zeros(store.n_items + 1)
    for first, length in zip(store.offsets, view.lengths(), strict=False):
        for t in range(max(length - 1, 1) if weights.last else 1, length):
            expected[store.values[first + t]] += weights.scale[length] * weights.power[t] * logs[t]
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-14)


@given(store=st.from_type(SequenceStore), size=st.integers(1, 40), first=st.integers(0, 5), count=st.integers(0, 20))
def test_row_chunks_cover_the_rows_once_and_in_order(store, size, first, count):
    wanted = list(range(store.n_sequences))[first : first + count]
    found = list(row_chunks(store.view(), slice(first, first + count), size))
    assert [row for rows in found for row in range(rows.start, rows.stop)] == wanted


def test_many_interactions_in_threads_are_as_in_one():
    generator = np.random.default_rng(1)
    lengths = generator.integers(0, 60, 40_000)
    store = SequenceStore.from_arrays(generator.integers(1, 500, lengths.sum()), np.cumsum([0, *lengths]), n_items=500)
    assert store.n_interactions > 4 * target_positions.PER_THREAD
    view, policy = store.leave_last_out().train, SamplingPolicy(1.5, -0.5, 0)
    alone = target_distribution(view, policy, threads=1, backend="numpy")
    for threads, backend in itertools.product((None, 2, 7), BACKENDS):
        shared = target_distribution(view, policy, threads=threads, backend=backend)
        np.testing.assert_allclose(shared, alone, rtol=1e-11)
