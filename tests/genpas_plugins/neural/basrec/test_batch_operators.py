# ruff: noqa: E402 – without torch there is nothing to import

"""Reorder and Substitute: lengths, padding, which items change, and that every choice is equally likely."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

torch = pytest.importorskip("torch")

from hypothesis import given
from hypothesis import strategies as st

from genpas_plugins.neural.basrec.batch_operators import reorder, substitute

N_ITEMS = 30


def drawn(seed: int, lengths: list[int], width: int):
    """Histories of distinct items, rates and random numbers."""
    rng = np.random.default_rng(seed)
    histories = np.zeros((len(lengths), width), np.int64)
    for row, length in zip(histories, lengths, strict=True):
        row[:length] = rng.permutation(np.arange(1, N_ITEMS + 1))[:length]
    arrays = histories, np.array(lengths), rng.uniform(0.01, 1, len(lengths)), rng.random(len(lengths))
    return *map(torch.from_numpy, arrays), torch.from_numpy(rng.random(histories.shape))


batches = st.tuples(st.integers(0, 2**32), st.lists(st.integers(1, 12), min_size=1, max_size=8), st.integers(12, 14))


@given(batches)
def test_reorder_shuffles_one_window(batch):
    histories, lengths, rate, start, order = drawn(*batch)
    changed = reorder(histories, lengths, rate, start, order)
    assert torch.equal(changed.sort(1).values, histories.sort(1).values)
    for before, after, length, r in zip(histories, changed, lengths, rate, strict=True):
        assert not after[length:].any()
        places = torch.nonzero(before != after).flatten()
        assert not len(places) or places[-1] - places[0] + 1 <= int(float(r) * int(length))


@given(batches)
def test_substitute_replaces_as_many_as_the_rate_says(batch):
    histories, lengths, rate, _, choice = drawn(*batch)
    neighbours = torch.cat([torch.zeros(1, dtype=torch.int64), torch.arange(1, N_ITEMS + 1) + 100])
    changed = substitute(histories, lengths, rate, choice, neighbours)
    replaced = changed != histories
    assert replaced.sum(1).tolist() == [max(1, int(float(r) * int(n))) for r, n in zip(rate, lengths, strict=True)]
    assert torch.equal(changed[replaced], neighbours[histories[replaced]])
    assert not changed[histories == 0].any()


def test_every_order_of_every_window_is_equally_likely():
    n = 6000
    histories = torch.tensor([[1, 2, 3, 4, 0]]).repeat(n, 1)
    rng = np.random.default_rng(1)
    start, order = torch.from_numpy(rng.random(n)), torch.from_numpy(rng.random((n, 5)))
    changed = reorder(histories, torch.full((n,), 4), torch.full((n,), 0.8, dtype=torch.float64), start, order)
    # Two windows of three, six orders each; the order that changes nothing, and 1 3 2 4, come from both.
    found, counts = np.unique(changed.numpy(), axis=0, return_counts=True)
    orders = {tuple(row): int(count) for row, count in zip(found[:, :4], counts, strict=True)}
    shared = [orders.pop((1, 2, 3, 4)), orders.pop((1, 3, 2, 4))]
    assert len(orders) == 8
    assert stats.chisquare([*orders.values(), *(half / 2 for half in shared)]).pvalue > 0.0005


def test_every_position_is_equally_likely_to_be_replaced():
    n = 6000
    histories = torch.tensor([[1, 2, 3, 4, 0]]).repeat(n, 1)
    choice = torch.from_numpy(np.random.default_rng(2).random((n, 5)))
    rate = torch.full((n,), 0.5, dtype=torch.float64)
    changed = substitute(histories, torch.full((n,), 4), rate, choice, torch.arange(5) + 10)
    counts = (changed != histories).sum(0).numpy()[:4]
    assert counts.sum() == 2 * n
    assert stats.chisquare(counts).pvalue > 0.0005
