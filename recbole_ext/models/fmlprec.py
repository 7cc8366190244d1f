"""FMLP-Rec in RecBole: learnable filters in the frequency domain instead of attention (Zhou et al., WWW 2022)."""

from __future__ import annotations

from typing import Any

import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.model.loss import BPRLoss
from torch import Tensor, nn

from genpas_plugins.support.errors import InputError, nearest, whole_number


class FilterLayer(nn.Module):
    """A circular convolution over the whole window `[B, L, D]`: a product in the frequency domain.

    Every position depends on all others. Train only on the last position.
    """

    def __init__(self, length: int, width: int, dropout: float, epsilon: float, deviation: float) -> None:
        super().__init__()
        # Real and imaginary part last: optimisers and checkpoints see real numbers.
        self.filter = nn.Parameter(torch.randn(1, length // 2 + 1, width, 2) * deviation)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(width, eps=epsilon)

    def forward(self, states: Tensor) -> Tensor:
        """Return normalised states after the filter and the residual connection."""
        spectrum = torch.fft.rfft(states.float(), dim=1, norm="ortho") * torch.view_as_complex(self.filter)
        filtered = torch.fft.irfft(spectrum, n=states.shape[1], dim=1, norm="ortho").to(states.dtype)
        normalised: Tensor = self.norm(states + self.dropout(filtered))
        return normalised


class FeedForward(nn.Module):
    """Two linear layers with GELU between and a residual connection: `[B, L, D]` to `[B, L, D]`."""

    def __init__(self, width: int, inner: int, dropout: float, epsilon: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width), nn.Dropout(dropout))
        self.norm = nn.LayerNorm(width, eps=epsilon)

    def forward(self, states: Tensor) -> Tensor:
        """Return normalised states after both layers and the residual connection."""
        normalised: Tensor = self.norm(states + self.layers(states))
        return normalised


class FMLPRec(SequentialRecommender):
    """FMLP-Rec as a RecBole model with the settings of FMLPRec.yaml.

    The filters mix all positions of the window and so the place of a history in it counts. A history ends at the last
    position as in the paper's code. RecBole pads after the history and `forward` moves it. Padding has zero item
    vectors plus position vectors.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        layers, width, inner = (
            whole_number(f"FMLPRec's {name}", config[name], 1) for name in ("n_layers", "hidden_size", "inner_size")
        )
        dropout, epsilon = config["hidden_dropout_prob"], float(config["layer_norm_eps"])
        self.loss_type = config["loss_type"]
        self.deviation = config["initializer_range"]
        losses = {"CE": nn.CrossEntropyLoss, "BPR": BPRLoss}
        if self.loss_type not in losses:
            raise InputError(f"FMLPRec's loss_type is {self.loss_type!r}.{nearest(self.loss_type, losses)}")
        self.loss_fct = losses[self.loss_type]()
        self.item_embedding = nn.Embedding(self.n_items, width, padding_idx=0)
        self.position_embedding = nn.Embedding(self.max_seq_length, width)
        self.norm = nn.LayerNorm(width, eps=epsilon)
        self.dropout = nn.Dropout(dropout)
        blocks: list[nn.Module] = []
        for _ in range(layers):
            blocks += [
                FilterLayer(self.max_seq_length, width, dropout, epsilon, self.deviation),
                FeedForward(width, inner, dropout, epsilon),
            ]
        self.blocks = nn.Sequential(*blocks)
        self.apply(self._initialise)

    def _initialise(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=self.deviation)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)

    def forward(self, item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
        """Return the states `[B, D]` at the histories' last items from right-padded `int64 [B, L]`."""
        states = align_right(self.item_embedding(item_seq), item_seq_len, self.max_seq_length)
        states = self.dropout(self.norm(states + self.position_embedding.weight))
        last: Tensor = self.blocks(states)[:, -1]
        return last

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Return the scalar mean loss of the batch."""
        state = self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        positive = interaction[self.POS_ITEM_ID]
        if self.loss_type == "CE":
            loss: Tensor = self.loss_fct(state @ self.item_embedding.weight.T, positive)
        else:
            negative = interaction[self.NEG_ITEM_ID]
            scores = ((state * self.item_embedding(items)).sum(-1) for items in (positive, negative))
            loss = self.loss_fct(*scores)
        return loss

    def predict(self, interaction: Any) -> Tensor:
        """Return the score `[B]` of each row's item."""
        state = self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        scores: Tensor = (state * self.item_embedding(interaction[self.ITEM_ID])).sum(-1)
        return scores

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Return the scores `[B, n_items]` of all items."""
        state = self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        return state @ self.item_embedding.weight.T


def align_right(vectors: Tensor, lengths: Tensor, width: int) -> Tensor:
    """Move the first `lengths` vectors of each row to the end of `width` positions: zero-padded `[B, width, D]`."""
    source = torch.arange(width, device=vectors.device) - (width - lengths)[:, None]
    index = source.clamp(0, vectors.shape[1] - 1)[..., None].expand(-1, -1, vectors.shape[2])
    return vectors.gather(1, index).masked_fill(source[..., None] < 0, 0)
