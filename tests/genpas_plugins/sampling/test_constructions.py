"""Every construction against its source's rule, written out pair by pair."""

from __future__ import annotations

import itertools
import math
import pickle
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from genpas_plugins import InputError, Pairs, SequenceStore, SequenceView
from genpas_plugins.analysis.histograms import history_lengths, target_positions
from genpas_plugins.analysis.target_distribution import target_distribution
from genpas_plugins.sampling.constructions import CONSTRUCTIONS, Construction, construction_of
from genpas_plugins.sampling.enumeration import PairEnumeration
from genpas_plugins.sampling.policy import EXPONENTS, SamplingPolicy, named_policy
from genpas_plugins.sampling.stream import pair_stream, window_stream

Law = dict[tuple[int, int, int], float]
"""Weight of each start, position after the history, and target of a sequence."""

NUMBERS = {
    "exponential_recency": ["decay=0.8", "decay=0.01"],
    "fixed_windows": ["width=2", "width=4"],
    "fixed_windows_and_full": ["width=2", "width=4", "width=12"],
    "future_window": ["items=1", "items=3", "items=30"],
    "grid_windows": ["users=1", "users=3"],
    "last_items": ["length=1", "length=4", "length=50"],
    "last_targets": ["candidates=1", "candidates=3"],
    "oldest_items": ["length=4:candidates=1", "length=4:candidates=9", "length=5:candidates=2"],
    "random_window": ["length=4", "length=6", "length=20"],
    "stochastic_length": ["length=2", "length=5"],
    "strided_windows": ["width=2:stride=1", "width=4:stride=2", "width=3:stride=5", "width=9:stride=2"],
    "windows_from_end": ["width=2:stride=1", "width=4:stride=2", "width=3:stride=5", "width=9:stride=4"],
}
LABELS = [f"{name}:{numbers}" if numbers else name for name in CONSTRUCTIONS for numbers in NUMBERS.get(name, [""])]
WINDOWED = [label for label in LABELS if not construction_of(label).ahead]
LENGTHS = [2, 3, 5, 9, 9, 14, 1, 0, 6]


def next_items(items: list[int]) -> list[tuple[int, int, int]]:
    """Every item after the first as a target of the items before it."""
    return [(items[0], k, k) for k in items[1:]]


def last_item(items: list[int]) -> list[tuple[int, int, int]]:
    return [(items[0], items[-1], items[-1])]


def fixed(n: int, width: int) -> list[tuple[int, int, int]]:
    items = list(range(n))
    windows = [items] if n <= width else [items[i : i + width] for i in range(n - width + 1)]
    return [pair for window in windows for pair in last_item(window)]


def from_end(n: int, width: int, stride: int) -> list[tuple[int, int, int]]:
    pairs, offset = [], n - width
    while offset > 0:
        pairs += next_items(list(range(n))[offset : offset + width])
        offset -= stride
    return pairs + next_items(list(range(n))[:width])


def random_windows(n: int, length: int) -> list[tuple[int, int, int]]:
    return [
        pair
        for start in range(max(0, n - 5) + 1)
        for end in range(start + 5, start + length + 1 + 1)
        for pair in last_item(list(range(n))[start:end])
    ]


def stochastic(n: int, length: int) -> Law:
    law: Law = Counter()
    for read, p in [(n, 1.0)] if n <= length else [(n, (length / n) ** 2), (length, 1 - (length / n) ** 2)]:
        for pair in next_items(list(range(n))[-read:]):
            law[pair] += p
    return law


RULES: dict[str, Callable[[int, Construction], object]] = {
    "exponential_recency": lambda n, c: {
        (0, k, k): c.decay ** (n - 1 - k) for k in range(1, n) if c.decay ** (n - 1 - k) > 2**-64
    },
    "fixed_windows": lambda n, c: fixed(n, c.width),
    "fixed_windows_and_full": lambda n, c: fixed(n, c.width) + last_item(list(range(n))),
    "future_window": lambda n, c: [(0, k, t) for k in range(1, n) for t in list(range(n))[k : k + c.items]],
    "grid_windows": lambda n, c: [(j, k, k) for k in range(1, n) for j in range(k)],
    "last_items": lambda n, c: next_items(list(range(n))[-(c.length + 1) :]),
    "last_target": lambda n, c: last_item(list(range(n))),
    "last_targets": lambda n, c: next_items(list(range(n)))[-c.candidates :],
    "multi_target": lambda n, c: next_items(list(range(n))),
    "oldest_items": lambda n, c: next_items(list(range(n))[: c.length + 1])[-c.candidates :],
    "prefix_with_empty": lambda n, c: [(0, k, k) for k in range(n)],
    "random_window": lambda n, c: random_windows(n, c.length),
    "slide_window": lambda n, c: [(j, k, k) for k in range(1, n) for j in range(k)],
    "stochastic_length": lambda n, c: stochastic(n, c.length),
    "strided_windows": lambda n, c: [
        pair
        for window in range(max(n - c.width, 0) // c.stride + 1)
        for pair in next_items(list(range(n))[window * c.stride : window * c.stride + c.width])
    ],
    "suffix": lambda n, c: [pair for j in range(n - 1) for pair in last_item(list(range(j, n)))],
    "windows_from_end": lambda n, c: from_end(n, c.width, c.stride),
}
UNIFORM_USERS = ("exponential_recency", "random_window")


def view_of(lengths: list[int]) -> SequenceView:
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return SequenceStore.from_arrays(np.arange(offsets[-1]) % 17 + 1, offsets, n_items=20).view()


def rule(construction: Construction, n: int) -> Law:
    told = RULES[construction.name](n, construction)
    return dict(told) if isinstance(told, dict) else Counter(told)


def law_of(construction: Construction, lengths: list[int]) -> dict[tuple[int, int, int, int], float]:
    """Probability of every (sequence, start, position after the history, target) by the source's rule."""
    rules = {s: rule(construction, n) for s, n in enumerate(lengths) if n > 1}
    mass = {s: math.fsum(law.values()) for s, law in rules.items()}
    share = dict(mass)
    if construction.name in UNIFORM_USERS:
        share = dict.fromkeys(rules, 1.0)
    if construction.name == "grid_windows":
        batches = itertools.product(rules, repeat=construction.users - 1)
        others = [sum(mass[s] for s in batch) for batch in batches]
        share = {s: math.fsum(mass[s] / (mass[s] + other) for other in others) for s in rules}
    total = math.fsum(share.values())
    return {(s, *pair): share[s] / total * w / mass[s] for s, law in rules.items() for pair, w in law.items()}


def addresses(stream, epoch: int, indices: np.ndarray) -> list[tuple[int, int, int, int]]:
    pairs, batch = stream.pairs(epoch, indices), stream.batch(epoch, indices, 1000)
    stop = pairs.start + batch.histories.lengths - (pairs.start == pairs.target)  # an empty history is one padding
    return list(zip(*(part.tolist() for part in (pairs.sequence, pairs.start, stop, pairs.target)), strict=True))


def test_every_construction_has_its_rule_here():
    assert set(RULES) == set(CONSTRUCTIONS)
    assert len(CONSTRUCTIONS) >= 12


@pytest.mark.parametrize("label", LABELS)
def test_an_epoch_has_the_law_of_the_rule(label: str, backend: str):
    construction, view = construction_of(label), view_of(LENGTHS)
    law = law_of(construction, LENGTHS)
    stream = pair_stream(view, named_policy(label), seed=5, backend=backend)
    if construction.drawn:
        stream = pair_stream(view, named_policy(label), seed=5, backend=backend, pairs_per_epoch=20_000)
    drawn = Counter(addresses(stream, 1, np.arange(stream.size)))
    if not construction.drawn:
        assert drawn == {pair: pytest.approx(p * stream.size) for pair, p in law.items()}
        return
    assert set(drawn) <= set(law)
    # Evenly spaced quantiles: every pair as often as expected, give or take a few.
    for pair, p in law.items():
        assert abs(drawn[pair] - p * stream.size) <= 2 + 1e-6 * stream.size


@pytest.mark.parametrize(
    "label", ["exponential_recency", "grid_windows:users=3", "random_window", "stochastic_length:length=5"]
)
def test_draws_of_many_epochs_have_the_law_of_the_rule(label: str):
    law = law_of(construction_of(label), LENGTHS)
    stream = pair_stream(view_of(LENGTHS), named_policy(label), seed=3, pairs_per_epoch=1, backend="numpy")
    # One pair an epoch: the epochs are independent, so chance alone keeps them from the law.
    drawn = Counter(addresses(stream, epoch, np.arange(1))[0] for epoch in range(400))
    likely = {pair: p for pair, p in law.items() if p * 400 > 5}
    seen = np.array([*(drawn[pair] for pair in likely), 400 - sum(drawn[pair] for pair in likely)])
    expected = np.array([*(p * 400 for p in likely.values()), 400 - 400 * sum(likely.values())])
    kept = expected > 5
    assert stats.chisquare(seen[kept], expected[kept] * seen[kept].sum() / expected[kept].sum()).pvalue > 1e-4


def chi_square(drawn: np.ndarray, law: np.ndarray) -> float:
    """p of counts of pairs under a law, [n] both; pairs that are expected less than 5 times count as one."""
    expected = law * drawn.sum() / law.sum()
    rare = expected < 5
    seen, expected = (np.append(part[~rare], part[rare].sum()) for part in (drawn, expected))
    kept = expected > 0
    return float(stats.chisquare(seen[kept], expected[kept]).pvalue)


@pytest.mark.parametrize("name", CONSTRUCTIONS)
def test_a_million_draws_fit_the_rule(name: str):
    label = f"{name}:{NUMBERS[name][-2]}" if name in NUMBERS else name
    expected = np.zeros(20**3)
    for (s, j, _, k), p in law_of(construction_of(label), LENGTHS).items():
        expected[(s * 20 + j) * 20 + k] += p
    # A thousand sequences of each kind: a pass over a few pairs a thousand times would take minutes.
    stream = pair_stream(view_of(LENGTHS * 1000), named_policy(label), seed=5, pairs_per_epoch=10**6)
    sequence, start, target = stream.pairs(0, np.arange(10**6))
    drawn = np.bincount((sequence % len(LENGTHS) * 20 + start) * 20 + target, minlength=20**3)
    assert not drawn[expected == 0].any()
    assert chi_square(drawn, expected) > 0.01
    expected[expected.argmax()] *= 1.3  # a pair that comes too seldom is seen
    assert chi_square(drawn, expected) < 0.01


@pytest.mark.parametrize("label", LABELS)
def test_the_closed_form_is_the_rule(label: str):
    policy, view = named_policy(label), view_of(LENGTHS)
    law = law_of(construction_of(label), LENGTHS)
    shift = 1 if isinstance(policy, SamplingPolicy) else 0  # exponents have no empty history
    every = [(s, j, k) for s, n in enumerate(LENGTHS) if n > 1 for k in range(n) for j in range(k + 1 - shift)]
    log_prob = policy.log_prob(view, Pairs(*np.array(every).T))
    expected: Counter[tuple[int, int, int]] = Counter()
    items, positions, lengths = np.zeros(21), Counter(), np.zeros(view.max_length)
    for (s, j, stop, k), p in law.items():
        expected[s, j, k] += p
        items[view.store.values[view.store.offsets[s] + k]] += p
        positions[LENGTHS[s] - 1 - k] += p
        lengths[stop - j] += p
    assert {a: math.exp(x) for a, x in zip(every, log_prob, strict=True) if x > -np.inf} == pytest.approx(
        {a: p for a, p in expected.items() if p > 0}, rel=1e-9
    )
    assert target_distribution(view, policy) == pytest.approx(items, rel=1e-9)
    assert dict(enumerate(target_positions(view, policy).from_end)) == pytest.approx(
        {k: positions[k] for k in range(view.max_length)}, abs=1e-12
    )
    assert history_lengths(view, policy) == pytest.approx(lengths, abs=1e-12)
    for limit in (None, 1, 3):
        mean = math.fsum(p * min(stop - j, limit or 99) for (_, j, stop, _), p in law.items())
        assert policy.expected_history_length(view, limit) == pytest.approx(mean)


@pytest.mark.parametrize("limit", [1, 3, 4, 7, 30])
@pytest.mark.parametrize("label", WINDOWED)
def test_a_pass_over_the_windows_is_the_rule(label: str, limit: int):
    view = view_of(LENGTHS)
    stream = window_stream(view, named_policy(label), max_length=limit, seed=3)
    (sequence, start, last), first, weights, _ = stream.windows(0, np.arange(stream.size))
    windows = list(zip(sequence.tolist(), start.tolist(), first.tolist(), last.tolist(), strict=True))
    assert all(j < a <= b <= j + limit for _, j, a, b in windows) and (weights > 0).all()
    read = [(s, j, k) for s, j, a, b in windows for k in range(a, b + 1)]
    assert len(set(read)) == len(read), "a target came twice"
    trained = dict(zip(read, (weights / stream.size).tolist(), strict=True))
    expected: Counter[tuple[int, int, int]] = Counter()
    for (s, j, _, k), p in law_of(construction_of(label), LENGTHS).items():
        expected[s, max(j, k - limit), k] += p
    assert trained == pytest.approx({a: p for a, p in expected.items() if p > 1e-40}, rel=1e-6)
    assert len(trained) == stream.pairs_per_epoch


@pytest.mark.parametrize("label", LABELS)
def test_a_pair_depends_on_seed_epoch_and_index_alone(label: str):
    view, policy = view_of(LENGTHS), named_policy(label)
    streams = [pair_stream(view, policy, seed=8, pairs_per_epoch=37, backend=b) for b in ("numpy", "numba")]
    streams.append(pickle.loads(pickle.dumps(streams[0])))
    index = np.random.default_rng(1).permutation(37)
    whole = addresses(streams[0], 2, index)
    assert whole == addresses(streams[1], 2, index) == addresses(streams[2], 2, index)
    assert whole == [addresses(streams[0], 2, index[i : i + 1])[0] for i in range(37)]
    assert addresses(streams[0], 3, index) != whole or len(set(whole)) < 8


@pytest.mark.parametrize("label", LABELS)
def test_a_long_sequence_is_computed_by_its_length_alone(label: str, backend: str):
    lengths = [3, 1_500_000, 40]
    view = SequenceStore.from_arrays(np.ones(sum(lengths), np.int32), np.cumsum([0, *lengths])).view()
    stream = pair_stream(view, named_policy(label), seed=1, backend=backend)
    pairs = stream.pairs(0, np.unique(np.linspace(0, stream.size - 1, 200).astype(np.int64)))
    assert (pairs.start >= 0).all() and (pairs.start <= pairs.target).all()
    assert (pairs.target < np.array(lengths)[pairs.sequence]).all()
    assert np.isfinite(named_policy(label).log_prob(view, pairs)).all()


@pytest.mark.parametrize("name", EXPONENTS)
def test_exponents_near_to_a_construction(name: str):
    view = view_of(LENGTHS)
    near = SamplingPolicy(*EXPONENTS[name])
    law = law_of(construction_of(name), LENGTHS)
    pairs = Pairs(*np.array([(s, j, k) for s, j, _, k in law]).T)
    same = np.allclose(np.exp(near.log_prob(view, pairs)), list(law.values()))
    assert same == (name != "slide_window")


def test_labels_are_read_back():
    for label in LABELS:
        construction = construction_of(label)
        assert construction_of(construction.label) == construction
        assert hash(construction) == hash(construction_of(label))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sufix", "Did you mean 'suffix'"),
        ("suffix:length=3", "suffix has no number 'length'"),
        ("last_items:length", "Write it as last_items:length=50"),
        ("last_items:length=x", "length must be a number, not 'x'"),
        ("last_items:length=0", "length must be a whole number from 1"),
        ("last_items:length=1.5", "length must be a whole number"),
        ("fixed_windows:width=1", "width must be a whole number from 2"),
        ("strided_windows:width=1", "width must be a whole number from 2"),
        ("exponential_recency:decay=1", "decay must be a number between 0 and 1"),
    ],
)
def test_a_name_that_cannot_be_meant_is_refused(text: str, words: str):
    with pytest.raises(InputError, match=words):
        construction_of(text)


@pytest.mark.parametrize("name", ["future_window", "prefix_with_empty"])
def test_pairs_that_no_window_trains_are_refused(name: str):
    with pytest.raises(InputError, match="Set targets: single"):
        window_stream(view_of(LENGTHS), named_policy(name), max_length=5, seed=1)


def test_the_stream_of_a_construction_is_chosen_by_its_name():
    assert isinstance(pair_stream(view_of(LENGTHS), named_policy("suffix"), seed=1), PairEnumeration)
    assert pair_stream(view_of(LENGTHS), named_policy("grid_windows"), seed=1).draws == 2


@pytest.mark.parametrize("targets", ["single", "parallel"])
@pytest.mark.parametrize("label", LABELS)
def test_tensors_have_the_bits_of_arrays(label: str, targets: str):
    device_stream = pytest.importorskip("genpas_plugins.neural.device.device_stream")
    view, policy, construction = view_of(LENGTHS), named_policy(label), construction_of(label)
    if targets == "parallel" and not construction.ahead:
        stream = window_stream(view, policy, max_length=4, seed=3)
        assert device_stream.has_twin(stream) == construction.in_torch
    else:
        stream = pair_stream(view, policy, seed=3)
        assert device_stream.has_twin(stream) == (not construction.drawn and not construction.ahead)
    if device_stream.has_twin(stream):
        index = np.arange(stream.size)
        twin, batch = device_stream.DeviceStream.of(stream).batch(1, index, 4), stream.batch(1, index, 4)
        assert twin.targets.rows.tolist() == batch.targets.rows.tolist()
        assert twin.weights.tolist() == batch.weights.tolist()
        assert twin.histories.lengths.tolist() == batch.histories.lengths.tolist()
