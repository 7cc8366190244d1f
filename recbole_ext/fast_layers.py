"""The layers of RecBole's SASRec with less work and the same output: dropout, GELU, and one position where one is read.

Where a step reads the last position of each history alone, the last block has keys and values of all positions, and
queries, feed-forward layer and output of one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from recbole.model.layers import FeedForward, TransformerLayer
from recbole.model.sequential_recommender.sasrec import SASRec
from torch import Tensor
from torch.nn import functional

from genpas_plugins.neural.layers.dropout import cheap_dropout
from genpas_plugins.support.override import override


@contextmanager
def fast_layers(model: Any) -> Iterator[None]:
    """Let a model use cheap dropout, and torch's GELU for RecBole's five operations, inside the block."""
    written_out = [
        layer
        for layer in model.modules()
        if type(layer) is FeedForward and getattr(layer.intermediate_act_fn, "__func__", None) is FeedForward.gelu
    ]
    with ExitStack() as stack:
        stack.enter_context(cheap_dropout(model))
        for layer in written_out:
            stack.enter_context(override(layer, intermediate_act_fn=functional.gelu))
        yield


def reads_last_position(model: Any) -> bool:
    """Return whether a model is RecBole's SASRec in all that `last_position` replaces."""
    kind = type(model)
    own = kind.forward is SASRec.forward and kind.gather_indexes is SASRec.gather_indexes
    return own and type(model.trm_encoder.layer[-1]) is TransformerLayer


@contextmanager
def last_position(model: Any) -> Iterator[None]:
    """Let the model's forward skip the other positions of its last block inside the block; other models stay as is."""
    if not reads_last_position(model):
        yield
        return
    own, layer = model.forward, model.trm_encoder.layer[-1]

    def forward(item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
        block = partial(_block_at, layer, item_seq_len - 1)
        with override(layer, forward=block), override(model, gather_indexes=lambda output, _: output[:, 0]):
            output: Tensor = own(item_seq, item_seq_len)
        return output

    with override(model, forward=forward):
        yield


def _block_at(layer: Any, places: Tensor, hidden: Tensor, mask: Tensor) -> Tensor:
    """Return a TransformerLayer's output at one place a row, [B, 1, D], for all vectors [B, L, D] and its mask."""
    attention, rows = layer.multi_head_attention, torch.arange(len(hidden), device=hidden.device)
    mask = mask.expand(len(hidden), -1, hidden.shape[1], -1)  # a bidirectional one has one row for all positions
    here = hidden[rows, places][:, None]
    query, key, value = (
        attention.transpose_for_scores(project(vectors)).transpose(1, 2)
        for project, vectors in ((attention.query, here), (attention.key, hidden), (attention.value, hidden))
    )
    scores = query @ key.transpose(2, 3) / attention.sqrt_attention_head_size + mask[rows, :, places][:, :, None]
    context = (attention.attn_dropout(attention.softmax(scores)) @ value).transpose(1, 2).flatten(2)
    mixed = attention.out_dropout(attention.dense(context))
    output: Tensor = layer.feed_forward(attention.LayerNorm(mixed + here))
    return output
