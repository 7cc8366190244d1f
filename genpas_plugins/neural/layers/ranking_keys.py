"""Candidates of a ranking as distinct whole numbers that compare as (score, lower item number first).

The high bits of a *key* are the score's bits in an order-preserving form. The low bits fall with the item number. The
best candidates of all ranks are thus the greatest keys. Equal scores rank alike for any number of ranks.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

_LOW, _INT32_MAX = 0xFFFFFFFF, 0x7FFFFFFF
_NOTHING = torch.iinfo(torch.int64).min  # below the key of every score
_POSITIVE_NAN = 0x7FC00000


class TopItems(NamedTuple):
    """The best items `int64 [B, k]` of some histories and their `scores` `float32 [B, k]`, best first."""

    items: Tensor
    scores: Tensor


def top_keys(scores: Tensor, first: int, k: int) -> Tensor:
    """Return the k greatest keys [G, k] of scores [G, M] of the items from `first`. Fill up where M < k."""
    n_items = scores.shape[1]
    # One more than asked for shows whether a tie crosses the boundary, where topk may take any of the equal ones.
    values, columns = scores.topk(min(k + 1, n_items))
    keys = _keys(values, columns + first)
    if n_items > k:
        crossing = (keys[:, k - 1] >> 32 == keys[:, k] >> 32).nonzero()[:, 0]
        items = torch.arange(first, first + n_items, device=scores.device)
        keys[crossing] = _keys(scores[crossing], items).topk(k + 1).values
    return functional.pad(keys.topk(min(k, n_items)).values, (0, max(k - n_items, 0)), value=_NOTHING)


def _keys(scores: Tensor, items: Tensor) -> Tensor:
    """Return int64 keys that order by score and then by falling item number. Items must be below 2**32."""
    bits = (scores + 0.0).view(torch.int32)  # adding makes -0 and 0, which are equal, of the same bits
    bits = torch.where(scores.isnan(), _POSITIVE_NAN, bits)
    return (_flipped(bits).long() << 32) | (_LOW - items)


def read_keys(keys: Tensor) -> TopItems:
    """Return the items and scores of descending keys int64 [B, k]."""
    return TopItems(_LOW - (keys & _LOW), _flipped((keys >> 32).int()).view(torch.float32))


def _flipped(bits: Tensor) -> Tensor:
    """Map the int32 bits of floats to numbers of the same order and back."""
    return bits ^ ((bits >> 31) & _INT32_MAX)
