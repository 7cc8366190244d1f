# ruff: noqa: E402 – without torch there is nothing to import

"""Losses with sampled negatives: against sums written out, in expectation, and the draws of negatives."""

from __future__ import annotations

import math
from itertools import product

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional

from genpas_plugins.neural.layers.negatives import Proposal
from genpas_plugins.neural.layers.sampled_losses import sampled_losses, sampled_softmax_loss
from genpas_plugins.settings.loss import LossConfig

N = 9  # rows of the table


def tensors() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    numbers = torch.Generator().manual_seed(3)
    hidden, table = (torch.randn(n, 4, generator=numbers, dtype=torch.float64) for n in (5, N))
    return hidden.requires_grad_(), table.requires_grad_(), torch.tensor([1, 8, 3, 3, 2])


def written_out(loss: LossConfig, hidden, table, targets, *, negatives, q) -> torch.Tensor:
    """Return the losses, term by term: of the paper's formulas, with the expected number of each negative."""
    losses, k = [], len(negatives)
    for state, target in zip(hidden, targets.tolist(), strict=True):
        score = state @ table[target]
        others = [(state @ table[j], q[j]) for j in negatives.tolist() if j != target]
        if loss.name == "sampled_softmax":
            normaliser = score.exp() + sum(s.exp() / (k * p) for s, p in others)
            losses.append(-torch.log(score.exp() / normaliser))
            continue
        alpha = k / (N - 1)
        beta = alpha * (loss.t * (1 - 1 / alpha) + 1 / alpha)
        terms = torch.log(torch.sigmoid(score) ** beta) + sum(torch.log(1 - torch.sigmoid(s)) for s, _ in others)
        losses.append(-terms / (k + 1))
    return torch.stack(losses)


@pytest.mark.parametrize(
    "section",
    [
        {"name": "sampled_softmax"},
        {"name": "bce"},
        {"name": "gbce", "calibration": 1.0},
        {"name": "gbce"},
    ],
)
def test_losses_and_gradients_are_those_written_out(section):
    loss, (hidden, table, targets) = LossConfig(**section, negatives=6), tensors()
    proposal = Proposal.of(torch.arange(9, dtype=torch.float64).numpy() / 36, loss.uniform_share)
    negatives = torch.tensor([1, 4, 4, 8, 3, 7])
    found = sampled_losses(
        loss, hidden, table[targets], table[negatives],
        targets=targets, negatives=negatives, log_q=proposal.log_q[negatives].double(),
    )  # fmt: skip
    expected = written_out(loss, hidden, table, targets, negatives=negatives, q=proposal.log_q.double().exp())
    weights = torch.arange(1.0, 6.0)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    gradients = [torch.autograd.grad(weights @ losses.to(weights), [hidden, table]) for losses in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-9)


def test_full_calibration_has_the_optimum_of_all_negatives():
    # One history with items of probability p: the optimal score of BCE with all other items is logit(p).
    p = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
    scores, loss = torch.logit(p).requires_grad_(), LossConfig(name="gbce", negatives=2, calibration=1.0)
    expected = torch.zeros((), dtype=torch.float64)
    for target, *drawn in product(range(4), repeat=3):
        losses = sampled_losses(
            loss, torch.ones(1, 1, dtype=torch.float64), scores[[target], None], scores[drawn, None],
            targets=torch.tensor([target]), negatives=torch.tensor(drawn), log_q=torch.full((2,), 0.25).double().log(),
        )  # fmt: skip
        expected = expected + p[target] * losses[0] / 16
    (gradient,) = torch.autograd.grad(expected, [scores])
    assert gradient.abs().max() < 1e-12


def test_sampled_normaliser_is_the_full_one_in_expectation():
    hidden, table, targets = tensors()
    q = torch.arange(1.0, 10.0, dtype=torch.float64)
    q /= q.sum()
    hidden, table = hidden.detach(), table.detach()
    scores = hidden @ table.T
    at_target = scores.gather(1, targets[:, None])[:, 0]
    expected = torch.zeros(5, dtype=torch.float64)
    for drawn in product(range(N), repeat=2):  # all draws of two negatives, with their probabilities
        negatives = torch.tensor(drawn)
        losses = sampled_softmax_loss(
            hidden, table[targets], table[negatives], targets=targets, negatives=negatives, log_q=q[negatives].log()
        )
        expected += q[negatives].prod() * (losses + at_target).exp()
    torch.testing.assert_close(expected, scores.exp().sum(1))


def test_sampled_with_the_whole_catalogue_is_the_full_softmax():
    hidden, table, targets = tensors()
    negatives = torch.arange(N)
    log_q = torch.full((9,), -math.log(9), dtype=torch.float64)
    losses = sampled_softmax_loss(hidden, table[targets], table, targets=targets, negatives=negatives, log_q=log_q)
    torch.testing.assert_close(losses, functional.cross_entropy(hidden @ table.T, targets, reduction="none"))


@pytest.mark.parametrize("negatives", [[3, 3, 3], []])
def test_without_negatives_other_than_the_target_the_loss_is_zero(negatives: list[int]):
    hidden, table, _ = tensors()
    targets, drawn = torch.full((5,), 3), torch.tensor(negatives, dtype=torch.int64)
    losses = sampled_softmax_loss(
        hidden, table[targets], table[drawn], targets=targets, negatives=drawn, log_q=torch.zeros(len(drawn))
    )
    losses.sum().backward()
    assert losses.abs().max() < 1e-6
    assert torch.isfinite(hidden.grad).all()


def test_negatives_are_drawn_from_the_proposal():
    targets = torch.tensor([0, 0.7, 0.3, 0, 0], dtype=torch.float64)
    proposal = Proposal.of(targets.numpy(), 0.1)
    q = 0.9 * targets[1:] + 0.1 / 4
    assert proposal.log_q[1:].exp().tolist() == pytest.approx(q.tolist(), rel=1e-6)
    drawn = torch.cat([proposal.draw(500, seed=7, epoch=1, step=step) for step in range(40)])
    assert int(drawn.min()) == 1
    counts = torch.bincount(drawn, minlength=5)[1:]
    expected = q * len(drawn)
    assert float(((counts - expected) ** 2 / expected).sum()) < 21.1  # χ² with 3 degrees of freedom, p = 1e-4
    assert torch.equal(proposal.draw(500, seed=7, epoch=1, step=3), drawn[1500:2000])
    assert not torch.equal(proposal.draw(500, seed=7, epoch=2, step=3), drawn[1500:2000])
