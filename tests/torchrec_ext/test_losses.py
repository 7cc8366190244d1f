from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
import torch.distributed as dist
from torch.nn import functional

from genpas_plugins.neural.layers import catalogue_loss
from genpas_plugins.support.errors import InputError
from torchrec_ext import losses
from torchrec_ext.losses import (
    gathered_softmax_loss,
    global_mean,
    row_block,
    vocab_parallel_loss,
)


@pytest.fixture(scope="module", autouse=True)
def group() -> Iterator[Any]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield dist.group.WORLD
    dist.destroy_process_group()


def tensors(scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    numbers = torch.Generator().manual_seed(3)
    hidden = scale * torch.randn(5, 4, generator=numbers)
    table = torch.randn(9, 4, generator=numbers)
    return hidden.requires_grad_(), table.requires_grad_(), torch.tensor([1, 8, 3, 3, 0])


@pytest.mark.parametrize("n_rows", [1, 2, 4, 5, 9, 100])
@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
def test_blocks_are_every_row_once_in_order(n_rows: int, world_size: int):
    blocks = [row_block(n_rows, rank, world_size) for rank in range(world_size)]
    assert [row for block in blocks for row in block] == list(range(n_rows))


def gathered_mean(hidden, table, targets, weights, *, group: Any, count: int | None = None) -> torch.Tensor:
    return global_mean(gathered_softmax_loss(hidden, table, targets, n_rows=9, group=group), weights, group, count)


def vocab_parallel_mean(hidden, table, targets, weights, *, group: Any, count: int | None = None) -> torch.Tensor:
    return vocab_parallel_loss(hidden, table, targets, weights, n_rows=9, group=group, count=count)


def mean_of_several_ranks(hidden, table, targets, weights, *, group: Any, count: int | None = None) -> torch.Tensor:
    factors = weights / (weights.sum() if count is None else count)
    return losses._VocabParallelLoss.apply(hidden, table, targets, factors, slice(None), losses.block_rows(), group)


LOSSES = [gathered_mean, vocab_parallel_mean]


@pytest.mark.parametrize("scale", [1.0, 1e4])
@pytest.mark.parametrize("count", [None, 2])
@pytest.mark.parametrize(
    ("loss", "at_once"),
    [
        (gathered_mean, 0),
        *((loss, rows) for loss in (vocab_parallel_mean, mean_of_several_ranks) for rows in (1, 2, 100)),
    ],
)
def test_losses_and_gradients_are_those_of_cross_entropy(
    loss: Any, at_once: int, count: int | None, scale: float, monkeypatch: pytest.MonkeyPatch
):
    for module in (losses, catalogue_loss):
        monkeypatch.setattr(module, "block_rows", lambda *_: at_once)
    group, (hidden, table, targets) = dist.group.WORLD, tensors(scale)
    weights = torch.arange(1.0, 6.0)
    of_each = functional.cross_entropy(hidden @ table.T, targets, reduction="none")
    expected = (weights * of_each).sum() / (weights.sum() if count is None else count)
    expected_gradients = torch.autograd.grad(3 * expected, [hidden, table])
    found = loss(hidden, table, targets, weights, group=group, count=count)
    gradients = torch.autograd.grad(3 * found, [hidden, table])
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradients, expected_gradients, atol=1e-5 * scale, rtol=1e-5)


def test_in_bfloat16_the_gradients_are_off_by_less_than_one_in_a_hundred(group: Any):
    hidden, table, targets = torch.randn(64, 16), torch.randn(200, 16) * 0.1, torch.randint(200, (64,))
    gradients = []
    for half in (False, True):
        leaves = [hidden.clone().requires_grad_(), table.clone().requires_grad_()]
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = vocab_parallel_loss(*leaves, targets, None, n_rows=200, group=group)
        assert loss.dtype == torch.float32
        gradients.append(torch.autograd.grad(loss, leaves))
    for found, exact in zip(*gradients, strict=True):
        assert 0 < float((found - exact).norm() / exact.norm()) < 0.01


@pytest.mark.parametrize("wrong", [-1, 9])
@pytest.mark.parametrize("loss", LOSSES)
def test_targets_out_of_range_raise(loss: Any, wrong: int, group: Any):
    hidden, table, targets = tensors()
    targets[2] = wrong
    with pytest.raises(InputError, match=rf"Target {wrong} in the batch of rank 0 .* rows 0 to 8"):
        loss(hidden, table, targets, None, group=group)


def test_global_mean_weighs_samples(group: Any):
    of_each = torch.tensor([1.0, 2.0, 6.0])
    assert global_mean(of_each, None, group).item() == pytest.approx(3.0)
    assert global_mean(of_each, torch.tensor([0.0, 3.0, 1.0]), group).item() == pytest.approx(3.0)
