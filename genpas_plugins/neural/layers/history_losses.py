"""Losses of single histories against their target. Shapes: B histories, D dimensions."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from genpas_plugins.support.errors import InputError, nearest

LOSSES = ("CE", "BPR", "BCE")
_LEAST = 1e-10  # RecBole's BPRLoss adds this inside the logarithm


class Targets(NamedTuple):
    """What histories are trained towards."""

    positive: Tensor  # int64 [B], the next items
    negative: Tensor | None = None  # int64 [B], or None for CE, which has all other items as negatives


def check_loss(kind: str, targets: Targets) -> None:
    """Raise InputError for a loss that is not in LOSSES or lacks its negatives."""
    if kind not in LOSSES:
        raise InputError(f"loss_type is {kind!r}.{nearest(kind, LOSSES)}")
    if kind != "CE" and targets.negative is None:
        raise InputError(f"loss_type {kind} needs a sampled negative for each history. Set train_neg_sample_args.")


def history_losses(kind: str, hidden: Tensor, table: Tensor, targets: Targets) -> Tensor:
    """Return the loss `float [B]` of every history.

    Parameters
    ----------
    kind : CE (softmax over all items), BPR or BCE (-log σ(positive) - log(1 - σ(negative)))
    hidden : float [B, D], encoder outputs
    table : float [n_items, D], item embeddings
    targets : the items
    """
    if kind == "CE":
        return functional.cross_entropy(hidden @ table.T, targets.positive, reduction="none")
    assert targets.negative is not None
    return pairwise_losses(kind, hidden, table[targets.positive], table[targets.negative])


def pairwise_losses(kind: str, hidden: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """Return the BPR or BCE loss `float [B]` of encoder outputs against two item vectors each: `float [B, D]`."""
    good, bad = (hidden * positive).sum(1), (hidden * negative).sum(1)
    if kind == "BPR":
        return -torch.log(_LEAST + torch.sigmoid(good - bad))
    return -functional.logsigmoid(good) - functional.logsigmoid(-bad)
