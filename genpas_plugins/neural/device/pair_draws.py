"""Twins of the draws of pairs for tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genpas_plugins.neural.device.random_words import keyed_uniform, permute, philox, uniform
from genpas_plugins.sampling import permutation


class TensorPairs(NamedTuple):
    """Addresses of pairs, int64 [n] each; see `genpas_plugins.Pairs`."""

    sequence: Tensor
    start: Tensor
    target: Tensor


def draw_pairs(tables: Any, seed: int, epoch: int, index: Tensor) -> TensorPairs:
    """Twin of `genpas_plugins.sampling.sampler.draw_pairs`."""
    words = tables.words(seed, epoch)
    place = permute(index, tables.size, words.order.tolist(), permutation.binary_halves(tables.size))
    point = torch.clamp(place.to(torch.float64) + words.offset, max=tables.last_point)
    group = torch.searchsorted(tables.group_end, point, right=True)
    begin, end = tables.group_begin[group], tables.group_end[group]
    weight, count = tables.group_weight[group], tables.group_count[group]
    rank = torch.minimum((point - begin) * tables.group_inverse[group], (count - 1).to(torch.float64)).to(torch.int64)
    rank -= (begin + rank * weight > point).to(torch.int64)
    rank += ((rank + 1 < count) & (begin + (rank + 1) * weight <= point)).to(torch.int64)
    after = torch.where(rank + 1 < count, torch.minimum(begin + (rank + 1) * weight, end), end)
    first = _first_place(begin + rank * weight, words.offset)
    visits = torch.clamp(_first_place(after, words.offset) - first, min=1)
    visit = torch.minimum(torch.clamp(place - first, min=0), visits - 1)
    number = tables.group_first[group] + rank
    sequence = tables.order[number].to(torch.int64)
    quantile = visit.to(torch.float64) + keyed_uniform(number, words.key)
    quantile = torch.where(quantile < visit + 1, quantile, visit.to(torch.float64))
    target = _choose(tables.target, tables.group_length[group] - 1, quantile, visits)
    a0, a1, _, _ = philox(seed, epoch, 0, index)
    start = _choose(tables.start, target, uniform(a0, a1), torch.ones_like(target)) - 1
    return TensorPairs(sequence, start, target)


def _first_place(bound: Tensor, offset: float) -> Tensor:
    place = torch.ceil(bound - offset)
    return (place + (place + offset < bound)).to(torch.int64)


def _choose(table: Any, size: Tensor, u: Tensor, n: Tensor) -> Tensor:
    if table.last:
        return size
    n = n.to(torch.float64)
    if table.even:
        return torch.minimum((u * (size / n)).to(torch.int64) + 1, size)
    chosen = torch.searchsorted(table.cumulative, u * (table.cumulative[size] / n), right=True)
    return torch.minimum(chosen, size)


def enumerate_pairs(numbering: Any, total: int, keys: Sequence[int | Tensor], index: Tensor) -> TensorPairs:
    """Twin of `genpas_plugins.sampling.enumeration.enumerate_pairs`."""
    number = permute(index, total, keys)
    group = torch.searchsorted(numbering.ends, number, right=True)
    size = numbering.per_sequence[group]
    inside = number - torch.where(group > 0, numbering.ends[group - 1], 0)
    rank = inside // size
    place = inside - rank * size
    sequence = numbering.order[numbering.group_first[group] + rank].to(torch.int64)
    if numbering.strategy == "last_target":
        return TensorPairs(sequence, torch.zeros_like(place), numbering.group_length[group] - 1)
    if numbering.strategy == "multi_target":
        return TensorPairs(sequence, torch.zeros_like(place), place + 1)
    target = ((1 + torch.sqrt(1 + 8 * place.to(torch.float64))) / 2).to(torch.int64)
    target -= (target * (target - 1) // 2 > place).to(torch.int64)
    target += (target * (target + 1) // 2 <= place).to(torch.int64)
    return TensorPairs(sequence, place - target * (target - 1) // 2, target)
