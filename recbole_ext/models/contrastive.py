"""SASRec with a contrastive loss beside its own: the common part of CL4SRec and DuoRec."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from genpas_plugins.support.errors import InputError
from recbole_ext.fast_layers import fast_layers
from recbole_ext.models.grouped_sasrec import GroupedSASRec
from recbole_ext.models.same_target import Histories


class ContrastiveSASRec(GroupedSASRec, ABC):
    """SASRec's loss plus `contrastive_weight` times `info_nce` of two views; a subclass makes the views."""

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.weight, self.temperature = config["contrastive_weight"], config["temperature"]
        if not self.temperature > 0:
            raise InputError(f"temperature is {self.temperature}, but similarities are divided by it. Set it above 0.")

    @abstractmethod
    def views(self, histories: Histories, targets: Tensor) -> tuple[Histories, Histories]:
        """Return two views of every history of a batch."""

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Return the scalar mean loss of the batch."""
        own = super().calculate_loss(interaction)
        histories = Histories(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        one, other = self.views(histories, interaction[self.POS_ITEM_ID])
        with fast_layers(self):
            contrast = info_nce(self.forward(*one), self.forward(*other), self.temperature)
        loss: Tensor = own + self.weight * contrast
        return loss


def info_nce(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """Return the scalar InfoNCE of B pairs of vectors `[B, D]` by dot product.

    The 2 B - 2 other vectors are the negatives.
    """
    vectors = torch.cat([one, other]).float()
    similarity = (vectors @ vectors.T / temperature).fill_diagonal_(-torch.inf)
    partner = torch.arange(len(vectors), device=vectors.device).roll(len(one))
    return functional.cross_entropy(similarity, partner)
