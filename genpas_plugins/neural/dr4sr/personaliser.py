"""DR4SR+ (§3.3): weights of the regenerated data set's instances, learnt for one target model.

The target model θ minimises Σ w_φ L over the regenerated set (inner), and the personaliser φ minimises the loss of that
minimum θ*(φ) over the original set (outer). By the implicit function theorem

    dL_outer/dφ = - ∇_θ L_outer · H⁻¹ · ∂²L_inner/∂θ∂φ,    H = ∂²L_inner/∂θ²,

with H⁻¹ by the first terms of its Neumann series, step · Σ_j (I - step · H)ʲ (Lorraine et al., AISTATS 2020): only
products of H with a vector, never H itself. Nothing here knows a framework: losses are scalars, θ and φ are tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from genpas_plugins.support.errors import InputError, whole_number

TERMS = 3
"""Hessian products of the series, the paper's; the series then has one term more, the vector itself."""


_LEAST = 1e-12
"""Added to a vector's variance, so that one of equal numbers is 0."""


class Personaliser(nn.Module):
    """A multi-layer perceptron that gives an instance its weight in (0, 1).

    An instance is described by its history's mean item vector and its target's vector, D dimensions each, both brought
    to mean 0 and variance 1, as models' vectors are of any size. Untrained, it gives every instance the same weight.
    """

    def __init__(self, dimension: int, hidden: int = 64) -> None:
        super().__init__()
        width = 2 * whole_number("dimension", dimension, 1)
        self.layers = nn.Sequential(
            nn.Linear(width, whole_number("hidden", hidden, 1)), nn.ReLU(), nn.Linear(hidden, 1), nn.Sigmoid()
        )
        last = self.layers[2]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, history: Tensor, target: Tensor) -> Tensor:
        """Return weights, float [B], of instances with vectors float [B, L, D] (0 at padding) and float [B, D].

        The vectors are taken as they are: the personaliser does not train the item table.
        """
        count = (history != 0).any(-1).sum(1, keepdim=True).clamp(min=1)
        parts = (history.sum(1) / count).detach(), target.detach()
        described = torch.cat([functional.layer_norm(part, part.shape[1:], eps=_LEAST) for part in parts], dim=1)
        weights: Tensor = self.layers(described)[:, 0]
        return weights


def relative_weights(weights: Tensor) -> Tensor:
    """Return weights, float [B] above 0, divided by their mean, so that the batch's loss keeps its size.

    Equal weights give 1 to the bit: a mean of them would round, one of ones does not.
    """
    of_largest = weights / weights.detach().max()
    return of_largest / of_largest.mean()


def implicit_gradient(
    inner: Tensor,
    outer: Tensor,
    parameters: Sequence[Tensor],
    hyperparameters: Sequence[Tensor],
    *,
    step: float,
    terms: int = TERMS,
) -> list[Tensor]:
    """Return dL_outer/dφ through the inner minimum, a tensor for each of `hyperparameters`.

    inner           : scalar, made from both, its graph kept: the weighted loss at the present θ
    outer           : scalar, made from `parameters`; its direct dependence on φ is added where there is any
    parameters      : θ; those that a loss does not use count as 0
    step            : of the series, which converges where it is below 2 over H's largest eigenvalue: the inner
                      optimiser's learning rate, as a rule
    terms           : products with H

    The loss must be twice differentiable as implemented: on CUDA, turn fused attention off. Raises InputError for a
    step or a number of terms that cannot be used, and for losses that do not depend on what they should.
    """
    terms = whole_number("terms", terms, 0)
    if not step > 0:
        raise InputError(f"step must be above 0, not {step!r}.")
    theta, phi = list(parameters), list(hyperparameters)
    if not (inner.requires_grad and outer.requires_grad):
        raise InputError("Both losses must depend on the parameters; one of them has no gradient.")
    slope = _filled(torch.autograd.grad(inner, theta, create_graph=True, allow_unused=True), theta)
    if not any(part.requires_grad for part in slope):
        raise InputError("The inner loss is linear in the parameters: it has no minimum to follow.")
    vector = _filled(torch.autograd.grad(outer, theta, retain_graph=True, allow_unused=True), theta)
    total = [part.clone() for part in vector]
    for _ in range(terms):
        product = _product(slope, theta, vector)
        vector = [part - step * moved for part, moved in zip(vector, product, strict=True)]
        total = [whole + part for whole, part in zip(total, vector, strict=True)]
    mixed = _product(slope, phi, total)
    direct = _filled(torch.autograd.grad(outer, phi, retain_graph=True, allow_unused=True), phi)
    return [own - step * through for own, through in zip(direct, mixed, strict=True)]


def outer_step(
    inner: Tensor,
    outer: Tensor,
    parameters: Sequence[Tensor],
    personaliser: nn.Module,
    optimiser: Any,
    *,
    step: float,
    terms: int = TERMS,
) -> None:
    """Move the personaliser one step of its optimiser along `implicit_gradient`; θ and its gradients stay as they are.

    The paper takes one such step every 30 batches, after a warm-up without any.
    """
    phi = [parameter for parameter in personaliser.parameters() if parameter.requires_grad]
    for parameter, slope in zip(
        phi, implicit_gradient(inner, outer, parameters, phi, step=step, terms=terms), strict=True
    ):
        parameter.grad = slope.detach()
    optimiser.step()
    optimiser.zero_grad()


def _product(slope: Sequence[Tensor], by: Sequence[Tensor], vector: Sequence[Tensor]) -> list[Tensor]:
    """Return Σ vector · ∂slope/∂by: with θ a product with H, with φ one with the mixed derivative."""
    kept = [(part, weight) for part, weight in zip(slope, vector, strict=True) if part.requires_grad]
    made = torch.autograd.grad(
        [part for part, _ in kept], by, [weight for _, weight in kept], retain_graph=True, allow_unused=True
    )
    return _filled(made, by)


def _filled(gradients: Sequence[Tensor | None], like: Sequence[Tensor]) -> list[Tensor]:
    return [torch.zeros_like(tensor) if part is None else part for part, tensor in zip(gradients, like, strict=True)]
