"""The output layer over a sharded item table: exact full softmax in two ways.

`gathered_softmax_loss` returns one loss for each local sample as the core's `sampled_losses` does. `global_mean`
turns the losses into the number for `backward`. `vocab_parallel_loss` returns this number directly. Its mean over
the ranks is the mean over the global batch. GradientMean and TorchRec average gradients over the ranks. The
gradients thus equal the gradients of one process with the whole batch.

Shapes: B local samples, G global samples, D dimensions, N rows of the table (row 0 is padding), M rows of this rank's
block, W ranks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from genpas_plugins.neural.layers.catalogue_loss import block_rows, weighted_catalogue_loss
from genpas_plugins.support.errors import InputError

# torch 2.13 renames both; older ones know the second name only.
_all_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
_reduce_scatter = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor


def row_block(n_rows: int, rank: int, world_size: int) -> range:
    """Return the rows of the table that a rank scores: blocks of ceil(N / W) as in TorchRec's row-wise sharding.

    Row-wise sharding keeps them on the rank and their lookup moves nothing. Under any sharding the blocks hold each row
    once. The block of a late rank may be empty.
    """
    block = -(-n_rows // world_size)
    return range(min(rank * block, n_rows), min((rank + 1) * block, n_rows))


def gather_rows(rows: Tensor, sizes: Sequence[int], group: dist.ProcessGroup) -> Tensor:
    """Return the rows [sizes[rank], D] of all ranks as one tensor [sum of sizes, D]. Gradients are summed."""
    if len(sizes) == 1:
        return rows
    gathered: Tensor = cast(Any, _GatherRows).apply(rows, tuple(sizes), group)
    return gathered


def gathered_softmax_loss(
    hidden: Tensor, own_rows: Tensor, targets: Tensor, *, n_rows: int, group: dist.ProcessGroup
) -> Tensor:
    """Return the cross-entropy [B] over all rows with the whole table on every rank.

    A step moves N × D numbers in each direction and holds logits [B, N]. Use it for small tables.

    Parameters
    ----------
    hidden : float [B, D]
    own_rows : rows of `row_block` for this rank, float [M, D]
    targets : int64 [B] from 0 to N - 1
    n_rows : N
    group : process group over which the table is cut

    Raises
    ------
    InputError
        On every rank if a target of any rank is out of range.
    """
    _sizes_of_ranks(targets, n_rows, group)
    table = gather_rows(own_rows, _block_sizes(n_rows, group), group)
    return functional.cross_entropy(hidden @ table.T, targets, reduction="none")


def vocab_parallel_loss(
    hidden: Tensor,
    own_rows: Tensor,
    targets: Tensor,
    weights: Tensor | None,
    *,
    n_rows: int,
    group: dist.ProcessGroup,
    count: int | None = None,
) -> Tensor:
    """Return the `global_mean` of the cross-entropy over all rows. Each rank scores all samples with its own rows.

    A step moves G × D numbers in each direction. The forward pass computes the gradients block by block without a
    matrix of all scores. Errors and gradients are the same as in `gathered_softmax_loss` up to rounding. Under
    `torch.autocast` matrix products have its type and sums are float32.

    Parameters
    ----------
    hidden, own_rows, targets, n_rows, group : see `gathered_softmax_loss`
    weights, count : see `global_mean`
    """
    sizes, counted = _sizes_of_ranks(targets, n_rows, group, count)
    rank, world_size = dist.get_rank(group), len(sizes)
    weights = torch.ones_like(targets) if weights is None else weights
    hidden = hidden.to(own_rows.dtype)
    # One gather: float64 holds every item number exactly.
    of_all = gather_rows(torch.stack([targets.double(), weights.double()], 1), sizes, group)
    total = of_all[:, 1].sum() if count is None else counted
    factors = (of_all[:, 1] * world_size / total).to(hidden.dtype)
    columns = of_all[:, 0].long() - row_block(n_rows, rank, world_size).start
    own = slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))
    if world_size == 1 and hidden.device.type == "cpu":  # fewer passes over the scores, and more kernels
        return weighted_catalogue_loss(hidden, own_rows, columns, factors)
    rows_at_once = block_rows(len(row_block(n_rows, 0, world_size)), hidden.device)
    loss: Tensor = cast(Any, _VocabParallelLoss).apply(
        gather_rows(hidden, sizes, group), own_rows, columns, factors, own, rows_at_once, group
    )
    return loss


def global_mean(losses: Tensor, weights: Tensor | None, group: dist.ProcessGroup, count: int | None = None) -> Tensor:
    """Return W × Σ w·loss over this rank / Σ w over all ranks. Its mean over the ranks is the global mean.

    It is exact for ranks with different numbers of samples.

    Parameters
    ----------
    losses : float [B]
    weights : float [B]; None: every sample counts once
    group : process group of the ranks
    count : this rank's part of the divisor instead of Σ w: the number of examples of weighted targets
    """
    weights = torch.ones_like(losses) if weights is None else weights.to(losses)
    total = weights.sum().detach() if count is None else weights.new_full((), count)
    dist.all_reduce(total, group=group)
    return (weights * losses).sum() * dist.get_world_size(group) / total


def _block_sizes(n_rows: int, group: dist.ProcessGroup) -> list[int]:
    world_size = dist.get_world_size(group)
    return [len(row_block(n_rows, rank, world_size)) for rank in range(world_size)]


def _sizes_of_ranks(
    targets: Tensor, n_rows: int, group: dist.ProcessGroup, count: int | None = None
) -> tuple[list[int], int]:
    """Return every rank's number of samples and the sum of the ranks' `count`.

    Raises InputError on every rank for a target out of range. A single GPU stops at such a target by itself.
    """
    if dist.get_world_size(group) == 1 and targets.device.type != "cpu":
        # To read the range is to wait for the device.
        torch._assert_async(((targets >= 0) & (targets < n_rows)).all())
        return [len(targets)], count or 0
    low, high = (targets.min(), targets.max()) if len(targets) else (targets.new_zeros(()),) * 2
    mine = torch.stack([torch.full_like(low, len(targets)), low, high, torch.full_like(low, count or 0)]).long()
    of_all = mine.new_empty(dist.get_world_size(group) * len(mine))
    _all_gather(of_all, mine, group=group)
    ranks: list[list[int]] = of_all.view(-1, len(mine)).tolist()
    for rank, (_, lowest, highest, _) in enumerate(ranks):
        if lowest < 0 or highest >= n_rows:
            wrong = lowest if lowest < 0 else highest
            raise InputError(
                f"Target {wrong} in the batch of rank {rank} is outside the item table, which has rows 0 to "
                f"{n_rows - 1}. Build the model for the catalogue of the store that the batches come from."
            )
    return [size for size, *_ in ranks], sum(counted for *_, counted in ranks)


class _GatherRows(torch.autograd.Function):
    """All-gather of blocks of different heights; backward adds every rank's gradient to the owner's block."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, sizes: tuple[int, ...], group: dist.ProcessGroup) -> Tensor:
        ctx.sizes, ctx.group = sizes, group
        highest = max(sizes)
        padded = rows.new_zeros(highest, *rows.shape[1:])
        padded[: len(rows)] = rows
        gathered = rows.new_empty(len(sizes) * highest, *rows.shape[1:])
        _all_gather(gathered, padded, group=group)
        return torch.cat([block[:size] for block, size in zip(torch.split(gathered, highest), sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = gradients
        highest = max(ctx.sizes)
        padded = gradient.new_zeros(len(ctx.sizes), highest, *gradient.shape[1:])
        for block, part in zip(padded, torch.split(gradient, ctx.sizes), strict=True):
            block[: len(part)] = part
        summed = torch.empty_like(padded[0])
        _reduce_scatter(summed, padded.flatten(0, 1), group=ctx.group)
        return summed[: ctx.sizes[dist.get_rank(ctx.group)]], None, None


class _VocabParallelLoss(torch.autograd.Function):
    """Σ factor · cross-entropy over this rank's samples; the gradients are of the sum over all ranks."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, own_rows: Tensor, columns: Tensor, factors: Tensor, *plan: Any) -> Tensor:
        """Return the loss. `columns` [G] are the targets' columns: outside 0 to M - 1 on other ranks.

        `plan` is the slice of this rank's samples, the number of samples in a block and the group.
        """
        (own, rows_at_once, group), n_columns, device = plan, len(own_rows), hidden.device.type
        product = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
        of_hidden, of_rows = torch.empty_like(hidden), torch.zeros_like(own_rows)
        losses = hidden.new_empty(len(hidden))
        place = columns.clamp(0, max(n_columns - 1, 0))[:, None]
        here = ((columns >= 0) & (columns < n_columns)).to(hidden.dtype)[:, None]
        with torch.autocast(device, enabled=False):  # it would turn the sums into another type
            states, rows = hidden.to(product), own_rows.to(product)
            for first in range(0, len(hidden), rows_at_once):
                block = slice(first, first + rows_at_once)
                scores = (states[block] @ rows.T).to(hidden.dtype)
                if n_columns == 0:
                    scores = functional.pad(scores, (0, 1), value=-math.inf)
                # Of this rank's columns, then of all ranks'.
                summed = torch.stack([scores.logsumexp(1), (scores.gather(1, place[block]) * here[block])[:, 0]])
                if n_columns == 0:
                    summed[1] = 0
                if dist.get_world_size(group) > 1:
                    of_ranks = summed.new_empty(dist.get_world_size(group), *summed.shape)
                    _all_gather(of_ranks.flatten(0, 1), summed, group=group)
                    summed = torch.stack([of_ranks[:, 0].logsumexp(0), of_ranks[:, 1].sum(0)])
                losses[block] = summed[0] - summed[1]
                of_scores = scores.sub_(summed[0][:, None]).exp_().scatter_add_(1, place[block], -here[block])
                of_scores = of_scores.mul_(factors[block, None])[:, :n_columns].to(product)
                if product == hidden.dtype:
                    torch.matmul(of_scores, rows, out=of_hidden[block])
                    of_rows.addmm_(of_scores.T, states[block])
                else:
                    of_hidden[block] = of_scores @ rows
                    of_rows += of_scores.T @ states[block]
        ctx.save_for_backward(of_hidden, of_rows)
        return (factors[own] * losses[own]).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        # The ranks' gradients of this loss are equal: each rank calls backward on its part of one mean.
        of_hidden, of_rows = ctx.saved_tensors
        return of_hidden * gradients[0], of_rows * gradients[0], None, None, None, None, None
