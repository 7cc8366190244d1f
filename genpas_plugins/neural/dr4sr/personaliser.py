"""DR4SR+ (§3.3): weights of the regenerated data set's instances that are learnt for one target model.

The target model θ minimises Σ w_φ L over the regenerated set (inner loss). The personaliser φ minimises the loss of
this minimum θ*(φ) over the original set (outer loss). By the implicit function theorem

    dL_outer/dφ = - ∇_θ L_outer · H⁻¹ · ∂²L_inner/∂θ∂φ,    H = ∂²L_inner/∂θ².

H⁻¹ is the first terms of its Neumann series step · Σ_j (I - step · H)ʲ (Lorraine et al., AISTATS 2020). The series
needs only products of H with a vector. Losses are scalars. θ and φ are tensors of any framework.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from genpas_plugins.support.errors import InputError, whole_number

TERMS = 3  # the paper's number of Hessian products; the series has one more term, the vector itself

_LEAST = 1e-12  # added to a vector's variance, so that a vector of equal numbers becomes 0


class Personaliser(nn.Module):
    """A multi-layer perceptron that gives an instance its weight in (0, 1).

    Its input is the mean item vector of the history and the vector of the target. Both are normalised to mean 0 and
    variance 1. An untrained personaliser gives every instance the same weight.

    Parameters
    ----------
    dimension : D of an item vector
    hidden : width of the hidden layer
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
        """Return weights `float [B]`. The vectors get no gradient: the item table is not trained.

        Parameters
        ----------
        history : float [B, L, D] with 0 at padding
        target : float [B, D]
        """
        count = (history != 0).any(-1).sum(1, keepdim=True).clamp(min=1)
        parts = (history.sum(1) / count).detach(), target.detach()
        described = torch.cat([functional.layer_norm(part, part.shape[1:], eps=_LEAST) for part in parts], dim=1)
        weights: Tensor = self.layers(described)[:, 0]
        return weights


def relative_weights(weights: Tensor) -> Tensor:
    """Return positive weights `float [B]` divided by their mean. The batch's loss thus keeps its size.

    Equal weights give 1 to the bit because a mean of ones does not round.
    """
    of_largest = weights / weights.detach().max()
    return of_largest / of_largest.mean()


def implicit_gradient(
    inner: Tensor,  # scalar of both, the weighted loss at the present θ, with its graph
    outer: Tensor,  # scalar of `parameters`; a direct dependence on φ is added
    parameters: Sequence[Tensor],  # θ; a parameter that a loss does not use counts as 0
    hyperparameters: Sequence[Tensor],
    *,
    step: float,  # of the series, usually the inner learning rate; it converges below 2 over H's largest eigenvalue
    terms: int = TERMS,  # products with H
) -> list[Tensor]:
    """Return dL_outer/dφ through the inner minimum with a tensor for each of `hyperparameters`.

    The losses must be twice differentiable as implemented. Turn fused attention off on CUDA.
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
    """Move the personaliser one step of its optimiser along `implicit_gradient`; θ and its gradients stay.

    The paper takes such a step every 30 batches after a warm-up. Parameters are the same as of `implicit_gradient`.
    """
    phi = [parameter for parameter in personaliser.parameters() if parameter.requires_grad]
    for parameter, slope in zip(
        phi, implicit_gradient(inner, outer, parameters, phi, step=step, terms=terms), strict=True
    ):
        parameter.grad = slope.detach()
    optimiser.step()
    optimiser.zero_grad()


def _product(slope: Sequence[Tensor], by: Sequence[Tensor], vector: Sequence[Tensor]) -> list[Tensor]:
    """Return Σ vector · ∂slope/∂by: a product with H for θ and with the mixed derivative for φ."""
    kept = [(part, weight) for part, weight in zip(slope, vector, strict=True) if part.requires_grad]
    made = torch.autograd.grad(
        [part for part, _ in kept], by, [weight for _, weight in kept], retain_graph=True, allow_unused=True
    )
    return _filled(made, by)


def _filled(gradients: Sequence[Tensor | None], like: Sequence[Tensor]) -> list[Tensor]:
    return [torch.zeros_like(tensor) if part is None else part for part, tensor in zip(gradients, like, strict=True)]
