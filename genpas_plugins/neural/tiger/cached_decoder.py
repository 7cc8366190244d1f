"""TIGER's decoder for one level at a time over many prefixes of a user with cached keys and values.

All prefixes of a user share the keys and values of the memory. Each prefix names the rows of its ancestors at
earlier levels. Beam search and whole levels of a tree use the same code. Shapes: B users, N prefixes of each, S
tokens of the memory, H heads, E head size, D model dimension; M = B · N rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from genpas_plugins.neural.tiger.network import Memory, TigerNetwork


class CachedDecoder:
    """The decoder's layers without dropout over one batch of memories. `step` goes one level down."""

    def __init__(self, network: TigerNetwork, memory: Memory) -> None:
        self.network = network
        self.users = len(memory.states)
        self.blocks: list[Any] = list(network.decoder.block)  # type: ignore[arg-type]  # transformers' T5Block
        self.head_size: int = self.blocks[0].layer[0].SelfAttention.key_value_proj_dim
        self.mask = memory.mask[:, None, None]
        # T5's bias for the distance between positions, [H, depth, depth]; all blocks use the first block's.
        self.bias: Tensor = self.blocks[0].layer[0].SelfAttention.compute_bias(network.depth, network.depth)[0]
        of_memory = [block.layer[1].EncDecAttention for block in self.blocks]
        self.memory_keys = [self._by_head(layer.k(memory.states)) for layer in of_memory]
        self.memory_values = [self._by_head(layer.v(memory.states)) for layer in of_memory]
        self.keys: list[list[Tensor]] = [[] for _ in self.blocks]
        self.values: list[list[Tensor]] = [[] for _ in self.blocks]

    def step(self, x: Tensor, ancestors: Sequence[Tensor]) -> Tensor:
        """Return the states `float [B, N, D]` that predict the next code of each prefix.

        `x` has the row of each prefix's last token. At the first level it is `network.start`. `ancestors` are int64
        [B, N] or `[N]` for each earlier level: the prefix of that level with which each prefix begins.
        """
        level = len(ancestors)
        prefixes = x.shape[1]
        x = x.reshape(-1, x.shape[-1])
        rows = [self._rows(within, keys) for within, keys in zip(ancestors, self.keys[0], strict=True)]
        bias = self.bias[:, level, : level + 1].T[..., None]
        for number, block in enumerate(self.blocks):
            own, across, forward = block.layer
            x = x + self._attend_to_ancestors(number, own, own.layer_norm(x), rows, bias)
            x = x + self._attend_to_memory(number, across.EncDecAttention, across.layer_norm(x), prefixes)
            dense = forward.DenseReluDense
            x = x + dense.wo(F.relu(dense.wi(forward.layer_norm(x))))
        x = self.network.decoder.final_layer_norm(x)  # type: ignore[operator]
        return x.view(self.users, prefixes, -1)

    def _attend_to_ancestors(self, number: int, layer: Any, x: Tensor, rows: list[Tensor], bias: Tensor) -> Tensor:
        attention = layer.SelfAttention
        query, key, value = (
            part(x).view(len(x), -1, self.head_size) for part in (attention.q, attention.k, attention.v)
        )
        self.keys[number].append(key)
        self.values[number].append(value)
        if not rows:  # the first level attends to itself alone
            return attention.o(value.flatten(1))  # type: ignore[no-any-return]
        # For `depth` positions at most, products over [M, H, E] are faster than M·H matrix products of one row.
        places = [keys.index_select(0, row) for keys, row in zip(self.keys[number], rows, strict=False)]
        scores = torch.stack([(query * place).sum(-1) for place in (*places, key)])  # [level + 1, M, H]
        weights = (scores + bias.transpose(1, 2)).softmax(0)[..., None]
        mixed = weights[-1] * value
        for weight, values, row in zip(weights, self.values[number], rows, strict=False):
            mixed = torch.addcmul(mixed, weight, values.index_select(0, row))
        return attention.o(mixed.flatten(1))  # type: ignore[no-any-return]

    def _attend_to_memory(self, number: int, attention: Any, x: Tensor, prefixes: int) -> Tensor:
        query = self._by_head(attention.q(x).view(self.users, prefixes, -1))
        mixed = F.scaled_dot_product_attention(
            query, self.memory_keys[number], self.memory_values[number], attn_mask=self.mask, scale=1.0
        )
        return attention.o(mixed.transpose(1, 2).reshape(len(x), -1))  # type: ignore[no-any-return]

    def _by_head(self, x: Tensor) -> Tensor:
        """Return `[B, T, H · E]` as `[B, H, T, E]`."""
        return x.view(*x.shape[:2], -1, self.head_size).transpose(1, 2)

    def _rows(self, within: Tensor, keys: Tensor) -> Tensor:
        """Convert places among a user's prefixes of a level to rows `int64 [M]` of that level's keys."""
        per_user = len(keys) // self.users
        first = torch.arange(0, len(keys), per_user, device=within.device)[:, None]
        return (within.expand(self.users, -1) + first).flatten()
