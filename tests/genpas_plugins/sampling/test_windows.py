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
from genpas_plugins.sampling.stream import window_stream
from genpas_plugins.sampling.windows import WindowStream

Law = dict[tuple[int, int, int], float]

LENGTHS = st.lists(st.integers(0, 9), min_size=1, max_size=5).filter(lambda lengths: max(lengths) > 1)
EXPONENT = st.one_of(st.floats(-3, 3), st.sampled_from([0.0, 1.0, math.inf, -math.inf]))
POLICY = st.one_of(
    st.builds(SamplingPolicy, st.floats(-3, 3), EXPONENT, EXPONENT),
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
    """The weighted targets of each window."""
    (sequence, start, last), weight = stream.windows(0, indices)
    assert weight.shape[1] <= stream.max_length and np.all(last - start <= stream.max_length)
    assert not weight[np.arange(weight.shape[1]) >= (last - start)[:, None]].any()
    return [
        {(int(s), int(j), int(j) + 1 + i): float(w) for i, w in enumerate(row) if w > 0}
        for s, j, row in zip(sequence, start, weight, strict=True)
    ]


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


@settings(deadline=None)
@given(LENGTHS, POLICY.filter(lambda policy: policy.strategy == "sampled"), st.integers(1, 11))
def test_a_drawn_window_weighs_its_targets_by_their_probability_given_the_window(
    lengths: list[int], policy: SamplingPolicy, max_length: int
) -> None:
    view = view_of(lengths)
    stream = window_stream(view, policy, max_length=max_length, seed=3)
    law = law_of_single_pairs(view, policy, max_length)
    marginal: dict[tuple[int, int], float] = defaultdict(float)
    for (s, j, _), p in law.items():
        marginal[s, j] += p
    for window in targets_of(stream, np.arange(min(64, stream.size))):
        s, j, _ = next(iter(window))
        given_window = {a: p / marginal[s, j] for a, p in law.items() if a[:2] == (s, j)}
        likely = {a: p for a, p in given_window.items() if p > 1e-30}
        assert {a: w for a, w in window.items() if a in likely} == pytest.approx(likely, rel=1e-5, abs=1e-30)


@pytest.mark.parametrize("exponents", [(1, 0, 0), (2, 1, 0), (1, 0, -math.inf), (0, -0.5, 0.7), (1, 0, math.inf)])
@pytest.mark.parametrize("max_length", [3, 50])
def test_windows_are_drawn_as_often_as_pairs_begin_them(exponents: tuple[float, float, float], max_length: int) -> None:
    view, policy, n = view_of([2, 5, 9, 9, 3]), SamplingPolicy(*exponents), 40_000
    stream = window_stream(view, policy, max_length=max_length, seed=11, pairs_per_epoch=10 * n)
    (sequence, start, _), _ = stream.windows(2, np.arange(n))
    drawn = Counter(zip(sequence.tolist(), start.tolist(), strict=True))
    marginal: dict[tuple[int, int], float] = defaultdict(float)
    for (s, j, _), p in law_of_single_pairs(view, policy, max_length).items():
        marginal[s, j] += p
    assert set(drawn) <= set(marginal)
    cells = list(marginal)
    assert stats.chisquare([drawn[c] for c in cells], [n * marginal[c] for c in cells]).pvalue > 1e-4


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
    assert len(pickle.dumps(stream)) < 2_000 < stream.tables.order.nbytes


def test_the_mean_number_of_targets_is_that_of_the_windows() -> None:
    view, policy = view_of([2, 5, 9, 9, 3]), SamplingPolicy(1, 0, 0)
    stream = window_stream(view, policy, max_length=4, seed=1, pairs_per_epoch=200_000)
    windows = stream.windows(0, np.arange(stream.size))
    assert np.count_nonzero(windows.weight) == pytest.approx(200_000, rel=0.02)
    assert window_stream(view, policy, max_length=4, seed=1).pairs_per_epoch == view.n_pairs


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
