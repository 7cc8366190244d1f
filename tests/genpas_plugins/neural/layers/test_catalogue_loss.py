"""The fused loss over the catalogue against torch's cross-entropy, in value and gradient."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from genpas_plugins.neural.layers import catalogue_loss
from genpas_plugins.neural.layers.catalogue_loss import weighted_catalogue_loss


def inputs(targets: int, items: int, size: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(targets * items + size)
    hidden = torch.randn(targets, size, generator=random, dtype=dtype, requires_grad=True)
    table = torch.randn(items, size, generator=random, dtype=dtype, requires_grad=True)
    return (
        hidden,
        table,
        torch.randint(items, (targets,), generator=random),
        torch.rand(targets, generator=random).to(dtype),
    )


def plain(hidden: Tensor, table: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    loss: Tensor = (weights * functional.cross_entropy(hidden @ table.T, targets, reduction="none")).sum()
    return loss


@pytest.mark.parametrize("block", [1, 7, 2**20])
@pytest.mark.parametrize(("targets", "items", "size"), [(1, 2, 1), (9, 30, 4), (64, 200, 8)])
def test_value_and_gradients_are_those_of_the_plain_loss(
    targets: int, items: int, size: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue_loss, "block_rows", lambda *_: block)
    given = inputs(targets, items, size, torch.float64)
    ours, theirs = weighted_catalogue_loss(*given), plain(*given)
    torch.testing.assert_close(ours, theirs)
    # An outer factor, as of a scaler or of a sum of losses, goes through.
    expected = torch.autograd.grad(3 * theirs, given[:2])
    torch.testing.assert_close(torch.autograd.grad(3 * ours, given[:2]), expected)


def test_scores_far_apart_lose_nothing() -> None:
    hidden, table, targets, weights = inputs(16, 50, 8, torch.float32)
    far = (hidden.detach() * 100).requires_grad_()
    ours, theirs = weighted_catalogue_loss(far, table, targets, weights), plain(far, table, targets, weights)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(torch.autograd.grad(ours, [far, table]), torch.autograd.grad(theirs, [far, table]))


def test_in_bfloat16_it_is_as_near_as_autocast_is() -> None:
    given = inputs(256, 300, 32, torch.float32)
    exact = torch.autograd.grad(plain(*given), given[:2])
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = (torch.autograd.grad(loss(*given), given[:2]) for loss in (weighted_catalogue_loss, plain))
    for mine, autocast, gradient in zip(ours, theirs, exact, strict=True):
        assert mine.dtype == torch.float32
        error = (mine - gradient).norm() / gradient.norm()
        assert 0 < error <= 1.5 * (autocast - gradient).norm() / gradient.norm()


def test_scores_of_all_targets_are_never_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue_loss, "block_rows", lambda *_: 4)
    given = inputs(64, 300, 8, torch.float32)
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.numel()) or tensor, lambda t: t):
        weighted_catalogue_loss(*given)
    assert kept and max(kept) <= 300 * 8


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("half", [False, True])
def test_on_a_gpu_it_does_not_wait(half: bool) -> None:
    hidden, table, *rest = (value.detach().cuda() for value in inputs(64, 200, 8, torch.float32))
    leaves = hidden.requires_grad_(), table.requires_grad_()
    torch.cuda.set_sync_debug_mode("error")
    try:
        with torch.autocast("cuda", torch.bfloat16, enabled=half):
            loss = weighted_catalogue_loss(*leaves, *rest)
        loss.backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
