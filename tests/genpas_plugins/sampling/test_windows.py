"""Windows with weighted targets against the law of single pairs, enumerated by brute force."""

from __future__ import annotations

import math
import pickle
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from genpas_plugins import InputError, Pairs, SamplingPolicy, SequenceStore, SequenceView, pair_stream
from genpas_plugins.sampling.jagged import spans
from genpas_plugins.sampling.stream import window_stream
from genpas_plugins.sampling.windows import WindowStream
from tests.chain_law import dense_weights, segments

Law = dict[tuple[int, int, int], float]

LENGTHS = st.lists(st.integers(0, 9), min_size=1, max_size=5).filter(lambda lengths: max(lengths) > 1)
EXPONENT = st.one_of(st.floats(-3, 3), st.sampled_from([0.0, 1.0, math.inf, -math.inf, 60.0, -60.0]))
POLICY = st.one_of(
    st.builds(SamplingPolicy, EXPONENT, EXPONENT, EXPONENT),
    st.sampled_from(["last_target", "multi_target", "slide_window"]).map(SamplingPolicy.named),
)


def view_of(lengths: list[int]) -> SequenceView:
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return SequenceStore.from_arrays(np.arange(1, offsets[-1] + 1), offsets).view()


def law_of_single_pairs(view: SequenceView, policy: SamplingPolicy, max_length: int) -> Law:
    """Probability of every (sequence, first item that is seen, target)."""
    every = [(s, j, k) for s, n in enumerate(view.lengths().tolist()) for k in range(1, n) for j in range(k)]
    pairs = Pairs(*np.array(every, np.int64).reshape(-1, 3).T)
    law: Law = defaultdict(float)
    for (s, j, k), log_prob in zip(every, policy.log_prob(view, pairs), strict=True):
        law[s, max(j, k - max_length), k] += math.exp(log_prob)
    return {address: p for address, p in law.items() if p > 0}


def targets_of(stream: WindowStream, indices: np.ndarray) -> list[dict[tuple[int, int, int], float]]:
    """The weighted targets of each example: sequence, first item that is seen, target."""
    windows = stream.windows(0, indices)
    (sequence, start, last), _, _, example = windows
    weight = dense_weights(windows)
    assert weight.shape[1] <= stream.max_length and np.all(last - start <= stream.max_length)
    assert not weight[np.arange(weight.shape[1]) >= (last - start)[:, None]].any()
    assert weight.any(axis=1).all(), "a window without a target"
    examples: list[dict[tuple[int, int, int], float]] = [{} for _ in indices]
    for s, j, row, e in zip(sequence.tolist(), start.tolist(), weight, example.tolist(), strict=True):
        for i in np.flatnonzero(row).tolist():
            assert (s, j, j + 1 + i) not in examples[e]
            examples[e][s, j, j + 1 + i] = float(row[i])
    return examples


@settings(deadline=None)
@given(LENGTHS, st.sampled_from(["last_target", "multi_target", "slide_window"]), st.integers(1, 11))
def test_a_pass_over_the_windows_is_the_law_of_an_enumerated_strategy(
    lengths: list[int], strategy: str, max_length: int
) -> None:
    view, policy = view_of(lengths), SamplingPolicy.named(strategy)
    stream = window_stream(view, policy, max_length=max_length, seed=3)
    windows = targets_of(stream, np.arange(stream.size))
    trained: Law = defaultdict(float)
    for window in windows:
        for address, weight in window.items():
            trained[address] += weight
    expected = law_of_single_pairs(view, policy, max_length)
    assert len({next(iter(window))[:2] for window in windows}) == len(windows), "a window came twice"
    assert sum(map(len, windows)) == len(expected) == stream.pairs_per_epoch
    assert {a: w / len(windows) for a, w in trained.items()} == pytest.approx(expected, rel=1e-6)


SAMPLED = POLICY.filter(lambda policy: policy.strategy == "sampled")


@settings(deadline=None)
@given(LENGTHS, SAMPLED, st.integers(1, 11))
def test_the_chains_have_the_law_of_single_pairs(lengths: list[int], policy: SamplingPolicy, max_length: int) -> None:
    """Closed form on both sides: every target as often and from every start as often."""
    view = view_of(lengths)
    trained: Law = defaultdict(float)
    for (s, start, first, last), count in segments(view, policy, max_length).items():
        for k in range(first, last + 1):
            trained[s, max(start, k - max_length), k] += count
    stream = window_stream(view, policy, max_length=max_length, seed=3)
    law = {
        address: p * stream.targets_per_example for address, p in law_of_single_pairs(view, policy, max_length).items()
    }
    assert trained == pytest.approx({**dict.fromkeys(trained, 0.0), **law}, rel=1e-6, abs=1e-12)


@settings(deadline=None)
@given(LENGTHS, SAMPLED, st.integers(1, 11), st.integers(1, 60), st.integers(0, 2**64 - 1))
def test_every_target_is_trained_as_often_as_expected(
    lengths: list[int], policy: SamplingPolicy, max_length: int, pairs_per_epoch: int, seed: int
) -> None:
    view = view_of(lengths)
    stream = window_stream(view, policy, max_length=max_length, seed=seed, pairs_per_epoch=pairs_per_epoch)
    counted: Counter[tuple[int, int]] = Counter()
    for example in targets_of(stream, np.arange(stream.size)):
        assert example
        assert len({k for _, _, k in example}) == len(example) <= max_length
        assert set(example.values()) == {np.float32(1 / stream.targets_per_example)}
        counted.update((s, k) for s, _, k in example)
    expected: dict[tuple[int, int], float] = defaultdict(float)
    for (s, _, k), p in law_of_single_pairs(view, policy, max_length).items():
        expected[s, k] += p * stream.size * stream.targets_per_example
    assert counted.keys() <= expected.keys()
    for cell, count in expected.items():
        assert abs(counted[cell] - count) < 2  # one for the visits of the block, one for the threshold


@settings(deadline=None)
@given(LENGTHS, EXPONENT, st.integers(1, 11), st.integers(1, 3))
def test_a_pass_trains_each_target_once(lengths: list[int], gamma: float, max_length: int, passes: int) -> None:
    view = view_of(lengths)
    stream = window_stream(
        view, SamplingPolicy(1, 0, gamma), max_length=max_length, seed=9, pairs_per_epoch=passes * view.n_pairs
    )
    trained = Counter((s, k) for example in targets_of(stream, np.arange(stream.size)) for s, _, k in example)
    assert trained == {(s, k): passes for s, n in enumerate(lengths) for k in range(1, n)}


def test_a_pass_of_whole_histories_is_that_of_multi_target() -> None:
    view = view_of([2, 5, 9, 9, 3, 30])
    for max_length in (3, 50):
        drawn, enumerated = (
            window_stream(view, policy, max_length=max_length, seed=1)
            for policy in (SamplingPolicy(1, 0, -math.inf), SamplingPolicy.named("multi_target"))
        )
        one, other = (
            {address for example in targets_of(stream, np.arange(stream.size)) for address in example}
            for stream in (drawn, enumerated)
        )
        assert one == other


@pytest.mark.parametrize("exponents", [(1, 0, 0), (1, 0, 1.5), (2, 1, -0.5), (0, -0.5, 0.7), (1, 0, math.inf)])
@pytest.mark.parametrize("max_length", [3, 50])
def test_segments_are_drawn_as_often_as_the_law_says(exponents: tuple[float, float, float], max_length: int) -> None:
    view, policy, n = view_of([2, 5, 9, 9, 3]), SamplingPolicy(*exponents), 30_000
    law: Law = defaultdict(float)
    for (s, start, first, last), count in segments(view, policy, max_length).items():
        for k in range(first, last + 1):
            law[s, max(start, k - max_length), k] += count
    stream = window_stream(view, policy, max_length=max_length, seed=11)
    stream = window_stream(
        view, policy, max_length=max_length, seed=11, pairs_per_epoch=round(n * stream.targets_per_example)
    )
    drawn = Counter(address for example in targets_of(stream, np.arange(stream.size)) for address in example)
    assert set(drawn) <= set(law)
    starts: dict[tuple[int, int], list[tuple[int, float]]] = defaultdict(list)
    for address, count in law.items():
        starts[address[0], address[2]].append((drawn[address], count))
    checked = 0
    for cells in starts.values():
        # Different visits are independent, so the starts of one target are as far from their law as chance has it.
        seen, expected = np.array(cells).T
        if len(seen) > 1 and seen.sum() > 200:
            checked += 1
            kept = expected * seen.sum() / expected.sum() > 5
            seen, expected = (np.append(part[kept], part[~kept].sum()) for part in (seen, expected))
            if expected[-1] == 0:
                seen, expected = seen[:-1], expected[:-1]
            assert 1e-5 < stats.chisquare(seen, expected * seen.sum() / expected.sum()).pvalue < 1 - 1e-5
    assert checked or exponents[2] == math.inf


@settings(deadline=None)
@given(LENGTHS, POLICY, st.integers(1, 11), st.integers(1, 40))
def test_a_window_depends_on_seed_epoch_and_index_alone(
    lengths: list[int], policy: SamplingPolicy, max_length: int, pairs_per_epoch: int
) -> None:
    streams = [
        window_stream(
            view_of(lengths), policy, max_length=max_length, seed=5, pairs_per_epoch=pairs_per_epoch, backend=backend
        )
        for backend in ("numpy", "numba")
    ]
    streams.append(pickle.loads(pickle.dumps(streams[0])))
    index = np.arange(streams[0].size)
    whole = targets_of(streams[0], index)
    assert targets_of(streams[1], index) == whole == targets_of(streams[2], index)
    assert [targets_of(streams[0], index[i : i + 1])[0] for i in index] == whole


def test_a_pickled_stream_holds_no_tables(tmp_path: Path) -> None:
    view_of([5] * 20_000).store.save(tmp_path / "store")
    view = SequenceStore.open(tmp_path / "store").view()
    stream = window_stream(view, SamplingPolicy(1, 0, 0), max_length=9, seed=1)
    assert len(pickle.dumps(stream)) < 2_000 < stream.tables.visits.order.nbytes


def test_an_epoch_has_the_expected_number_of_targets() -> None:
    view, policy = view_of([2, 5, 9, 9, 3]), SamplingPolicy(1, 0, 0)
    stream = window_stream(view, policy, max_length=4, seed=1, pairs_per_epoch=200_000)
    windows = stream.windows(0, np.arange(stream.size))
    assert len(windows.weights) == pytest.approx(200_000, abs=50)
    assert window_stream(view, policy, max_length=4, seed=1).pairs_per_epoch == view.n_pairs


@pytest.mark.parametrize("exponents", [(1, 0, 0), (2, 1, 0), (0, -1.5, math.inf), (0, math.inf, 0), (3, -math.inf, 0)])
@pytest.mark.parametrize("pairs_per_epoch", [1, 1000, 2**50])
def test_a_long_sequence_and_epochs_of_any_size(exponents: tuple[float, float, float], pairs_per_epoch: int) -> None:
    view = SequenceStore.from_arrays(np.ones(1_003_000, np.int32), [*range(0, 3_001, 3), 1_003_000]).view()
    policy = SamplingPolicy(*exponents)
    stream = window_stream(view, policy, max_length=20, seed=1, pairs_per_epoch=pairs_per_epoch)
    (sequence, start, last), first, weights, example = stream.windows(3, np.arange(min(100, stream.size)))
    assert np.isfinite(policy.log_prob(view, Pairs(sequence, start, last))).all() or exponents[2] in (0, math.inf)
    assert (last < view.lengths(sequence)).all() and (first <= last).all() and (weights > 0).all()
    assert np.array_equal(np.unique(example), np.arange(min(100, stream.size)))


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_one_sequence_of_ten_million_items(backend: str) -> None:
    n = 10_000_000
    view = SequenceStore.from_arrays(np.ones(n, np.int32), [0, n]).view()
    stream = window_stream(view, SamplingPolicy(1, 0, 0), max_length=50, seed=1, backend=backend)
    assert (stream.size, stream.pairs_per_epoch) == (-(-(n - 1) // 50), n - 1)
    pairs, first, _, example = stream.windows(0, np.arange(0, stream.size, stream.size // 40))
    trained = spans(first, pairs.target + 1 - first)
    blocks = np.unique((trained - 1) // 50, return_counts=True)
    assert len(np.unique(trained)) == len(trained)
    assert len(blocks[0]) == example[-1] + 1 and set(blocks[1].tolist()) <= {49, 50}


def test_a_window_reads_what_a_pair_of_its_last_target_reads() -> None:
    view, policy = view_of([9, 4]), SamplingPolicy.named("multi_target")
    stream = window_stream(view, policy, max_length=50, seed=1)
    assert stream.size == 2
    assert sorted(stream.windows(0, [0, 1]).pairs.target.tolist()) == [3, 8]
    assert pair_stream(view, policy, seed=1).pairs_per_epoch == stream.pairs_per_epoch == 11


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"max_length": 0}, "max_length"),
        ({"seed": -1}, "seed"),
        ({"pairs_per_epoch": 0}, "pairs_per_epoch"),
        ({"backend": "cuda"}, "cuda"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], words: str) -> None:
    given_ = {"max_length": 5, "seed": 0, **arguments}
    with pytest.raises(InputError, match=words):
        window_stream(view_of([3]), SamplingPolicy(1, 0, 0), **given_)  # type: ignore[arg-type]
