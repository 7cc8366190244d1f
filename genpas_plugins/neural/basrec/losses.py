"""BASRec's losses of a batch: of its views, each history mixed with a changed copy, and across its histories.

A training step's loss is L = L_plain + Σ_views ω L + Σ_cross L, after a first stage of L_plain alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from genpas_plugins.neural.basrec.batch_operators import reorder, substitute
from genpas_plugins.neural.basrec.mixture import adaptive_weights, weighted
from genpas_plugins.neural.basrec.step_draws import View, draw_cross, draw_view
from genpas_plugins.neural.layers.history_losses import Targets, history_losses, mixed_losses
from genpas_plugins.settings.mixing import MixingConfig


class Batch(NamedTuple):
    """Histories int64 [B, L], right-padded with 0, their lengths int64 [B], and what they are trained towards."""

    histories: Tensor
    lengths: Tensor
    targets: Targets


class Model(NamedTuple):
    """What BASRec asks of a model.

    kind       : its loss, one of `losses.LOSSES`
    table      : its item embeddings [n_items, D]
    neighbours : the item that replaces each one, int64 [n_items]
    encode     : encode(changed, share) gives the encoder outputs [B, D] of the batch's histories s with embeddings
                 λ E(s) + (1 - λ) E(s′); changed int64 [B, L] is s′, share [B, 1, 1] is λ
    """

    kind: str
    table: Tensor
    neighbours: Tensor
    encode: Callable[[Tensor, Tensor], Tensor]


def changed_histories(batch: Batch, neighbours: Tensor, view: View) -> Tensor:
    """Return s′ of every history, int64 [B, L]: reordered (M-Reorder) or with items substituted (M-Substitute)."""
    histories, lengths, _ = batch
    return torch.where(
        view.reordered[:, None],
        reorder(histories, lengths, view.rate, view.start, view.positions),
        substitute(histories, lengths, view.rate, view.positions, neighbours),
    )


def view_loss(model: Model, batch: Batch, view: View, released_weights: bool = False) -> Tensor:
    """Return the weighted loss of one view, a scalar."""
    hidden = model.encode(changed_histories(batch, model.neighbours, view), view.share[:, None, None])
    losses = history_losses(model.kind, hidden, model.table, batch.targets)
    return weighted(losses, adaptive_weights(view.share, view.rate), released_weights)


def mixing_losses(
    config: MixingConfig, random: np.random.Generator, model: Model, batch: Batch, hidden: Tensor
) -> tuple[Tensor, Tensor]:
    """Return what is added to a step's plain loss: the sums of the views' and of the cross losses, scalars.

    hidden : encoder outputs [B, D] of the plain histories
    """
    views, cross = hidden.new_zeros(()), hidden.new_zeros(())
    for _ in range(config.views):
        view = draw_view(random, config, batch.histories)
        views = views + view_loss(model, batch, view, config.released_weights)
    for _ in range(config.cross):
        drawn = draw_cross(random, config, hidden)
        cross = cross + mixed_losses(model.kind, hidden, model.table, batch.targets, drawn).mean()
    return views, cross
