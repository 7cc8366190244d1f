"""Weighted softmax cross-entropy over the whole catalogue without a matrix of all scores.

The gradient of the scores is softmax minus one at the target. The forward pass computes the gradients of the states
and of the table while a block of scores is in the cache. It computes each score once. The usual code writes and reads
`[targets × items]` four times.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

BLOCK, BLOCK_ON_DEVICE = 2**21, 2**26
"""Scores in a block: on a CPU they fit a core's cache and have rows enough for fast products."""
TILE = 32
"""Half-precision products on a CPU have a multiple of this many rows: oneDNN compiles a kernel for each new shape."""


def block_rows(n_items: int, device: torch.device) -> int:
    """Return how many targets are scored at once against this many items."""
    rows = (BLOCK if device.type == "cpu" else BLOCK_ON_DEVICE) // max(n_items, 1)
    return max(2 * TILE, rows - rows % (2 * TILE))  # each block reads the whole table: not for a few targets


def weighted_catalogue_loss(hidden: Tensor, table: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Return the scalar Σ w · cross-entropy over all rows of the table. It is differentiable once.

    Under `torch.autocast` matrix products and probabilities have its type. Sums are float32. In bfloat16 a target
    that is more than 99.8 % likely has no gradient.

    Parameters
    ----------
    hidden : float [T, D], one vector a target
    table : float [N, D], one row an item
    targets : int64 [T], from 0 to N - 1
    weights : float [T], not differentiated
    """
    loss: Tensor = cast(Any, _WeightedCatalogueLoss).apply(hidden, table, targets, weights)
    return loss


class _WeightedCatalogueLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, table: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        device = hidden.device.type
        product = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else table.dtype
        n_targets, on_cpu = len(hidden), device == "cpu"
        if on_cpu and product != table.dtype:
            missing = -n_targets % TILE
            hidden = functional.pad(hidden, (0, 0, 0, missing))
            targets, weights = functional.pad(targets, (0, missing)), functional.pad(weights, (0, missing))
        # Autocast would turn the softmax, the largest part of the memory moved, back into float32.
        with torch.autocast(device, enabled=False):
            states, items = hidden.to(product), table.to(product)
            columns = items.T.contiguous() if on_cpu else items.T  # faster products at most sizes
            # Relative to the largest, which comes back at the end: float16 underflows for small weights.
            largest = weights.max().clamp(min=torch.finfo(weights.dtype).tiny)
            weighted = states * (weights / largest)[:, None].to(product)
            of_states, of_items = torch.empty_like(states), torch.zeros_like(table)
            likelihood = torch.empty_like(weights)
            rows = block_rows(len(table), hidden.device)
            # One buffer for all blocks stays in the cache and is allocated once.
            buffer = items.new_empty(min(rows, len(states)), len(items))
            part = None if product == table.dtype else torch.empty_like(items)
            for first in range(0, len(hidden), rows):
                block = slice(first, first + rows)
                scores = torch.matmul(states[block], columns, out=buffer[: len(states[block])])
                # In place on a CPU, whose softmax reads a row before it writes it; other devices do not promise that.
                probabilities = torch.softmax(scores, 1, out=scores if on_cpu else None)
                own = torch.arange(len(scores), device=scores.device) * len(table) + targets[block]
                likelihood[block] = probabilities.view(-1)[own].to(likelihood.dtype).log()
                lost = likelihood[block].isinf()  # the probability is too small for a number, its logarithm is not
                if not on_cpu:  # whether there is one is not asked, which would wait for the device
                    highest, likeliest = scores.max(1, keepdim=True)
                    exact = (scores.view(-1)[own] - highest[:, 0]).float()
                    exact += probabilities.gather(1, likeliest)[:, 0].float().log()
                    likelihood[block] = torch.where(lost, exact.to(likelihood.dtype), likelihood[block])
                elif lost.any():
                    again = states[block][lost] @ items.T
                    exact = torch.log_softmax(again.float(), 1).gather(1, targets[block][lost, None])[:, 0]
                    likelihood[block] = likelihood[block].masked_scatter(lost, exact.to(likelihood.dtype))
                probabilities.view(-1).index_add_(0, own, probabilities.new_full((len(own),), -1))
                torch.matmul(probabilities, items, out=of_states[block])
                if product == table.dtype:
                    of_items.addmm_(probabilities.T, weighted[block])
                else:
                    of_items += torch.matmul(probabilities.T, weighted[block], out=part)
        ctx.save_for_backward(of_states[:n_targets], of_items.mul_(largest), weights[:n_targets])
        return -(weights * likelihood).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        of_states, of_items, weights = ctx.saved_tensors
        (gradient,) = gradients
        return (of_states * (gradient * weights)[:, None]).to(of_items.dtype), of_items * gradient, None, None
