"""Losses of single histories against their target, plain and with mixed targets; float [B].

A plain loss is a mixed one with the `Targets` as they are, and equal to it to the bit at λ = 1.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from genpas_plugins.neural.basrec.mixture import mix
from genpas_plugins.neural.basrec.step_draws import Cross
from genpas_plugins.support.errors import InputError, nearest

LOSSES = ("CE", "BPR", "BCE")
_LEAST = 1e-10
"""RecBole's BPRLoss adds this inside the logarithm."""


class Targets(NamedTuple):
    """What histories are trained towards.

    positive : int64 [B], the next items
    negative : int64 [B], or None for CE, where all other items are negatives
    """

    positive: Tensor
    negative: Tensor | None = None


def check_loss(kind: str, targets: Targets) -> None:
    """Raise InputError for a loss that is not among LOSSES, or lacks its negatives."""
    if kind not in LOSSES:
        raise InputError(f"loss_type is {kind!r}.{nearest(kind, LOSSES)}")
    if kind != "CE" and targets.negative is None:
        raise InputError(f"loss_type {kind} needs a sampled negative a history.")


def history_losses(kind: str, hidden: Tensor, table: Tensor, targets: Targets) -> Tensor:
    """Return the loss of every history.

    kind   : CE (softmax over all items), BPR or BCE (-log σ(positive) - log(1 - σ(negative)))
    hidden : encoder outputs [B, D]
    table  : item embeddings [n_items, D]
    """
    if kind == "CE":
        return functional.cross_entropy(hidden @ table.T, targets.positive, reduction="none")
    assert targets.negative is not None
    return _pairwise(kind, hidden, table[targets.positive], table[targets.negative])


def mixed_losses(kind: str, hidden: Tensor, table: Tensor, targets: Targets, cross: Cross) -> Tensor:
    """Return the loss of every history mixed with its partner: encoder outputs and target embeddings by the same λ.

    With BPR and BCE the positive and negative embeddings are mixed. CE has all items as candidates: history b's
    candidates are mixed by the exchange of its target i with its partner's j, so that i becomes λ e_i + (1 - λ) e_j,
    j becomes λ e_j + (1 - λ) e_i and the others stay. λ = 1 is the plain loss of b, λ = 0 that of the partner.

    The paper's λ are [B, L, 1] item-wise and [B, 1, D] feature-wise, for models trained at all L positions; a history
    has one target here, so its last position is the only one and λ is [B, 1] or [B, D].
    """
    partner, share = cross
    mixed = mix(hidden, hidden[partner], share)
    if kind == "CE":
        logits = mixed @ table.T
        own, other = targets.positive, targets.positive[partner]
        shift = (mixed * (mix(table[own], table[other], share) - table[own])).sum(1, keepdim=True).to(logits.dtype)
        # Where both targets are one item, both shifts are 0.
        logits = logits.scatter_add(1, own[:, None], shift).scatter_add(1, other[:, None], -shift)
        return functional.cross_entropy(logits, own, reduction="none")
    assert targets.negative is not None
    positive, negative = table[targets.positive], table[targets.negative]
    return _pairwise(kind, mixed, mix(positive, positive[partner], share), mix(negative, negative[partner], share))


def _pairwise(kind: str, hidden: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    good, bad = (hidden * positive).sum(1), (hidden * negative).sum(1)
    if kind == "BPR":
        return -torch.log(_LEAST + torch.sigmoid(good - bad))
    return -functional.logsigmoid(good) - functional.logsigmoid(-bad)
