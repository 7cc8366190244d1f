"""BASRec's losses of a batch: each history mixed with a changed copy and histories mixed with each other.

A training step's loss is L = L_plain + Σ_views ω L + Σ_cross L. The first stage trains on L_plain alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from genpas_plugins.neural.basrec.batch_operators import reorder, substitute
from genpas_plugins.neural.basrec.mixture import adaptive_weights, mix, weigh
from genpas_plugins.neural.basrec.step_draws import Cross, View, draw_cross, draw_view
from genpas_plugins.neural.layers.history_losses import Targets, history_losses, pairwise_losses
from genpas_plugins.settings.mixing import MixingConfig


class Batch(NamedTuple):
    """Right-padded histories `int64 [B, L]`, their lengths `int64 [B]` and their targets."""

    histories: Tensor
    lengths: Tensor
    targets: Targets


class Model(NamedTuple):
    """What BASRec asks of a model."""

    kind: str  # its loss, one of `history_losses.LOSSES`
    table: Tensor  # its item embeddings, float [n_items, D]
    neighbours: Tensor  # int64 [n_items], the item that replaces each item
    # encode(changed, share) returns the encoder outputs [B, D] for embeddings λ E(s) + (1 - λ) E(s′) of the batch's
    # histories s; `changed` int64 [B, L] is s′ and `share` [B, 1, 1] is λ.
    encode: Callable[[Tensor, Tensor], Tensor]


def changed_histories(batch: Batch, neighbours: Tensor, view: View) -> Tensor:
    """Return s′ `int64 [B, L]` of every history: reordered (M-Reorder) or with substituted items (M-Substitute)."""
    histories, lengths, _ = batch
    return torch.where(
        view.reordered[:, None],
        reorder(histories, lengths, view.rate, view.start, view.positions),
        substitute(histories, lengths, view.rate, view.positions, neighbours),
    )


def view_loss(model: Model, batch: Batch, view: View, released_weights: bool = False) -> Tensor:
    """Return the scalar weighted loss of one view. `released_weights` is `released` of `mixture.weigh`."""
    hidden = model.encode(changed_histories(batch, model.neighbours, view), view.share[:, None, None])
    losses = history_losses(model.kind, hidden, model.table, batch.targets)
    return weigh(losses, adaptive_weights(view.share, view.rate), released_weights)


def mixed_losses(kind: str, hidden: Tensor, table: Tensor, targets: Targets, cross: Cross) -> Tensor:
    """Return the loss `float [B]` of every history mixed with its partner.

    Encoder outputs and target embeddings are mixed by the same λ: positive and negative ones for BPR and BCE. CE
    has all items as candidates. History b thus exchanges its target i with its partner's j: candidate i becomes
    λ e_i + (1 - λ) e_j and candidate j becomes λ e_j + (1 - λ) e_i. λ = 1 is the plain loss of b to the bit.

    The paper's λ have the shapes [B, L, 1] and [B, 1, D] for models that train at all L positions. A history has one
    target here: λ is `[B, 1]` item-wise or `[B, D]` feature-wise.
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
    positive, negative = (
        mix(rows, rows[partner], share) for rows in (table[targets.positive], table[targets.negative])
    )
    return pairwise_losses(kind, mixed, positive, negative)


def mixing_losses(
    config: MixingConfig, random: np.random.Generator, model: Model, batch: Batch, hidden: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the scalars that a step adds to its plain loss: the sums of the view losses and of the cross losses.

    Parameters
    ----------
    config : the `mixing` section
    random : generator of the step
    model : what is trained
    batch : histories and targets
    hidden : float [B, D], encoder outputs of the plain histories
    """
    views, cross = hidden.new_zeros(()), hidden.new_zeros(())
    for _ in range(config.views):
        view = draw_view(random, config, batch.histories)
        views = views + view_loss(model, batch, view, config.released_weights)
    for _ in range(config.cross):
        drawn = draw_cross(random, config, hidden)
        cross = cross + mixed_losses(model.kind, hidden, model.table, batch.targets, drawn).mean()
    return views, cross
