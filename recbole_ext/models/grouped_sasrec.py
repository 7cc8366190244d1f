"""RecBole's SASRec, but faster: each group of similar histories is padded to its own longest history."""

from __future__ import annotations

from typing import Any

import torch
from recbole.model.sequential_recommender import SASRec
from torch import Tensor

from genpas_plugins.neural.layers.length_groups import LengthOrder
from recbole_ext.fast_layers import fast_layers


class GroupedSASRec(SASRec):
    """SASRec with the same vectors and less padding for losses that `trim: true` cannot split."""

    def forward(self, item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
        """Return the states at the histories' last items, `[B, D]`; item_seq is `int64 [B, L]`, right-padded."""
        by_length, encode = LengthOrder.of(item_seq_len.cpu()), super().forward
        parts = [
            encode(item_seq[rows, : group.width], item_seq_len[rows])
            for rows, group in zip(by_length.rows, by_length.groups, strict=True)
        ]
        vectors: Tensor = torch.cat(parts)[by_length.order.argsort().to(item_seq.device)]
        return vectors

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Return the scalar mean loss of the batch."""
        with fast_layers(self):
            loss: Tensor = super().calculate_loss(interaction)
        return loss
