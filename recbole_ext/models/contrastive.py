"""SASRec with a contrastive loss beside its own: the common part of CL4SRec and DuoRec."""

from __future__ import annotations

from typing import Any

import torch
from recbole.data.interaction import Interaction
from recbole.model.sequential_recommender import SASRec
from torch import Tensor
from torch.nn import functional

from genpas_plugins.support.errors import InputError
from recbole_ext.models.same_target import Histories


class ContrastiveSASRec(SASRec):
    """SASRec's loss plus `contrastive_weight` times `info_nce` of two views; a subclass makes the views."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.weight, self.temperature = config["contrastive_weight"], config["temperature"]
        if not self.temperature > 0:
            raise InputError(f"temperature is {self.temperature}, but similarities are divided by it. Set it above 0.")

    def views(self, histories: Histories, targets: Tensor) -> tuple[Histories, Histories]:
        """Return two views of every history of a batch."""
        raise NotImplementedError

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Return the mean loss of the batch, a scalar."""
        lengths = interaction[self.ITEM_SEQ_LEN]
        items = interaction[self.ITEM_SEQ][:, : int(lengths.max())]  # SASRec ignores padding
        own: Tensor = super().calculate_loss(Interaction({**interaction.interaction, self.ITEM_SEQ: items}))
        one, other = self.views(Histories(items, lengths), interaction[self.POS_ITEM_ID])
        contrast = info_nce(self.forward(*one), self.forward(*other), self.temperature)
        total: Tensor = own + self.weight * contrast
        return total


def info_nce(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """Return InfoNCE of B pairs of vectors `[B, D]`, a scalar, by dot product: the 2 B - 2 others are negatives."""
    vectors = torch.cat([one, other]).float()
    similarity = (vectors @ vectors.T / temperature).fill_diagonal_(-torch.inf)
    partner = torch.arange(len(vectors), device=vectors.device).roll(len(one))
    return functional.cross_entropy(similarity, partner)
