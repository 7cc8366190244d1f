"""TIGER's losses of all targets of windows with one encoder pass a window and no padding.

    windows   the tokens of all histories in one row: linear layers and norms run over the row
    groups    windows of the same shape are neighbours in the row, so their attention is one product
    targets   the decoder's queries of a window share its keys and values; a target at place p sees the items 0 … p

With an item-causal encoder the states of items 0 … p are the encoding of the history that ends at place p. The loss
of each target is thus the loss of a single target with this history. A bidirectional encoder has this at the last
place.

Shapes: W windows, I items of all windows, T targets, D model dimension, H heads, E head size, depth codes an item; a
group has B windows of S tokens with Q queries each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from genpas_plugins.neural.layers.dropout import dropout
from genpas_plugins.neural.tiger.network import TigerNetwork
from genpas_plugins.support.errors import InputError

Drop = Callable[[Tensor], Tensor]
Shape = tuple[int, int]


class Windows(NamedTuple):
    """W windows and their T targets; tensors are int64 on the CPU.

    Attributes
    ----------
    lengths : [W], items of each history, from 1 to the network's `max_history`
    row : [T], the window of each target, rising
    place : [T], the place in its history of the last item before each target
    """

    lengths: Tensor
    row: Tensor
    place: Tensor


class Group(NamedTuple):
    """Windows of the same number of items and of targets."""

    windows: int
    items: int
    targets: int


class Layout(NamedTuple):
    """Windows sorted into groups; tensors are int64.

    Attributes
    ----------
    groups : in the order of the windows
    windows : [W], the given window at each place of the order
    items : [I], the given item at each place of the order
    targets : [T], the given target at each place of the order
    place : [T], the place in its history of the last item before each target of the order
    """

    groups: list[Group]
    windows: Tensor
    items: Tensor
    targets: Tensor
    place: Tensor

    @classmethod
    def of(cls, windows: Windows) -> Layout:
        """Sort windows by their number of items and then by their number of targets."""
        lengths, row, place = windows
        counts = torch.bincount(row, minlength=len(lengths))
        keys = lengths * (1 + int(counts.max())) + counts
        order = torch.argsort(keys, stable=True)
        _, sizes = torch.unique_consecutive(keys[order], return_counts=True)
        first = order[sizes.cumsum(0) - sizes]
        groups = [Group(*of) for of in torch.stack([sizes, lengths[first], counts[first]], 1).tolist()]
        targets = _spans(counts, order)
        return cls(groups, order, _spans(lengths, order), targets, place[targets])


def _spans(counts: Tensor, order: Tensor) -> Tensor:
    """Return the rows `int64 [Σ counts]` of owners in another order. Owner i has `counts[i]` neighbouring rows."""
    first, of = (counts.cumsum(0) - counts)[order], counts[order]
    return torch.arange(int(of.sum())) + torch.repeat_interleave(first - (of.cumsum(0) - of), of)


def window_losses(
    network: TigerNetwork,
    windows: Windows,
    history: Tensor,
    targets: Tensor,
    buckets: Tensor | None = None,
) -> Tensor:
    """Return the loss `float [T]` of each target: the mean over levels of the cross-entropy over the level's codes.

    Parameters
    ----------
    network: with a causal encoder if a target is not after the last item of its window
    windows : shapes
    history: tokens from `tokens_of` of the items of one window after another, int64 [I, depth]
    targets : int64 [T, depth], tokens of the targets
    buckets : int64 [W], rows of the user table

    Raises
    ------
    InputError
        For targets before the last place with a bidirectional encoder. For a user table without buckets.
    """
    if not network.causal and not torch.equal(windows.place, windows.lengths[windows.row] - 1):
        raise InputError(
            "A bidirectional encoder reads all items of a window, so only the item after the window can be a target. "
            "Set encoder: causal."
        )
    layout = Layout.of(windows)
    of_items, of_targets = (part.to(history.device) for part in (layout.items, layout.targets))
    drop = partial(dropout, probability=network.dropout) if network.training else _same
    rows = network.token_embedding(history).index_select(0, of_items).flatten(0, 1)
    lead = network.user_rows(buckets)
    if lead is not None:
        rows = _led(rows, lead.index_select(0, layout.windows.to(lead.device)), layout.groups, network.depth)
    memory = _encode(network, rows, layout.groups, drop)
    read = network.token_embedding(targets).index_select(0, of_targets)
    states = _decoded(network, memory, read, layout, drop)
    codes = targets.index_select(0, of_targets) - network.first_token
    losses = network.level_losses(states, codes)
    return torch.empty_like(losses).index_copy(0, of_targets, losses)


def _led(rows: Tensor, lead: Tensor, groups: Sequence[Group], depth: int) -> Tensor:
    """Return rows of tokens with one row in front of each window."""
    tokens = torch.split(rows, [group.windows * group.items * depth for group in groups])
    leads = torch.split(lead, [group.windows for group in groups])
    parts = [
        torch.cat([first[:, None], part.view(len(first), -1, part.shape[1])], 1).flatten(0, 1)
        for first, part in zip(leads, tokens, strict=True)
    ]
    return torch.cat(parts)


def _encode(network: TigerNetwork, x: Tensor, groups: Sequence[Group], drop: Drop) -> Tensor:
    """Return the encoder's states `float [R, D]` of all tokens."""
    shapes = [
        (sum(group.windows for group in same), network.width(items))
        for items, same in groupby(groups, key=lambda group: group.items)
    ]
    stack: Any = network.encoder
    bias = stack.block[0].layer[0].SelfAttention.compute_bias(shapes[-1][1], shapes[-1][1])[0]
    if network.causal:
        item = network.item_of(shapes[-1][1], x.device)
        bias = bias.masked_fill(item > item[:, None], -torch.inf)
    x = drop(x)
    for block in stack.block:
        x = x + drop(_self_attention(block.layer[0], x, shapes, bias, drop))
        x = x + drop(_feed_forward(block.layer[1], x, drop))
    return drop(stack.final_layer_norm(x))


def _decoded(network: TigerNetwork, memory: Tensor, rows: Tensor, layout: Layout, drop: Drop) -> Tensor:
    """Return the decoder's states `float [T, depth, D]` for targets at `rows`. Position l has read l codes."""
    depth, groups = network.depth, layout.groups
    stack: Any = network.decoder
    bias = stack.block[0].layer[0].SelfAttention.compute_bias(depth, depth)[0]
    bias = bias.masked_fill(~torch.ones_like(bias, dtype=torch.bool).tril(), -torch.inf)
    start = network.start.to(rows.dtype).expand(len(rows), 1, -1)
    x = drop(torch.cat([start, rows[:, :-1]], 1).flatten(0, 1))
    masks = _masks(network, layout, memory.device)
    queries = [(group.windows, group.targets * depth) for group in groups]
    keys = [(group.windows, network.width(group.items)) for group in groups]
    for block in stack.block:
        own, across, forward = block.layer
        x = x + drop(_self_attention(own, x, [(len(rows), depth)], bias, drop))
        attention = across.EncDecAttention
        both = F.linear(memory, torch.cat([attention.k.weight, attention.v.weight]))
        of_query = _by_shape(attention.q(across.layer_norm(x)), queries, attention.n_heads)
        of_memory = _by_shape(both, keys, 2 * attention.n_heads)
        parts = [
            _attend((query, *pair.chunk(2, 2)), mask, drop)
            for query, pair, mask in zip(of_query, of_memory, masks, strict=True)
        ]
        x = x + drop(attention.o(torch.cat(parts)))
        x = x + drop(_feed_forward(forward, x, drop))
    return drop(stack.final_layer_norm(x)).view(len(rows), depth, -1)


def _masks(network: TigerNetwork, layout: Layout, device: torch.device) -> list[Tensor | None]:
    """Return the terms `float [B, 1, Q, S]` that are added to each group's scores. None: queries see all."""
    masks: list[Tensor | None] = []
    places = torch.split(layout.place, [group.windows * group.targets for group in layout.groups])
    for group, place in zip(layout.groups, places, strict=True):
        if bool((place == group.items - 1).all()):
            masks.append(None)
            continue
        of_query = place.view(group.windows, -1).repeat_interleave(network.depth, 1).to(device)
        hidden = network.item_of(network.width(group.items), device) > of_query[..., None]
        masks.append(torch.zeros(hidden.shape, device=device).masked_fill(hidden, -torch.inf)[:, None])
    return masks


def _self_attention(layer: Any, x: Tensor, shapes: Sequence[Shape], bias: Tensor, drop: Drop) -> Tensor:
    """Attend among the S tokens of each of B rows for every shape (B, S)."""
    attention = layer.SelfAttention
    together = F.linear(layer.layer_norm(x), torch.cat([attention.q.weight, attention.k.weight, attention.v.weight]))
    parts = [
        _attend(part.chunk(3, 2), bias[:, : part.shape[1], : part.shape[1]], drop)
        for part in _by_shape(together, shapes, 3 * attention.n_heads)
    ]
    return attention.o(torch.cat(parts))  # type: ignore[no-any-return]


def _by_shape(x: Tensor, shapes: Sequence[Shape], heads: int) -> list[Tensor]:
    """Return rows [Σ B · S, heads · E] as a tensor [B, S, heads, E] of each shape (B, S)."""
    parts = torch.split(x, [rows * tokens for rows, tokens in shapes])
    return [part.view(*shape, heads, -1) for part, shape in zip(parts, shapes, strict=True)]


def _attend(parts: tuple[Tensor, ...], bias: Tensor | None, drop: Drop) -> Tensor:
    """Return the attention output `float [B · Q, H · E]` of queries over keys and values `[B, S, H, E]`."""
    query, key, value = parts
    scores = query.transpose(1, 2) @ key.permute(0, 2, 3, 1)
    if bias is not None:
        scores = scores + bias
    mixed = drop(scores.softmax(3)) @ value.transpose(1, 2)
    return mixed.transpose(1, 2).flatten(2).flatten(0, 1)


def _feed_forward(layer: Any, x: Tensor, drop: Drop) -> Tensor:
    dense = layer.DenseReluDense
    return dense.wo(drop(F.relu(dense.wi(layer.layer_norm(x)))))  # type: ignore[no-any-return]


def _same(x: Tensor) -> Tensor:
    return x
