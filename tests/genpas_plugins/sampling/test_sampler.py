import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins import InputError, PairSampler, SamplingPolicy, SequenceStore
from genpas_plugins.sampling.sampler import DrawTables, draw_pairs

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


@pytest.mark.parametrize("exponents", POLICIES, ids=str)
def test_frequencies_agree_with_the_paper(medium, exponents, backend, paper, p_value):
    view = medium.leave_last_out().train
    expected = paper(view.lengths().tolist(), *exponents)
    assert p_value(frequencies(view, exponents, backend), expected) > 1e-6


@pytest.mark.parametrize("exponents", [e for e in POLICIES if any(map(math.isinf, e))], ids=str)
def test_infinite_exponents_draw_their_support_and_nothing_else(medium, exponents, paper):
    view = medium.leave_last_out().train
    expected = paper(view.lengths().tolist(), *exponents)
    drawn = frequencies(view, exponents)
    assert drawn.keys() <= expected.keys()
    assert drawn.keys() >= {pair for pair, p in expected.items() if DRAWS * p > 30}


@pytest.mark.parametrize("wrong", [(1.1, 0, 0), (0.9, 0, 0), (1, 0.05, 0), (1, -0.05, 0), (1, 0, 0.1), (1, 0, -0.1)])
def test_the_frequency_test_notices_a_slightly_wrong_exponent(medium, wrong, paper, p_value):
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


def extreme(words: int):
    """Every random word is the same: 0 or the highest."""
    return lambda _seed, _epoch, _block, index: np.full((4, len(index)), words, np.uint32)


@given(store=st.from_type(SequenceStore), policy=st.from_type(SamplingPolicy))
def test_the_extreme_random_words_give_pairs_with_mass(store, policy):
    if policy.strategy != "sampled":
        policy = SamplingPolicy(policy.alpha, policy.beta, policy.gamma)
    view = store.view()
    tables = DrawTables.of(view, policy)
    for words in (0, 0xFFFFFFFF):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("genpas_plugins.sampling.sampler.philox", extreme(words))
            pairs = draw_pairs(tables, 0, 0, np.arange(1))
        assert np.isfinite(policy.log_prob(view, pairs)).all()


def test_tables_are_as_long_as_the_longest_sequence_whatever_the_number_of_users():
    few = SequenceStore.from_arrays(np.ones(50, int), np.arange(0, 51, 5)).view()
    many = SequenceStore.from_arrays(np.ones(50_000, int), np.arange(0, 50_001, 5)).view()
    one, other = (DrawTables.of(view, SamplingPolicy(1, 0, 0)) for view in (few, many))
    for name in ("group_cumulative", "group_length", "group_first", "group_count", "group_guide"):
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
    with pytest.raises(InputError, match=r"overflows; use \.inf"):
        SamplingPolicy(alpha, 0, 0).sequence_mass(view)
