"""RecBole's SASRec, but faster: each group of similar histories is padded to its own longest history."""

from __future__ import annotations

from typing import Any

import torch
from recbole.model.sequential_recommender import SASRec
from torch import Tensor

from genpas_plugins.neural.layers.dropout import cheap_dropout
from recbole_ext.trimming import length_groups


class GroupedSASRec(SASRec):
    """SASRec with the same vectors and less padding for losses that `trim: true` cannot split."""

    def forward(self, item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
        """Return the states `[B, D]` at the histories' last items from right-padded `int64 [B, L]`."""
        rows, longest = zip(*length_groups(item_seq_len.cpu()), strict=True)
        encode = super().forward
        parts = [encode(item_seq[of][:, :width], item_seq_len[of]) for of, width in zip(rows, longest, strict=True)]
        vectors: Tensor = torch.cat(parts)[torch.cat(rows).argsort().to(item_seq.device)]
        return vectors

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Return the scalar mean loss of the batch."""
        with cheap_dropout(self):
            loss: Tensor = super().calculate_loss(interaction)
        return loss
