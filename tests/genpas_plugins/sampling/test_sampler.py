import math
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from genpas_plugins import InputError, PairSampler, SamplingPolicy, SequenceStore
from genpas_plugins.data.lengths import LengthGroups
from genpas_plugins.sampling.random_stream import EpochWords
from genpas_plugins.sampling.sampler import DrawTables, counted, draw_pairs, draw_visits, located

INF = math.inf
DRAWS = 200_000
POLICIES = [
    (0, 0, 0),
    (1, 0, 0),
    (2, 1, 0),
    (-1, 0.5, -2),
    (1.5, -1, 2),
    (0, 3, -3),
    (INF, 0, 1),
    (-INF, 1, -1),
    (0, INF, 0),
    (1, -INF, 1),
    (1, 0, INF),
    (1, 0, -INF),
    (0, INF, -INF),
    (INF, INF, INF),
    (-INF, -INF, -INF),
]


def frequencies(view, exponents, backend="numpy", seed=11) -> Counter:
    pairs = PairSampler(view, SamplingPolicy(*exponents), seed, DRAWS, backend).pairs(0, np.arange(DRAWS))
    return Counter(zip(*(address.tolist() for address in pairs), strict=True))


def targets_beside_the_paper(view, paper, exponents, drawn: Counter) -> tuple[dict, dict]:
    """Return expected and drawn counts of every sequence and of every (sequence, target)."""
    expected, counted = Counter(), Counter()
    for table, other, factor in ((paper(view.lengths().tolist(), *exponents), expected, DRAWS), (drawn, counted, 1)):
        for (sequence, _, target), p in table.items():
            other[sequence,] += p * factor
            other[sequence, target] += p * factor
    return expected, counted


@pytest.mark.parametrize("exponents", POLICIES, ids=str)
def test_frequencies_agree_with_the_paper(medium, exponents, backend, paper, p_value):
    view = medium.leave_last_out().train
    drawn = frequencies(view, exponents, backend)
    assert p_value(drawn, paper(view.lengths().tolist(), *exponents)) > 1e-6
    expected, counted = targets_beside_the_paper(view, paper, exponents, drawn)
    assert counted.keys() <= expected.keys()
    for cell, count in expected.items():
        # A sequence comes as often as expected, give or take one visit, and so does a target of these visits.
        assert abs(counted[cell] - count) < len(cell) + 1e-6


@pytest.mark.parametrize("exponents", [(0, 0, 0), (2, 1, 0), (-1, 0.5, -2), (1, 0, INF)], ids=str)
def test_the_first_draw_of_many_epochs_has_the_distribution_of_the_paper(medium, exponents, paper, p_value):
    """Draws of different epochs are independent, so they are as far from the expectation as chance has it."""
    view, places = medium.leave_last_out().train, Counter()
    for (_, start, target), p in paper(view.lengths().tolist(), *exponents).items():
        places[start, target] += p
    stream = PairSampler(view, SamplingPolicy(*exponents), 3, 77, "numpy")
    drawn = [stream.pairs(epoch, [5]) for epoch in range(2_000)]
    assert 1e-6 < p_value(Counter((int(j[0]), int(k[0])) for _, j, k in drawn), places) < 1 - 1e-6


@given(
    lengths=st.lists(st.integers(2, 30), min_size=1, max_size=20),
    gamma=st.sampled_from([-INF, -1.0, 0.0, 2.0, INF]),
    passes=st.integers(1, 3),
    seed=st.integers(0, 2**64 - 1),
)
def test_an_epoch_of_all_pairs_has_each_of_them_once(lengths, gamma, passes, seed):
    view = SequenceStore.from_arrays(np.ones(sum(lengths), int), np.cumsum([0, *lengths])).view()
    stream = PairSampler(view, SamplingPolicy(1, 0, gamma), seed, passes * view.n_pairs, "numpy")
    pairs = stream.pairs(4, np.arange(stream.size))
    drawn = Counter(zip(pairs.sequence.tolist(), pairs.target.tolist(), strict=True))
    assert drawn == {(s, k): passes for s, n in enumerate(lengths) for k in range(1, n)}


@given(
    lengths=st.lists(st.integers(2, 30), min_size=1, max_size=20),
    exponents=st.tuples(st.floats(-4, 4), st.floats(-4, 4)),
    size=st.integers(1, 300),
    seed=st.integers(0, 2**64 - 1),
)
def test_sequences_and_their_targets_come_as_often_as_expected(lengths, exponents, size, seed):
    view = SequenceStore.from_arrays(np.ones(sum(lengths), int), np.cumsum([0, *lengths])).view()
    policy = SamplingPolicy(*exponents, 0)
    pairs = PairSampler(view, policy, seed, size, "numpy").pairs(1, np.arange(size))
    visits = np.bincount(pairs.sequence, minlength=len(lengths))
    expected = policy.sequence_mass(view)[np.searchsorted(view.groups.length, lengths)] / np.bincount(lengths)[lengths]
    assert np.all(np.abs(visits - size * expected) < 1 + 1e-6)
    for s, n in enumerate(lengths):
        places = np.arange(1, n, dtype=float) ** policy.beta
        count = np.bincount(pairs.target[pairs.sequence == s], minlength=n)[1:]
        assert np.all(np.abs(count - visits[s] * places / places.sum()) < 1 + 1e-6)


def test_users_of_one_length_have_targets_at_different_quantiles():
    """An offset that all sequences share would train the same target of all of them."""
    view = SequenceStore.from_arrays(np.ones(5_000, int), np.arange(0, 5_001, 50)).view()
    pairs = PairSampler(view, SamplingPolicy(0, 0, 0), 1, 100).pairs(0, np.arange(100))
    assert len(set(pairs.sequence.tolist())) == 100
    assert len(set(pairs.target.tolist())) > 30


@pytest.mark.parametrize("exponents", [e for e in POLICIES if any(map(math.isinf, e))], ids=str)
def test_infinite_exponents_draw_their_support_and_nothing_else(medium, exponents, paper):
    view = medium.leave_last_out().train
    expected = paper(view.lengths().tolist(), *exponents)
    drawn = frequencies(view, exponents)
    assert drawn.keys() <= expected.keys()
    assert drawn.keys() >= {pair for pair, p in expected.items() if DRAWS * p > 30}


@pytest.mark.parametrize("wrong", [(1.1, 0, 0), (0.9, 0, 0), (1, 0.05, 0), (1, -0.05, 0)])
def test_the_counts_notice_a_slightly_wrong_exponent(medium, wrong, paper):
    view = medium.leave_last_out().train
    expected, counted = targets_beside_the_paper(view, paper, wrong, frequencies(view, (1, 0, 0)))
    assert max(abs(counted[cell] - count) for cell, count in expected.items()) > 20


@pytest.mark.parametrize("wrong", [(1, 0, 0.1), (1, 0, -0.1)])
def test_the_frequency_test_notices_a_slightly_wrong_start(medium, wrong, paper, p_value):
    view = medium.leave_last_out().train
    assert p_value(frequencies(view, (1, 0, 0)), paper(view.lengths().tolist(), *wrong)) < 1e-6


def test_the_frequency_test_notices_swapped_users(medium, paper, p_value):
    """The paper's table with two users of different lengths exchanged."""
    view = medium.leave_last_out().train
    lengths = view.lengths().tolist()
    lengths[0], lengths[1] = lengths[1], lengths[0]
    assert p_value(frequencies(view, (1, 0, 0)), paper(lengths, 1, 0, 0)) < 1e-6


def test_the_three_draws_of_a_pair_and_those_of_its_neighbour_are_independent(medium):
    view = medium.leave_last_out().train
    pairs = PairSampler(view, SamplingPolicy(0, 0, 0), 5, DRAWS).pairs(0, np.arange(DRAWS))
    place = pairs.target / (view.lengths(pairs.sequence) - 1)
    bound = 5 / math.sqrt(DRAWS)
    assert abs(np.corrcoef(pairs.sequence[1:], pairs.sequence[:-1])[0, 1]) < bound
    assert abs(np.corrcoef(place[1:], place[:-1])[0, 1]) < bound
    assert abs(np.corrcoef(pairs.sequence[:-1], pairs.target[1:])[0, 1]) < bound


def test_sampled_last_target_draws_the_enumerated_pairs(medium, enumerated):
    view = medium.leave_last_out().train
    assert frequencies(view, (0, INF, -INF)).keys() == set(enumerated("last_target", view.lengths().tolist()))


@given(store=st.from_type(SequenceStore), policy=st.from_type(SamplingPolicy), seed=st.integers(0, 2**64 - 1))
def test_only_pairs_with_mass_are_drawn(store, policy, seed):
    if policy.strategy != "sampled":
        policy = SamplingPolicy(policy.alpha, policy.beta, policy.gamma)
    view = store.leave_last_out().train
    pairs = PairSampler(view, policy, seed, 500, "numpy").pairs(0, np.arange(500))
    assert np.isfinite(policy.log_prob(view, pairs)).all()


@example(SequenceStore.from_arrays([1] * 4, [0, 4]), SamplingPolicy(-INF, -INF, -INF), 2**54 - 2**27)
@given(store=st.from_type(SequenceStore), policy=st.from_type(SamplingPolicy), size=st.integers(1, 2**61))
def test_the_extreme_random_words_give_pairs_with_mass(store, policy, size):
    """Every random word is the same: 0 or the highest; the first and the last example of epochs of any size."""
    if policy.strategy != "sampled":
        policy = SamplingPolicy(policy.alpha, policy.beta, policy.gamma)
    view = store.view()
    tables = DrawTables.of(view, policy, size)
    for number, word in ((0.0, 0), (1 - 2.0**-53, 0xFFFFFFFF)):
        with pytest.MonkeyPatch.context() as patch:
            module = "genpas_plugins.sampling.sampler."
            bits = max(0, 53 - size.bit_length())
            words = EpochWords(np.full(4, word, np.uint32), math.floor(number * 2**bits) / 2**bits, 0)
            patch.setattr(module + "epoch_words", lambda *_, words=words: words)
            patch.setattr(module + "permute", lambda index, *_: index)
            patch.setattr(module + "keyed_uniform", lambda of, _, number=number: np.full(len(of), number))
            patch.setattr(module + "philox", lambda *a, word=word: np.full((4, len(a[-1])), word, np.uint32))
            pairs = draw_pairs(tables, 0, 0, np.array([0, size // 2, size - 1]))
        assert np.isfinite(policy.log_prob(view, pairs)).all()


@pytest.mark.parametrize("exponents", [(1, 0, 0), (0.5, 0.5, 2), (-2, -1, 0), (0, INF, 0)], ids=str)
def test_epochs_of_any_size_have_pairs_with_mass_and_the_same_ones_in_both_backends(exponents):
    pytest.importorskip("numba")
    lengths = [3] * 40_000 + [4] * 7 + [900, 901, 1_000_000]
    view = SequenceStore.from_arrays(np.ones(sum(lengths), np.int32), np.cumsum([0, *lengths])).view()
    policy = SamplingPolicy(*exponents)
    for size in (1, 10, 40_000, 10**9, 2**53 - 1, 2**53, 2**61):
        indices = np.unique(np.linspace(0, size - 1, 1500).astype(np.int64).clip(0, size - 1))
        pairs, compiled = (PairSampler(view, policy, 5, size, of).pairs(7, indices) for of in ("numpy", "numba"))
        assert np.isfinite(policy.log_prob(view, pairs)).all()
        assert all(np.array_equal(a, b) for a, b in zip(pairs, compiled, strict=True))


def test_tables_are_as_long_as_the_longest_sequence_whatever_the_number_of_users():
    few = SequenceStore.from_arrays(np.ones(50, int), np.arange(0, 51, 5)).view()
    many = SequenceStore.from_arrays(np.ones(50_000, int), np.arange(0, 50_001, 5)).view()
    one, other = (DrawTables.of(view, SamplingPolicy(1, 0, 0), 100) for view in (few, many))
    for name in (
        "group_begin",
        "group_end",
        "group_weight",
        "group_length",
        "group_first",
        "group_count",
        "group_guide",
    ):
        assert getattr(one, name).shape == getattr(other, name).shape
    assert one.target.cumulative.shape == other.start.cumulative.shape == (5,)


def test_an_epoch_is_as_long_as_multi_target_unless_told(medium):
    view = medium.leave_last_out().train
    assert PairSampler(view, SamplingPolicy(1, 0, 0), 1).pairs_per_epoch == view.n_pairs
    assert PairSampler(view, SamplingPolicy(1, 0, 0), 1, np.int32(5)).pairs_per_epoch == 5


@pytest.mark.parametrize("value", [0, -1, 1.0, 2.5, "10", True, 2**61 + 1])
def test_pairs_per_epoch_must_be_a_positive_whole_number(medium, value):
    with pytest.raises(InputError, match=r"pairs_per_epoch must be a whole number from 1 to"):
        PairSampler(medium.view(), SamplingPolicy(1, 0, 0), 1, value)


def test_the_enumerated_slide_window_is_not_drawn(medium):
    with pytest.raises(InputError, match="use PairEnumeration"):
        PairSampler(medium.view(), SamplingPolicy.named("slide_window"), 1)


def test_an_exponent_that_overflows_is_refused_before_anything_is_drawn(medium):
    with pytest.raises(InputError, match="exponent 1000 overflows"):
        PairSampler(medium.view(), SamplingPolicy(0, 0, 1000), 1)


@pytest.mark.parametrize("alpha", [1e308, -1e308])
def test_a_huge_alpha_is_an_infinite_one_or_refused(alpha):
    """(|s| - 1)^α is far beyond the largest float here; even its logarithm is at 1e308."""
    view = SequenceStore.from_arrays(np.ones(30, int), [0, 10, 30]).view()
    limit = SamplingPolicy(math.copysign(INF, alpha), 0, 0)
    assert SamplingPolicy(alpha / 1e10, 0, 0).sequence_mass(view).tolist() == limit.sequence_mass(view).tolist()
    with pytest.raises(InputError, match=r"overflows; use inf"):
        SamplingPolicy(alpha, 0, 0).sequence_mass(view)


LENGTHS = np.array([3, 20, 10_000])
SIZES = np.array([60_000_000, 8_999_000, 1_000])


class Rows:
    """The rows of 69 M sequences by length, without an array of them."""

    def __getitem__(self, index):
        return index


@pytest.mark.parametrize(("alpha", "size"), [(0, 10**6), (0.5, 10**9), (1, 1_400_000_000), (2, 2**40), (-3, 17)])
def test_addresses_among_69_million_sequences(alpha, size):
    """Only tables of the three lengths are made; every sequence has as many visits as expected, give or take one."""
    groups = LengthGroups(LENGTHS, np.cumsum(SIZES) - SIZES, SIZES)
    view = SimpleNamespace(groups=groups, index=SimpleNamespace(order=Rows()), max_length=10_000)
    tables = DrawTables.of(view, SamplingPolicy(alpha, 0.5, 2), size)
    index = np.random.default_rng(1).integers(0, size, 2000)
    words = tables.words(5, 3)
    group, rank, place, low, high = located(tables, words, index)
    assert (rank >= 0).all() and (rank < SIZES[group]).all()
    point = np.minimum(place + words.offset, tables.last_point)
    assert (low <= point).all() and (point < high).all()
    visit, visits = counted(place, low, high, words.offset)
    assert (visit >= 0).all() and (visit < visits).all()
    assert (np.abs(visits - tables.group_weight[group]) < 1 + 1e-6 * visits).all()
    assert len(draw_pairs(tables, 5, 3, index).target) == 2000


@pytest.mark.parametrize("alpha", [0, 0.5, 1, 2, -1])
@pytest.mark.parametrize("size", [3, 7, 20, 44])
def test_visits_vary_no_more_than_independent_ones(alpha, size, monkeypatch):
    """Exact over all offsets: sums of figures that rise or fall with the length, and of a figure of one sequence."""
    lengths = np.array([2, 3, 3, 4, 5, 7, 9, 9])
    view = SequenceStore.from_arrays(np.ones(lengths.sum(), int), np.concatenate([[0], np.cumsum(lengths)])).view()
    tables = DrawTables.of(view, SamplingPolicy(alpha, 0, 0), size)
    weight = (lengths - 1.0) ** alpha
    weight /= weight.sum()
    figures = np.vstack([lengths, -(lengths**2), np.log(lengths), np.eye(len(lengths))]).astype(float)
    # An offset at which a point passes from one sequence to the next is a fractional part of where that one ends.
    ends = np.unique(np.concatenate([[0, 1], np.cumsum(weight[view.index.order]) * size % 1]))
    offsets, chance = (ends[1:] + ends[:-1]) / 2, np.diff(ends)
    keys = np.arange(4, dtype=np.uint32)
    monkeypatch.setattr(DrawTables, "words", lambda tables, seed, epoch: EpochWords(keys, offsets[epoch], 1))
    drawn = [draw_visits(tables, 0, epoch, np.arange(size)).sequence for epoch in range(len(offsets))]
    sums = np.array([figures[:, sequence].sum(1) for sequence in drawn])
    independent = size * (figures**2 @ weight - (figures @ weight) ** 2)
    assert chance @ sums == pytest.approx(size * figures @ weight)
    assert (chance @ (sums - chance @ sums) ** 2 <= independent + 1e-9).all()
