"""`trim: true` in RecBole: encode a batch in groups of similar length and pad each to its longest history.

Most histories are far shorter than the longest of their batch. Groups are made inside the drawn batch. Its pairs and
its mean loss stay and the padding shrinks. Full ranking uses the same groups and gives every user the same scores.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from genpas_plugins.neural.layers.length_groups import LengthOrder
from genpas_plugins.support.override import override
from recbole_ext.fast_layers import fast_layers, last_position


class DrawnInteraction(Interaction):
    """A batch with CPU copies of the fields that a step reads there. Reading them from a GPU would wait for it.

    Parameters
    ----------
    interaction : dict of the fields
    kept : fields on the CPU by name
    by_length : of a batch that was drawn on a device
    n_targets : trained targets of such a batch or of a group
    """

    def __init__(
        self,
        interaction: Any,
        kept: dict[str, Tensor],
        by_length: LengthOrder | None = None,
        n_targets: int | None = None,
    ) -> None:
        super().__init__(interaction)
        self.kept, self.by_length, self.n_targets = kept, by_length, n_targets

    def to(self, device: Any, selected_field: Any = None) -> DrawnInteraction:
        """Return the batch on a device."""
        moved = super().to(device, selected_field).interaction
        return DrawnInteraction(moved, self.kept, self.by_length, self.n_targets)


def on_cpu(interaction: Interaction, field: str) -> Tensor:
    """Return a field of a batch on the CPU. Only a batch of RecBole's own loaders makes this wait for a GPU."""
    kept: dict[str, Tensor] = getattr(interaction, "kept", {})
    return kept[field] if field in kept else interaction[field].cpu()


def order_of(model: Any, interaction: Interaction) -> LengthOrder:
    """Return the histories of a batch by length."""
    known: LengthOrder | None = getattr(interaction, "by_length", None)
    if known is not None:
        return known
    return LengthOrder.of(on_cpu(interaction, model.ITEM_SEQ_LEN))


def trimmed_groups(
    model: Any, interaction: Interaction, by_length: LengthOrder | None = None
) -> Iterator[tuple[Tensor, Interaction]]:
    """Yield the int64 rows of every group of similar length and these rows of the batch with less padding."""
    host_order, groups = by_length or order_of(model, interaction)
    order = host_order.to(interaction[model.ITEM_SEQ_LEN].device)
    ordered = Interaction({name: values[order] for name, values in interaction.interaction.items()})
    begin = 0
    for size, width, n_targets in groups:
        rows = slice(begin, begin + size)
        group, begin = ordered[rows], rows.stop
        group.interaction[model.ITEM_SEQ] = group.interaction[model.ITEM_SEQ][:, :width]
        kept = {name: values[host_order[rows]] for name, values in getattr(interaction, "kept", {}).items()}
        yield order[rows], DrawnInteraction(group.interaction, kept, n_targets=n_targets)


def ranking_in_groups(model: Any) -> AbstractContextManager[None]:
    """Let the model's full_sort_predict `float [B, n_items]` read a batch group by group inside the block."""
    whole = model.full_sort_predict

    def full_sort_predict(interaction: Interaction) -> Tensor:
        with last_position(model):
            rows, parts = zip(
                *((rows, whole(group).view(len(group), -1)) for rows, group in trimmed_groups(model, interaction)),
                strict=True,
            )
        scores: Tensor = torch.cat(parts)[torch.cat(rows).argsort()]
        return scores

    return override(model, full_sort_predict=full_sort_predict)


class TrimmedLoss:
    """A model's own loss of a batch group by group. It replaces `model.calculate_loss`."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __call__(self, interaction: Any) -> Tensor:
        """Return the mean loss of the batch: the groups' means weighted by their rows."""
        model, total = self.model, torch.zeros((), device=self.model.device)
        with fast_layers(model), last_position(model):
            for rows, group in trimmed_groups(model, interaction):
                loss = model.calculate_loss(group)
                total = total + loss * (len(rows) / len(interaction))
        return total
