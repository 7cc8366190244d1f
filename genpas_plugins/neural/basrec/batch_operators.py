"""Reorder and Substitute on a padded batch (BASRec, section "operators"). Each history has its own rate.

Lengths and padding stay. Random numbers are arguments: float64 in [0, 1). Shapes: B histories, L items.
"""

from __future__ import annotations

import torch
from torch import Tensor


def reorder(histories: Tensor, lengths: Tensor, rate: Tensor, start: Tensor, order: Tensor) -> Tensor:
    """Shuffle a window of int(r n) of a history's n items. A window below 2 items changes nothing.

    Histories are right-padded `int64 [B, L]`. `rate` is r in (0, 1] of each. `start` [B] and `order` [B, L] are random
    numbers that place and shuffle the window.
    """
    width = (rate * lengths).long()
    first = (start * (lengths - width + 1)).long()
    positions = torch.arange(histories.shape[1], device=histories.device).expand_as(histories)
    inside = (positions >= first[:, None]) & (positions < (first + width)[:, None])
    # Keys inside stay between the neighbours outside, so that only the window's order changes.
    keys = torch.where(inside, first[:, None] - 0.5 + order * width[:, None], positions.double())
    return histories.gather(1, keys.argsort(1))


def substitute(histories: Tensor, lengths: Tensor, rate: Tensor, choice: Tensor, neighbours: Tensor) -> Tensor:
    """Replace max(1, int(r n)) of a history's n items by their neighbours.

    Histories are right-padded `int64 [B, L]`. `rate` is r in (0, 1] of each. `choice` [B, L] are random numbers that
    choose the positions. `neighbours` has the item that replaces each item.
    """
    count = (rate * lengths).long().clamp(min=1)
    positions = torch.arange(histories.shape[1], device=histories.device)
    keys = choice.masked_fill(positions >= lengths[:, None], torch.inf)
    chosen = (keys.argsort(1).argsort(1) < count[:, None]) & (positions < lengths[:, None])
    return torch.where(chosen, neighbours[histories], histories)
