"""Exact decoding on the tree of valid semantic IDs: likelihoods of some or all items and beam search.

The network's distribution is constrained to the catalogue. At each prefix it is a softmax over the codes that
continue the prefix:

    log p(item) = Σ_l log softmax over children(prefix_l) of logits_l [code_l]

The probabilities of all items sum to one. The three functions agree to the rounding of float32.

The codes after a prefix of a single item have probability one and need no decoder. In a sparse catalogue most
prefixes of two codes are of this kind. `score_all` never decodes them. `beam_search` decodes the same number for
each user of a batch: the largest number of shared prefixes. On a GPU it decodes all because reading this number
would make the CPU wait.

Encode in eval mode because dropout of the encoder is part of the memory. These functions have no dropout and no
gradient. Each call looks tokens up depth - 1 times for any number of users. This suits a table that is sharded over
ranks.

Shapes: B users, N prefixes of each, K beams, C children, D model dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from genpas_plugins.neural.tiger.cached_decoder import CachedDecoder
from genpas_plugins.neural.tiger.network import Memory, TigerNetwork
from genpas_plugins.neural.tiger.prefix_tree import PrefixTree
from genpas_plugins.support.errors import InputError, whole_number

ROWS = 1 << 14  # prefixes that `score_all` decodes at a time, which bounds its memory to some hundred MB


@torch.no_grad()
def log_likelihood(network: TigerNetwork, tree: PrefixTree, memory: Memory, items: Tensor) -> Tensor:
    """Return the constrained log-likelihood of items as float32 in the shape of `items`.

    Parameters
    ----------
    network, tree : of the same semantic IDs, on one device
    memory : of B users
    items : int64 [B] or [B, C], item numbers from 1

    Raises
    ------
    InputError
        For a number without an item.
    """
    slots = tree.nodes_of(items if items.ndim > 1 else items[:, None])  # [B, C, depth]
    decoder = CachedDecoder(network, memory)
    node = torch.zeros_like(slots[:, :1, 0])
    x, ancestors = _start(network, memory), list[Tensor]()
    total = slots.new_zeros(slots.shape[:2], dtype=torch.float32)
    for level in range(tree.depth):
        children, valid = _children(tree, level, node)
        logits = network.logits(decoder.step(x, ancestors), level)
        log_probs = _log_probs(logits, tree.code[level][children], valid)
        slot = slots[..., level]
        place = slot - tree.first[level][node]
        total += log_probs.expand(*slot.shape, -1).gather(2, place[..., None])[..., 0]
        if level + 1 < tree.depth:
            x, node = _rows(network, tree, level, slot), slot
            each = torch.arange(slot.shape[1], device=slot.device)
            ancestors = [each * 0, *([each] * level)]  # level 0 has the empty prefix alone
    return total.view(items.shape)


@torch.no_grad()
def score_all(network: TigerNetwork, tree: PrefixTree, memory: Memory) -> Tensor:
    """Return the constrained log-likelihoods `float32 [B, n_items]`. Column i is item number i + 1.

    One pass over the tree's levels decodes each shared prefix once. Time is proportional to the number of shared
    prefixes. A user's keys and values take 8 · decoder_layers · heads · head_size bytes a prefix. This is for up to
    some ten thousand items.

    Parameters
    ----------
    network, tree : of the same semantic IDs, on one device
    memory : of B users
    """
    every = [torch.arange(tree.n_nodes(level), device=tree.device) for level in range(tree.depth)]
    shared = [node[_shared(tree, level, node)] for level, node in enumerate(every)]
    rows = [_rows(network, tree, level, nodes) for level, nodes in enumerate(shared[1:])]
    chunk = max(1, ROWS // max(1, *map(len, shared)))
    parts = [
        _score_all(network, tree, Memory(*part), shared, rows)
        for part in zip(torch.split(memory.states, chunk), torch.split(memory.mask, chunk), strict=True)
    ]
    return torch.cat(parts).index_select(1, tree.leaf[1:])


def _score_all(
    network: TigerNetwork, tree: PrefixTree, memory: Memory, shared: list[Tensor], rows: list[Tensor]
) -> Tensor:
    """Return the scores of all leaves. `shared` are the nodes to decode. `rows` are the rows of their last tokens."""
    decoder = CachedDecoder(network, memory)
    users = len(memory.states)
    score = torch.zeros(users, 1, device=tree.device)  # of the nodes of a level
    x, ancestors = _start(network, memory), list[Tensor]()
    for level, nodes in enumerate(shared):
        parent = tree.parent[level]
        score = score.index_select(1, parent)
        if not len(nodes):  # so the levels below have none either
            continue
        states = decoder.step(x, ancestors)
        # The place of each node among the decoded ones.
        place = torch.full((tree.n_nodes(level),), -1, device=tree.device)
        place[nodes] = torch.arange(len(nodes), device=tree.device)
        slots = (place[parent] >= 0).nonzero()[:, 0]
        of = place[parent[slots]]
        output = network.output[network.levels[level]]
        logits = (states.index_select(1, of) * output[tree.code[level][slots]]).sum(-1).float()
        score.index_add_(1, slots, logits - _log_sum_exp(logits, of, len(nodes)).index_select(1, of))
        if level + 1 < tree.depth:
            x = rows[level].expand(users, -1, -1)
            of_below = place[parent[shared[level + 1]]]
            ancestors = [*(ancestor[of_below] for ancestor in ancestors), of_below]
    return score


def _log_sum_exp(x: Tensor, of: Tensor, groups: int) -> Tensor:
    """Return log Σ exp of x `[B, n]` over columns of the same group: `[B, groups]`."""
    of = of.expand(len(x), -1)
    highest = x.new_full((len(x), groups), -torch.inf).scatter_reduce(1, of, x, "amax")
    return highest + torch.zeros_like(highest).scatter_add(1, of, (x - highest.gather(1, of)).exp()).log()


@torch.no_grad()
def beam_search(
    network: TigerNetwork,
    tree: PrefixTree,
    memory: Memory,
    *,
    beams: int,
    top_k: int,
    without: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the most likely items of a beam search over the tree.

    With as many beams as items this is the exact ranking. With fewer beams the search misses an item if its prefix
    is not among the `beams` most likely at some level. Found items have their exact log-likelihood. Ties go to the
    lower codes and to the lower item number. The result thus depends on the user alone.

    Parameters
    ----------
    network, tree : of the same semantic IDs, on one device
    memory : of B users
    beams : prefixes kept at each level; twice top_k or more is the usual choice
    top_k : items returned
    without: places of users and item numbers from 1 to leave out, both int64 [m]; a prefix of left-out items alone
      takes no beam. Probabilities do not change.

    Returns
    -------
    items : int64 [B, top_k], all different; 0 where fewer than top_k items were found
    log_probs : float32 [B, top_k], descending; -inf where the item is 0

    Raises
    ------
    InputError
        If top_k is above beams or one of them is below 1.
    """
    whole_number("top_k", top_k, 1)
    if whole_number("beams", beams, 1) < top_k:
        raise InputError(
            f"top_k is {top_k} and beams {beams}, but a search finds at most one item a beam. Raise beams."
        )
    left_out = None if without is None else _left_out(tree, *without)
    decoder = CachedDecoder(network, memory)
    node = torch.zeros(len(memory.states), 1, dtype=torch.int64, device=tree.device)
    score = torch.zeros(node.shape, device=tree.device)
    x, ancestors = _start(network, memory), list[Tensor]()
    for level in range(tree.depth):
        last = level + 1 == tree.depth
        children, valid = _children(tree, level, node)
        decoded = _to_decode(tree, level, node, score)
        # A prefix that is not decoded has one child.
        log_probs = torch.zeros(children.shape, device=tree.device).masked_fill(~valid, -torch.inf)
        if decoded.shape[1]:
            states = decoder.step(_at(x, decoded), [_at(rows, decoded) for rows in ancestors])
            codes = tree.code[level][_at(children, decoded)]
            found = _log_probs(network.logits(states, level), codes, _at(valid, decoded))
            log_probs.scatter_(1, _like(decoded, children), found)
        candidates = (score[..., None] + log_probs).flatten(1)
        slots = children.flatten(1)
        if left_out is not None:
            candidates = candidates.masked_fill(_all_left_out(tree, level + 1, slots, left_out), -torch.inf)
        chosen = _best(candidates, tree.item[slots] if last else slots, top_k if last else beams)
        score, node = candidates.gather(1, chosen), slots.gather(1, chosen)
        if not last:
            x = _rows(network, tree, level, node)
            parent = chosen // children.shape[2]
            place = torch.zeros_like(children[..., 0]).scatter_(1, decoded, _columns(decoded))
            ancestors = [rows.gather(1, parent) for rows in (*ancestors, place)]
    items = tree.item[node].masked_fill(score.isneginf(), 0)
    missing = top_k - items.shape[1]
    return F.pad(items, (0, missing)), F.pad(score, (0, missing), value=-torch.inf)


def _leaves(tree: PrefixTree, level: int, node: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first leaf below prefixes of `level` codes and the leaf after the last; they are in one row."""
    first, after = node, node + 1
    for bounds in tree.first[level:]:
        first, after = bounds[first], bounds[after]
    return first, after


def _shared(tree: PrefixTree, level: int, node: Tensor) -> Tensor:
    """Return a bool in the shape of `node`: whether two or more items have the prefix."""
    first, after = _leaves(tree, level, node)
    return after - first > 1


def _left_out(tree: PrefixTree, user: Tensor, item: Tensor) -> Tensor:
    """Return the left-out leaves as rising, distinct user · items + leaf."""
    leaves: Tensor = torch.unique(user * tree.n_items + tree.leaf[item])
    return leaves


def _all_left_out(tree: PrefixTree, level: int, node: Tensor, left_out: Tensor) -> Tensor:
    """Return a bool in the shape `[B, N]` of `node`: whether all items of the prefix are left out for the user."""
    first, after = _leaves(tree, level, node)
    row = torch.arange(len(node), device=node.device)[:, None] * tree.n_items
    below = torch.searchsorted(left_out, row + after) - torch.searchsorted(left_out, row + first)
    return below == after - first


def _children(tree: PrefixTree, level: int, node: Tensor) -> tuple[Tensor, Tensor]:
    """Return the slots `int64 [B, N, C]` below nodes `[B, N]` and which exist. Other slots repeat the first."""
    first = tree.first[level][node][..., None]
    after = tree.first[level][node + 1][..., None]
    slots = first + torch.arange(tree.max_children[level], device=node.device)
    valid = slots < after
    return torch.where(valid, slots, first), valid


def _log_probs(logits: Tensor, codes: Tensor, valid: Tensor) -> Tensor:
    """Return log-probabilities `float32 [B, N, C]` of codes from logits `[B, N, codes]`: -inf where not valid."""
    return logits.float().gather(2, codes).masked_fill(~valid, -torch.inf).log_softmax(2)


def _start(network: TigerNetwork, memory: Memory) -> Tensor:
    """Return the decoder's input `float [B, 1, D]` before the first code."""
    return network.start.expand(len(memory.states), 1, -1)


def _rows(network: TigerNetwork, tree: PrefixTree, level: int, slots: Tensor) -> Tensor:
    """Return the token table's rows `float [..., D]` of the codes that slots add."""
    rows: Tensor = network.token_embedding(tree.code[level][slots] + network.first_token[level])
    return rows


def _to_decode(tree: PrefixTree, level: int, node: Tensor, score: Tensor) -> Tensor:
    """Return the places `int64 [B, n]` of each user's prefixes to decode: the shared prefixes first."""
    if node.device.type != "cpu":
        return _columns(node)
    shared = _shared(tree, level, node) & ~score.isneginf()
    most = int(shared.sum(1).max()) if len(node) else 0
    return torch.argsort((~shared).byte(), dim=1, stable=True)[:, :most]


def _columns(like: Tensor) -> Tensor:
    return torch.arange(like.shape[1], device=like.device).expand_as(like)


def _like(places: Tensor, x: Tensor) -> Tensor:
    """Repeat places `[B, n]` over the last dimension of x `[B, N]` or `[B, N, D]`."""
    return places if x.ndim == places.ndim else places[..., None].expand(-1, -1, x.shape[-1])


def _at(x: Tensor, places: Tensor) -> Tensor:
    """Return what x `[B, N]` or `[B, N, D]` has at places `[B, n]`."""
    return x.gather(1, _like(places, x))


def _best(score: Tensor, number: Tensor, count: int) -> Tensor:
    """Return the int64 places of the `count` (or all) highest scores in each row. Ties go to the lower number.

    A score and a number become one integer without ties because `topk` leaves the order of ties open.
    """
    bits = (score + 0.0).view(torch.int32)  # + 0.0: of two zeros one
    rising = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).long()
    keys = (rising << 32) + (0xFFFFFFFF - number)
    return keys.topk(min(count, keys.shape[1])).indices
