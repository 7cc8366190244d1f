"""Mix two representations and weigh the losses of the mixtures."""

from __future__ import annotations

import torch
from torch import Tensor

_LEAST = 1e-7  # A smaller λ counts as this in a weight, which is 1 / λ


def mix(one: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """Return λ one + (1 - λ) other; `share` is λ and broadcasts to both. λ = 1 gives `one` to the bit."""
    share = share.to(one.dtype)
    return share * one + (1 - share) * other


def adaptive_weights(share: Tensor, rate: Tensor) -> Tensor:
    """Return ω = 1 / (λ r) `float64 [B]` of every history. It is min-max normalised in the batch to 0 … 1.

    The least changed history has the largest weight. If all are equal, every weight is 1.
    """
    raw = 1 / (share.double().clamp(min=_LEAST) * rate.double())
    low, high = raw.aminmax()
    return torch.where(high > low, (raw - low) / (high - low), torch.ones_like(raw))


def weigh(losses: Tensor, weights: Tensor, released: bool = False) -> Tensor:
    """Return the scalar mean of ω_b loss_b over the batch. `released` gives the authors' Σ_b ω_b mean(loss)."""
    weights = weights.to(losses.dtype)
    return weights.sum() * losses.mean() if released else (weights * losses).mean()
