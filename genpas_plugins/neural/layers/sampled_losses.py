"""Losses of targets against negatives that a whole batch shares. Shapes: T targets, K negatives, D dimensions."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from genpas_plugins.settings.loss import LossConfig


def sampled_losses(
    loss: LossConfig,
    hidden: Tensor,
    target_rows: Tensor,
    negative_rows: Tensor,
    *,
    targets: Tensor,
    negatives: Tensor,
    log_q: Tensor,
) -> Tensor:
    """Return the loss `float [T]` of every target.

    Parameters
    ----------
    loss : which loss
    hidden : float [T, D], one vector a target
    target_rows, negative_rows : float [T, D] and [K, D], rows of the item table
    targets, negatives : item numbers, int64 [T] and [K]; negatives are drawn with replacement from q
    log_q : float [K], natural logarithm of each negative's probability under q
    """
    if loss.name == "sampled_softmax":
        return sampled_softmax_loss(
            hidden, target_rows, negative_rows, targets=targets, negatives=negatives, log_q=log_q
        )
    return calibrated_bce_loss(
        hidden, target_rows, negative_rows, targets=targets, negatives=negatives, log_q=log_q, calibration=loss.t
    )


def sampled_softmax_loss(
    hidden: Tensor, target_rows: Tensor, negative_rows: Tensor, *, targets: Tensor, negatives: Tensor, log_q: Tensor
) -> Tensor:
    """Return the sampled softmax loss [T]; see `sampled_losses` for the arguments.

    The normaliser's estimate is exp(s_target) + Σ_k exp(s_k) / (K q_k) over the negatives other than the target.
    For any proposal q its expectation is the full normaliser Σ_j exp(s_j) over all j with q_j > 0. The score of the
    target has no correction because the target is always in the sum.
    """
    target_scores = (hidden * target_rows).sum(-1, keepdim=True)
    scores = hidden @ negative_rows.T - (log_q + math.log(max(len(negatives), 1)))
    scores = scores.masked_fill(targets[:, None] == negatives, -math.inf)
    return torch.logsumexp(torch.cat([target_scores, scores], dim=1), dim=1) - target_scores[:, 0]


def calibrated_bce_loss(
    hidden: Tensor,
    target_rows: Tensor,
    negative_rows: Tensor,
    *,
    targets: Tensor,
    negatives: Tensor,
    log_q: Tensor,
    calibration: float,
) -> Tensor:
    """Return gBCE [T] = (-β log σ(s_target) - Σ_k log(1 - σ(s_k))) / (K + 1) for uniform negatives.

    Petrov & Macdonald (RecSys'23), section 4: β = α (t (1 - 1/α) + 1/α) with calibration t. α is the mean number of
    times that another item is among the negatives. Negatives equal to the target are left out and so α is K q. With t
    = 0 this is SASRec's BCE up to the factor. With t = 1 the optimal scores equal the optimum without sampling.
    """
    beta = calibration * (len(negatives) * log_q[:1].exp() - 1) + 1  # a tensor, so that a GPU need not hand it over
    good, scores = (hidden * target_rows).sum(-1), hidden @ negative_rows.T
    others = functional.softplus(scores).masked_fill(targets[:, None] == negatives, 0).sum(1)
    return (others - beta * functional.logsigmoid(good)) / (len(negatives) + 1)
