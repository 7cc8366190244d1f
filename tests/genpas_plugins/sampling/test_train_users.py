"""The share of the users that is trained on: how many, nested, the same for everybody, and nothing at 1.0."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins import InputError, SamplingPolicy, SequenceStore, SequenceView, pair_stream
from genpas_plugins.neural.dr4sr.inference import Regenerated
from genpas_plugins.neural.dr4sr.mining import mine_patterns
from genpas_plugins.neural.dr4sr.regenerated_store import regenerated_store
from genpas_plugins.sampling.train_users import keep_users


def view_of(lengths: Any, held_out: int = 0) -> SequenceView:
    lengths = np.asarray(lengths, np.int64)
    values = np.arange(lengths.sum()) % 7 + 1
    return SequenceStore.from_arrays(values, np.cumsum([0, *lengths]), n_items=7).view(held_out=held_out)


def users_of(view: SequenceView) -> set[int]:
    return set(np.flatnonzero(view.lengths()).tolist())


@given(
    lengths=st.lists(st.integers(0, 6), max_size=60),
    held_out=st.integers(0, 2),
    shares=st.lists(st.integers(1, 1000), min_size=2, max_size=2),
    seed=st.integers(0, 2**64 - 1),
)
def test_so_many_users_with_a_pair_are_kept_whole_and_a_smaller_share_is_part_of_a_larger(
    lengths: list[int], held_out: int, shares: list[int], seed: int
):
    view = view_of(lengths, held_out)
    before = view.lengths()
    with_pair = set(np.flatnonzero(before >= 2).tolist())
    small, large = (Decimal(share) / 1000 for share in sorted(shares))
    parts = [keep_users(view, float(share), seed) for share in (small, large)]
    for share, part in zip((small, large), parts, strict=True):
        assert sum(length >= 2 for length in part.lengths()) == math.ceil(share * len(with_pair))
        if part is not view:
            kept = users_of(part)
            assert kept < with_pair
            assert all(part.lengths()[user] == (before[user] if user in kept else 0) for user in range(len(lengths)))
            assert np.array_equal(part.lengths(), keep_users(view, float(share), seed).lengths())
    assert users_of(parts[0]) <= users_of(parts[1])


@pytest.mark.parametrize("share", [1, 1.0])
def test_all_users_are_the_view_itself(share: float):
    view = view_of([0, 1, 2, 3, 4])
    assert keep_users(view, share, seed=3) is view


@pytest.mark.parametrize(
    ("share", "n", "count"), [(0.1, 30, 3), (0.07, 100, 7), (0.29, 100, 29), (0.3, 4, 2), (1e-9, 5, 1), (0.99, 5, 5)]
)
def test_the_number_is_that_of_the_decimal_rounded_up(share: float, n: int, count: int):
    assert keep_users(view_of([2] * n), share, seed=0).n_pairs == count


def test_nobody_is_kept_where_nobody_has_a_pair():
    view = view_of([1, 0, 1])
    assert keep_users(view, 0.5, seed=0) is view


def test_every_user_is_chosen_as_often_as_any_other():
    times = np.zeros(10)
    view = view_of([2] * 10)
    for seed in range(3000):
        times += keep_users(view, 0.3, seed).lengths() > 0
    assert times.sum() == 9000
    assert np.all(np.abs(times - 900) < 5 * np.sqrt(3000 * 0.3 * 0.7))


def test_the_choice_does_not_look_at_how_long_sequences_are():
    """Users keep their places in the order, whatever a split leaves of their sequences."""
    short, long = view_of([2, 0, 2, 2, 2, 2, 2, 2]), view_of([9, 0, 4, 3, 7, 5, 6, 8])
    for seed in range(20):
        assert users_of(keep_users(short, 0.5, seed)) == users_of(keep_users(long, 0.5, seed))


@pytest.mark.parametrize("strategy", ["last_target", "multi_target", "slide_window", "sampled"])
def test_every_strategy_draws_from_these_users_alone(strategy: str):
    view = view_of([5, 4, 6, 3, 5, 1, 2, 7])
    policy = SamplingPolicy(0.5, 1, 0) if strategy == "sampled" else SamplingPolicy.named(strategy)
    part = keep_users(view, 0.4, seed=11)
    stream = pair_stream(part, policy, seed=11, pairs_per_epoch=500 if strategy == "sampled" else None)
    pairs = stream.pairs(0, np.arange(stream.pairs_per_epoch))
    assert set(pairs.sequence.tolist()) == users_of(part)
    assert len(users_of(part)) == 3


def test_added_sequences_go_with_their_user_and_patterns_go():
    lengths = 3 + np.arange(20) % 5
    values = np.random.default_rng(0).integers(1, 9, lengths.sum())
    original = SequenceStore.from_arrays(values, np.cumsum([0, *lengths]), n_items=8)
    view = original.leave_last_out().train
    rows = np.flatnonzero(view.lengths() >= 2)
    written = np.random.default_rng(1).integers(1, 9, (len(rows), 2, 3))
    patterns = mine_patterns(view)
    assert patterns.n > 0
    store = regenerated_store(original, patterns, Regenerated(rows, written, np.zeros((len(rows), 2), bool)))
    whole = store.leave_last_out().train
    part = keep_users(whole, 0.4, seed=5)
    kept = users_of(keep_users(view, 0.4, seed=5))
    assert 0 < len(kept) < len(rows)
    expected = [
        length if store.owners()[row] in kept else 0
        for row, length in enumerate(whole.lengths())
    ]  # fmt: skip
    assert part.lengths().tolist() == expected
    assert not part.lengths()[store.kinds() == 1].any(), "patterns are of several users"
    assert keep_users(whole, 1.0, seed=5) is whole


def test_owners_may_be_given():
    view = view_of([3, 3, 3, 2, 2, 2, 2])
    owner = np.array([0, 1, 2, 0, 1, 2, -1])
    for seed in range(10):
        part = keep_users(view, 0.5, seed, owner)
        kept = set(np.flatnonzero(part.lengths()[:3]).tolist())
        assert len(kept) == 2
        assert part.lengths()[3:].tolist() == [2 * (user in kept) for user in (0, 1, 2)] + [0]


@pytest.mark.parametrize("share", [0, -0.1, 1.01, math.nan, math.inf, True, "0.5", None])
def test_what_is_no_share_is_refused(share: Any):
    with pytest.raises(InputError, match="train_users must be a number above 0 and at most 1"):
        keep_users(view_of([2, 2]), share, seed=0)


def test_what_is_no_seed_is_refused():
    with pytest.raises(InputError, match="seed must be a whole number"):
        keep_users(view_of([2, 2]), 0.5, seed=-1)
