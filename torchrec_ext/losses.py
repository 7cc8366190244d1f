"""The output layer over a sharded item table: exact full softmax in two ways, and sampled softmax.

Every function returns one loss for each local sample. `global_mean` turns the losses into the number for `backward`:
its mean over the ranks is the mean over the global batch. DistributedDataParallel and TorchRec average gradients
over the ranks, so the gradients are equal to the gradients of one process with the whole batch.

Shapes: B local samples, G global samples, D dimensions, N rows of the table (row 0 is padding), M rows of this rank's
block, K negatives, W ranks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional

from genpas_plugins.support.errors import InputError

# torch 2.13 renames both; older ones know the second name only.
_all_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
_reduce_scatter = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor


def row_block(n_rows: int, rank: int, world_size: int) -> range:
    """Return the rows of the table that a rank scores: blocks of ceil(N / W), as in TorchRec's row-wise sharding.

    Row-wise sharding keeps them on the rank, so their lookup moves nothing. Under any sharding the blocks hold each row
    once. The block of a late rank may be empty.
    """
    block = -(-n_rows // world_size)
    return range(min(rank * block, n_rows), min((rank + 1) * block, n_rows))


def gather_rows(rows: Tensor, sizes: Sequence[int], group: dist.ProcessGroup) -> Tensor:
    """Return the rows [sizes[rank], D] of all ranks as one tensor [sum of sizes, D]; gradients are summed."""
    gathered: Tensor = cast(Any, _GatherRows).apply(rows, tuple(sizes), group)
    return gathered


def gathered_softmax_loss(
    hidden: Tensor, own_rows: Tensor, targets: Tensor, *, n_rows: int, group: dist.ProcessGroup
) -> Tensor:
    """Return the cross-entropy [B] over all rows, with the whole table on every rank.

    A step moves N × D numbers in each direction and holds logits [B, N], so this mode is for small tables.

    Parameters
    ----------
    hidden : float [B, D]
    own_rows : float [M, D], the rows of `row_block` for this rank
    targets : int64 [B], from 0 to N - 1
    n_rows : N
    group : process group over which the table is cut

    Raises
    ------
    InputError
        On every rank, if a target of any rank is out of range.
    """
    _sizes_of_ranks(targets, n_rows, group)
    table = gather_rows(own_rows, _block_sizes(n_rows, group), group)
    return functional.cross_entropy(hidden @ table.T, targets, reduction="none")


def vocab_parallel_loss(
    hidden: Tensor, own_rows: Tensor, targets: Tensor, *, n_rows: int, group: dist.ProcessGroup
) -> Tensor:
    """Return the cross-entropy [B] over all rows; each rank scores the global batch against its own rows.

    A step moves G × D numbers in each direction and holds logits [G, M]. Parameters, errors, losses and gradients are
    the same as in `gathered_softmax_loss`, up to rounding.
    """
    sizes = _sizes_of_ranks(targets, n_rows, group)
    rank = dist.get_rank(group)
    hidden_of_all = gather_rows(hidden, sizes, group)
    targets_of_all = gather_rows(targets[:, None], sizes, group)[:, 0]
    logits = (hidden_of_all @ own_rows.T).float()
    columns = targets_of_all - row_block(n_rows, rank, len(sizes)).start
    losses: Tensor = cast(Any, _ShardedCrossEntropy).apply(logits, columns, group)
    first = sum(sizes[:rank])
    return losses[first : first + sizes[rank]]


def sampled_softmax_loss(
    hidden: Tensor, target_rows: Tensor, negative_rows: Tensor, *, targets: Tensor, negatives: Tensor, log_q: Tensor
) -> Tensor:
    """Return the sampled softmax loss [B] with negatives that all samples of the batch share.

    The normaliser's estimate is exp(s_target) + Σ_k exp(s_k) / (K q_k) over the negatives other than the target. Its
    expectation is the full normaliser, Σ_j exp(s_j) over all j with q_j > 0, for any proposal q. The target is always
    in the sum, so its score has no correction.

    Parameters
    ----------
    hidden : float [B, D]
    target_rows, negative_rows : float [B, D] and [K, D], rows of the table
    targets, negatives : int64 [B] and [K], item numbers; negatives are drawn with replacement from q
    log_q : float [K], natural logarithm of each negative's probability under q
    """
    target_scores = (hidden * target_rows).sum(-1, keepdim=True)
    scores = hidden @ negative_rows.T - (log_q + math.log(max(len(negatives), 1)))
    scores = scores.masked_fill(targets[:, None] == negatives, -math.inf)
    return torch.logsumexp(torch.cat([target_scores, scores], dim=1), dim=1) - target_scores[:, 0]


def global_mean(losses: Tensor, weights: Tensor | None, group: dist.ProcessGroup, count: int | None = None) -> Tensor:
    """Return W × Σ w·loss over this rank / Σ w over all ranks, whose mean over the ranks is the global mean.

    It is exact for ranks with different numbers of samples.

    Parameters
    ----------
    losses : float [B]
    weights : float [B]; None: every sample counts once
    group : process group of the ranks
    count : this rank's part of the divisor instead of Σ w: the number of windows, whose targets are weighted
    """
    weights = torch.ones_like(losses) if weights is None else weights.to(losses)
    total = weights.sum().detach() if count is None else weights.new_full((), count)
    dist.all_reduce(total, group=group)
    return (weights * losses).sum() * dist.get_world_size(group) / total


def _block_sizes(n_rows: int, group: dist.ProcessGroup) -> list[int]:
    world_size = dist.get_world_size(group)
    return [len(row_block(n_rows, rank, world_size)) for rank in range(world_size)]


def _sizes_of_ranks(targets: Tensor, n_rows: int, group: dist.ProcessGroup) -> list[int]:
    """Return every rank's number of samples. Raises InputError on every rank for a target out of range."""
    low, high = (targets.min(), targets.max()) if len(targets) else (targets.new_zeros(()),) * 2
    mine = torch.stack([torch.full_like(low, len(targets)), low, high]).long()
    of_all = mine.new_empty(dist.get_world_size(group) * 3)
    _all_gather(of_all, mine, group=group)
    ranks: list[list[int]] = of_all.view(-1, 3).tolist()
    for rank, (_, lowest, highest) in enumerate(ranks):
        if lowest < 0 or highest >= n_rows:
            wrong = lowest if lowest < 0 else highest
            raise InputError(
                f"Target {wrong} in the batch of rank {rank} is outside the item table, which has rows 0 to "
                f"{n_rows - 1}. Build the model for the catalogue of the store that the batches come from."
            )
    return [size for size, _, _ in ranks]


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


class _ShardedCrossEntropy(torch.autograd.Function):
    """Cross-entropy [G] of logits with columns on several ranks; equal on every rank, and exact for empty blocks."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, columns: Tensor, group: dist.ProcessGroup) -> Tensor:
        """Return the losses; `columns` [G] are the targets' columns, outside 0 to M - 1 on other ranks."""
        samples, n_columns = logits.shape
        own = (columns >= 0) & (columns < n_columns)
        highest = logits.amax(1) if n_columns else logits.new_full((samples,), -math.inf)
        dist.all_reduce(highest, op=dist.ReduceOp.MAX, group=group)
        shifted = logits - highest[:, None]
        at_target = logits.new_zeros(samples)
        at_target[own] = shifted[own, columns[own]]
        probabilities = shifted.exp_()
        sums = torch.stack([probabilities.sum(1), at_target])
        dist.all_reduce(sums, group=group)
        ctx.save_for_backward(probabilities.div_(sums[0][:, None]), columns, own)
        ctx.group = group
        return sums[0].log() - sums[1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        probabilities, columns, own = ctx.saved_tensors
        # Each rank uses the losses of its own samples alone, so the ranks' gradients are added up.
        gradient = gradients[0].clone()
        dist.all_reduce(gradient, group=ctx.group)
        of_logits = probabilities * gradient[:, None]
        of_logits[own, columns[own]] -= gradient[own]
        return of_logits, None, None
