"""The regenerator of DR4SR (§3.2.2): an encoder–decoder Transformer that reads a sequence and writes a pattern of it.

One sequence has several patterns. The decoder reads the encoder's memory through a diversity promoter of K
projections. In training they are mixed by Gumbel-softmax weights that depend on the target pattern. At inference
each projection alone is one reading of the sequence.

Tokens are 0 for padding, item numbers 1 … n_items and then the decoder's own `start` and `end`. Shapes: B
sequences, L items of a sequence, T tokens of a pattern, D dimensions, K memories.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genpas_plugins.support.errors import InputError, whole_number


@dataclass(frozen=True)
class Shape:
    """The regenerator's sizes; the defaults are the paper's."""

    n_items: int  # items of the catalogue
    dimension: int = 64  # of item vectors and states, a multiple of the attention heads
    heads: int = 2
    feed_forward: int = 256  # width between the two linear layers of a block
    layers: int = 2  # blocks of the encoder, and of the decoder
    memories: int = 5
    dropout: float = 0.5
    max_history: int = 50  # items read, the last ones of a longer sequence
    max_pattern: int = 5  # most items of a pattern

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name != "dropout":
                whole_number(name, value, 1)
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout must be at least 0 and below 1, not {self.dropout!r}.")
        if self.dimension % self.heads:
            raise InputError(f"dimension {self.dimension} must be a multiple of heads, {self.heads}.")


class Memory(NamedTuple):
    """An encoded sequence: `states` `float [B, L, D]` and `padding` `bool [B, L]`. It is True without an item."""

    states: Tensor
    padding: Tensor


class Reconstruction(NamedTuple):
    """The parts of the loss and the mixing weights `float [B, K]`.

    The paper's loss is `cross_entropy` + `entropy`. `imbalance` is not in the paper: ln K minus the entropy of the
    batch's mean weights. It is 0 if all memories are used equally and ln K if one is used alone.
    """

    cross_entropy: Tensor
    entropy: Tensor
    imbalance: Tensor
    weights: Tensor


class Regenerator(nn.Module):
    """Encoder, diversity promoter and decoder over one item table. The table also scores the output.

    `item_vectors` `[n_items, D]` are the directions from which the item table starts. None: random.
    """

    def __init__(self, shape: Shape, item_vectors: Tensor | None = None) -> None:
        super().__init__()
        self.shape = shape
        width = shape.dimension
        self.start, self.end = shape.n_items + 1, shape.n_items + 2
        # Root mean square 1/√D: an item's vector has length 1, so the score of a normalised state is of order 1.
        self.embedding = nn.Embedding(shape.n_items + 3, width, padding_idx=0)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        with torch.no_grad():
            self.embedding.weight[0] = 0
            if item_vectors is not None:
                self.embedding.weight[1 : self.start] = _scaled(item_vectors, shape)
        self.history_position = nn.Parameter(torch.randn(shape.max_history, width) * width**-0.5)
        self.pattern_position = nn.Parameter(torch.randn(shape.max_pattern + 1, width) * width**-0.5)
        self.dropout = nn.Dropout(shape.dropout)
        settings: dict[str, Any] = {
            "d_model": width,
            "nhead": shape.heads,
            "dim_feedforward": shape.feed_forward,
            "dropout": shape.dropout,
            "batch_first": True,
        }
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(**settings), shape.layers, enable_nested_tensor=False
        )
        self.decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(**settings), shape.layers)
        self.pattern_encoder = nn.TransformerEncoderLayer(**settings)
        self.mixing = nn.Linear(width, shape.memories)
        self.projections = nn.Parameter(torch.empty(shape.memories, width, width))
        for projection in self.projections:
            nn.init.xavier_uniform_(projection.data)

    def encode(self, history: Tensor) -> Memory:
        """Encode right-padded histories `int64 [B, L]` of at least one item each. L is at most max_history."""
        padding = history == 0
        states = self.dropout(self._vectors(history) + self.history_position[: history.shape[1]])
        return Memory(self.encoder(states, src_key_padding_mask=padding), padding)

    def mixing_logits(self, pattern: Tensor) -> Tensor:
        """Return the mixing weights float [B, K] before softmax for zero-padded target patterns int64 [B, T]."""
        padding = pattern == 0
        states = self._vectors(pattern) + self.pattern_position[: pattern.shape[1]]
        states = self.pattern_encoder(states, src_key_padding_mask=padding)
        kept = (~padding)[..., None].to(states.dtype)
        logits: Tensor = self.mixing((states * kept).sum(1) / kept.sum(1))
        return logits

    def mixed(self, memory: Memory, weights: Tensor) -> Memory:
        """Return the memory through the projections mixed by `weights` `float [B, K]`."""
        projection = torch.einsum("bk,kde->bde", weights, self.projections)
        return memory._replace(states=memory.states @ projection)

    def single(self, memory: Memory, k: int) -> Memory:
        """Return the memory through projection k = 0 … K - 1 alone."""
        return memory._replace(states=memory.states @ self.projections[k])

    def decode(self, memory: Memory, tokens: Tensor) -> Tensor:
        """Return the decoder's states `float [B, T, D]` after tokens `int64 [B, T]` that begin with `start`."""
        length = tokens.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool, device=tokens.device).triu(1)
        states = self.dropout(self._vectors(tokens) + self.pattern_position[:length])
        decoded: Tensor = self.decoder(states, memory.states, tgt_mask=causal, memory_key_padding_mask=memory.padding)
        return decoded

    def scores(self, states: Tensor, candidates: Tensor | None = None) -> Tensor:
        """Return dot products with token vectors: float [n, C] or [n, n_items + 1] for every item and `end`.

        States are `[n, D]`. `candidates` are tokens `[n, C]`. None: every item and then `end`.
        """
        if candidates is not None:
            return torch.einsum("nd,ncd->nc", states, self.embedding(candidates))
        weight = self.embedding.weight
        return torch.cat([states @ weight[1 : self.start].T, states @ weight[self.end, :, None]], dim=1)

    def reconstruction(self, history: Tensor, pattern: Tensor, temperature: float) -> Reconstruction:
        """Return the loss of writing a pattern after reading a history.

        The cross-entropy is a mean over the patterns' items and one `end` each. The entropy in nats is a mean over
        the patterns' mixing weights. Both inputs are padded with 0: `[B, L]` and `[B, T]`.
        """
        weights = F.gumbel_softmax(self.mixing_logits(pattern), tau=temperature)
        imbalance = math.log(self.shape.memories) - _entropy(weights.mean(0))
        memory = self.mixed(self.encode(history), weights)
        tokens = F.pad(pattern, (1, 0), value=self.start)
        length = (pattern != 0).sum(1, keepdim=True)
        wanted = F.pad(pattern, (0, 1)).scatter(1, length, self.end)
        kept = wanted != 0
        states = self.decode(memory, tokens)[kept]
        # `end` is the last column of the scores, item number i the column i - 1.
        column = torch.where(wanted[kept] == self.end, self.shape.n_items, wanted[kept] - 1)
        cross_entropy = F.cross_entropy(self.scores(states), column)
        return Reconstruction(cross_entropy, _entropy(weights).mean(), imbalance, weights)

    def _vectors(self, tokens: Tensor) -> Tensor:
        vectors: Tensor = self.embedding(tokens) * self.shape.dimension**0.5
        return vectors


def _entropy(weights: Tensor) -> Tensor:
    """Return the entropy in nats of weights float [..., K]. An underflowed weight 0 has no gradient."""
    return -torch.xlogy(weights, weights.clamp(min=torch.finfo(weights.dtype).tiny)).sum(-1)


def _scaled(item_vectors: Tensor, shape: Shape) -> Tensor:
    if item_vectors.shape != (shape.n_items, shape.dimension):
        raise InputError(
            f"The item vectors have shape {list(item_vectors.shape)}; {shape.n_items} items of dimension "
            f"{shape.dimension} need {[shape.n_items, shape.dimension]}."
        )
    vectors = item_vectors.float()
    size = vectors.square().mean().sqrt()
    if not torch.isfinite(size) or size == 0:
        raise InputError("The item vectors are all 0, or hold values that are not finite.")
    scaled: Tensor = vectors / size * shape.dimension**-0.5
    return scaled
