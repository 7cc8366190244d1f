"""Twins of the draws of pairs for tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genpas_plugins.neural.device.random_words import Ahead, keyed_uniform, permute, philox, round_keys, uniform
from genpas_plugins.sampling import permutation
from genpas_plugins.sampling.policy import BELOW_ONE
from genpas_plugins.sampling.random_stream import EpochWords


class TensorPairs(NamedTuple):
    """Addresses of pairs, int64 [n] each; see `genpas_plugins.Pairs`."""

    sequence: Tensor
    start: Tensor
    target: Tensor


class TensorNumbers(NamedTuple):
    """Numbers of pairs or windows, int64 [n] each; see `genpas_plugins.sampling.enumeration.PairNumbers`."""

    sequence: Tensor
    length: Tensor
    number: Tensor


def draw_pairs(tables: Any, seed: int, epoch: int, index: Tensor, *, ahead: Ahead | None = None) -> TensorPairs:
    """Twin of `genpas_plugins.sampling.sampler.draw_pairs`."""
    words = tables.words(seed, epoch)
    group, rank, place, low, high = located(tables, words, index, ahead=ahead)
    visit, visits = counted(place, low, high, words.offset)
    number = tables.group_first[group] + rank
    sequence = tables.order[number].to(torch.int64)
    quantile = visit.to(torch.float64) + keyed_uniform(number, words.key)
    quantile = torch.where(quantile < visit + 1, quantile, visit.to(torch.float64))
    target = choose(tables.target, tables.group_length[group] - 1, quantile, visits)
    a0, a1, _, _ = philox(seed, epoch, 0, index)
    start = choose(tables.start, target, uniform(a0, a1), torch.ones_like(target)) - 1
    return TensorPairs(sequence, start, target)


class TensorPlaces(NamedTuple):
    """Where examples lie on the line; see `genpas_plugins.sampling.sampler.Places`."""

    group: Tensor
    rank: Tensor
    place: Tensor
    low: Tensor
    high: Tensor


def located(tables: Any, words: EpochWords, index: Tensor, *, ahead: Ahead | None) -> TensorPlaces:
    """Twin of `genpas_plugins.sampling.sampler.located`."""
    order = permute if ahead is None else ahead.permute
    place = order(index, tables.size, words.order.tolist(), permutation.binary_halves(tables.size))
    point = torch.clamp(place.to(torch.float64) + words.offset, max=tables.last_point)
    group = torch.searchsorted(tables.group_end, point, right=True)
    begin, end = tables.group_begin[group], tables.group_end[group]
    weight, count = tables.group_weight[group], tables.group_count[group]
    rank = torch.minimum((point - begin) * tables.group_inverse[group], (count - 1).to(torch.float64)).to(torch.int64)
    rank -= (begin + rank * weight > point).to(torch.int64)
    rank += ((rank + 1 < count) & (begin + (rank + 1) * weight <= point)).to(torch.int64)
    high = torch.where(rank + 1 < count, torch.minimum(begin + (rank + 1) * weight, end), end)
    return TensorPlaces(group, rank, place, begin + rank * weight, high)


def counted(place: Tensor, low: Tensor, high: Tensor, offset: float) -> tuple[Tensor, Tensor]:
    """Twin of `genpas_plugins.sampling.sampler.counted`."""
    first = _first_place(low, offset)
    count = torch.clamp(_first_place(high, offset) - first, min=1)
    return torch.minimum(torch.clamp(place - first, min=0), count - 1), count


def _first_place(bound: Tensor, offset: float) -> Tensor:
    place = torch.ceil(bound - offset)
    return (place + (place + offset < bound)).to(torch.int64)


def choose(table: Any, size: Tensor, u: Tensor, n: Tensor) -> Tensor:
    """Twin of `genpas_plugins.sampling.sampler.choose`."""
    if table.last:
        return size
    if table.even:
        return torch.minimum((u * (size / n.to(torch.float64))).to(torch.int64) + 1, size)
    total = table.cumulative[size]
    point = torch.minimum(u * (total / n), total * BELOW_ONE)
    return torch.searchsorted(table.cumulative, point, right=True)


def numbers_in_passes(
    numbering: Any, sizes: tuple[int, int], seed: int, epoch: int, index: Tensor, *, ahead: Ahead | None = None
) -> TensorNumbers:
    """Twin of `genpas_plugins.sampling.enumeration.numbers_in_passes` for the epoch of a stream.

    `sizes` are the lengths of a pass and of an epoch. The epochs cut the endless row of passes into pieces.
    """
    total, size = sizes
    passes_before, skipped = divmod(epoch * size, total)
    place = index + skipped
    if skipped + size <= total:
        keys: Sequence[int | Tensor] = permutation.round_keys(seed, passes_before).tolist()
    else:
        passes = place // total
        place = place - passes * total
        keys = round_keys(seed, passes + passes_before)
    return enumerate_numbers(numbering, total, keys, place, ahead=ahead)


def enumerate_numbers(
    numbering: Any, total: int, keys: Sequence[int | Tensor], index: Tensor, *, ahead: Ahead | None = None
) -> TensorNumbers:
    """Twin of `genpas_plugins.sampling.enumeration.enumerate_numbers`."""
    number = (permute if ahead is None else ahead.permute)(index, total, keys)
    group = torch.searchsorted(numbering.ends, number, right=True)
    size = numbering.per_sequence[group]
    inside = number - torch.where(group > 0, numbering.ends[group - 1], 0)
    rank = inside // size
    place = inside - rank * size
    sequence = numbering.order[numbering.group_first[group] + rank].to(torch.int64)
    return TensorNumbers(sequence, numbering.group_length[group], place)
