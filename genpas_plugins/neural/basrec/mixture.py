"""Mixing two representations, and the weights of the losses on them."""

from __future__ import annotations

import torch
from torch import Tensor

_LEAST = 1e-7
"""A λ below this counts as this much in a weight, which is 1 / λ."""


def mix(one: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """Return λ one + (1 - λ) other; a λ of 1 gives `one` to the bit. `share`, the λ, broadcasts to both."""
    share = share.to(one.dtype)
    return share * one + (1 - share) * other


def adaptive_weights(share: Tensor, rate: Tensor) -> Tensor:
    """Return ω = 1 / (λ r) of every history, min-max normalised in the batch to 0 … 1, float64 [B].

    The least changed histories weigh most. Where all are equal (a batch of one, λ and r constant) every weight is 1.

    share, rate : λ and r of each history, [B]
    """
    raw = 1 / (share.double().clamp(min=_LEAST) * rate.double())
    low, high = raw.aminmax()
    return torch.where(high > low, (raw - low) / (high - low), torch.ones_like(raw))


def weighted(losses: Tensor, weights: Tensor, released: bool = False) -> Tensor:
    """Return the mean of ω_b loss_b over the batch, a scalar: every history's loss has its own weight.

    released : the authors' released code instead, where weights [B] meet a loss that is a mean already, so that it
               becomes Σ_b ω_b times the mean loss
    """
    weights = weights.to(losses.dtype)
    return weights.sum() * losses.mean() if released else (weights * losses).mean()
