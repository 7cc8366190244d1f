"""Twins of the operators' histories and draws for tensors: rectangles of L items, so that no size is waited for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from genpas_plugins.augment.draws import BLOCKS, FIRST
from genpas_plugins.augment.histories import numbers_of_items
from genpas_plugins.augment.operator import Catalogue, Operator
from genpas_plugins.neural.device.device_batch import StoreSlices, bounds, mask
from genpas_plugins.neural.device.random_words import philox, uniform

_WORDS = 4  # in a block


class Chosen(NamedTuple):
    """Chosen items, [n, T]: their places in their histories, and which of the T are any."""

    place: Tensor
    valid: Tensor


@dataclass(frozen=True, eq=False)
class ChangedTensors:
    """Twin of `genpas_plugins.augment.histories.ChangedHistories`.

    Attributes
    ----------
    items : [n, W], with 0 after each history
    rows : int64 [n, W], the store's row that each item came from
    sequence, lengths : int64 [n]
    """

    items: Tensor
    rows: Tensor
    sequence: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, drawn: StoreSlices, width: int) -> ChangedTensors:
        """Copy histories out of the store."""
        place = torch.arange(width, device=drawn.stop.device)
        rows = torch.where(place < drawn.lengths[:, None], (drawn.stop - drawn.lengths)[:, None] + place, 0)
        return cls(mask(drawn.values[rows], drawn.lengths), rows, drawn.sequence, drawn.lengths)

    def padded(self, width: int, dtype: torch.dtype | None = None) -> Tensor:
        """Return the items; see `DeviceHistories`."""
        items = self.items[:, :width]
        return items if dtype is None else items.to(dtype)

    def padded_column(self, column: Tensor, width: int) -> Tensor:
        """Return entries of a column; see `DeviceHistories`."""
        return mask(column[self.rows[:, :width]], self.lengths)

    def jagged(self, total: int) -> tuple[Tensor, Tensor]:
        """Return the items and their offsets; see `DeviceHistories`."""
        offsets = bounds(self.lengths)
        row = torch.repeat_interleave(self.lengths, output_size=total)
        return self.items[row, torch.arange(total, device=row.device) - offsets[row]], offsets

    @property
    def known(self) -> Tensor:
        """Number of items of each history that are not masked."""
        return (self.items != 0).sum(1)

    def share(self, rate: float, at_most: Tensor | None = None) -> Tensor:
        """Twin of `ChangedHistories.share`."""
        counts = _numbers(rate, self.items.shape[1].bit_length(), self.items.device)[self.lengths]
        return counts if at_most is None else torch.minimum(counts, at_most.clamp(min=0))

    def at(self, places: Chosen) -> Tensor:
        """Return the items at places, 0 where none is chosen."""
        return self.items.gather(1, places.place) * places.valid

    def slices(self, first: Tensor, lengths: Tensor) -> ChangedTensors:
        """Twin of `ChangedHistories.slices`."""
        return self._take(first[:, None] + self._places, lengths)

    def reordered(self, first: Tensor, lengths: Tensor, places: Chosen) -> ChangedTensors:
        """Twin of `ChangedHistories.reordered`."""
        to = first[:, None] + torch.arange(places.place.shape[1], device=first.device)
        order = _written(self._places.expand_as(self.items), Chosen(to, places.valid), places.place)
        return self._take(order, self.lengths)

    def without(self, places: Chosen) -> ChangedTensors:
        """Twin of `ChangedHistories.without`."""
        return self._keep(_written(self._inside, places, torch.zeros_like(places.valid)))

    def thinned(self, words: Tensor, lengths: Tensor, below: int) -> ChangedTensors:
        """Twin of `ChangedHistories.thinned`."""
        words = torch.where(self._places < lengths[:, None], words, -1)
        stays = (words >= below) | (words == words.amax(1, keepdim=True))
        return self._keep(self._inside & (stays | (lengths == 0)[:, None]))

    def insert(self, places: Chosen, items: Tensor) -> ChangedTensors:
        """Twin of `ChangedHistories.insert`."""
        new = _written(torch.zeros_like(self.items), places, items)
        grows = new != 0
        after = self._places + torch.cumsum(grows, 1)
        wide = 2 * self.items.shape[1]

        def merged(old: Tensor, added: Tensor) -> Tensor:
            result = old.new_zeros(len(old), wide + 1)
            result.scatter_(1, torch.where(self._inside, after, wide), old)
            return result.scatter_(1, torch.where(grows, after - 1, wide), added)[:, :wide]

        lengths = self.lengths + grows.sum(1)
        return replace(self, items=merged(self.items, new), rows=merged(self.rows, self.rows), lengths=lengths)

    def with_items(self, places: Chosen, items: Tensor | int) -> ChangedTensors:
        """Twin of `ChangedHistories.with_items`."""
        return replace(self, items=_written(self.items, places, items))

    def last(self, max_length: int) -> ChangedTensors:
        """Twin of `ChangedHistories.last`; the result is `max_length` wide."""
        surplus = (self.lengths - max_length).clamp(min=0)
        return self._take(surplus[:, None] + self._places[:max_length], self.lengths - surplus)

    @property
    def _places(self) -> Tensor:
        return torch.arange(self.items.shape[1], device=self.items.device)

    @property
    def _inside(self) -> Tensor:
        return self._places < self.lengths[:, None]

    def _keep(self, keep: Tensor) -> ChangedTensors:
        order = torch.argsort((~keep).to(torch.uint8), dim=1, stable=True)
        return self._take(order, keep.sum(1))

    def _take(self, places: Tensor, lengths: Tensor) -> ChangedTensors:
        places = places.clamp(max=self.items.shape[1] - 1)
        items, rows = (mask(part.gather(1, places), lengths) for part in (self.items, self.rows))
        return replace(self, items=items, rows=rows, lengths=lengths)


@dataclass(frozen=True, eq=False)
class TensorDraws:
    """Twin of `genpas_plugins.augment.draws.Draws`.

    Attributes
    ----------
    seed, epoch, number : as there
    index : int64 [n]
    width : of the histories
    most : items of a history that are chosen at most
    """

    seed: int
    epoch: int
    number: int
    index: Tensor
    width: int
    most: int

    @cached_property
    def of_pairs(self) -> tuple[Tensor, Tensor]:
        """Two uniform numbers for every pair, float64 [n] each."""
        words = philox(self.seed, self.epoch, FIRST + self.number * BLOCKS, self.index)
        return uniform(words[0], words[1]), uniform(words[2], words[3])

    def of_items(self, counts: Tensor) -> Tensor:
        """Return a random word for each place of every history, int64 [n, width], whatever the counts."""
        del counts
        return self._words(self.width)

    def place(self, sizes: Tensor) -> Tensor:
        """Twin of `Draws.place`."""
        return (self.of_pairs[1] * sizes).to(torch.int64)

    def choose(self, histories: ChangedTensors, counts: Tensor) -> Chosen:
        """Twin of `Draws.choose`."""
        return self._choose(torch.zeros_like(counts), histories.lengths, counts, self._words(self.most))

    def choose_with_new(self, histories: ChangedTensors, counts: Tensor, n_items: int) -> tuple[Chosen, Tensor]:
        """Twin of `Draws.choose_with_new`."""
        words = self._words(2 * self.most)
        chosen = self._choose(torch.zeros_like(counts), histories.lengths, counts, words[:, ::2])
        return chosen, 1 + ((words[:, 1::2] * n_items) >> 32)

    def shuffle(self, histories: ChangedTensors, first: Tensor, lengths: Tensor) -> Chosen:
        """Twin of `Draws.shuffle`."""
        del histories
        return self._choose(first, lengths, lengths, self._words(self.most))

    def _words(self, number: int) -> Tensor:
        """Return the first words of every pair, int64 [n, number]."""
        first, n = FIRST + self.number * BLOCKS + 1, len(self.index)
        blocks = torch.arange(first, first + -(-number // _WORDS), device=self.index.device)
        words = philox(self.seed, self.epoch, blocks.expand(n, -1), self.index[:, None].expand(-1, len(blocks)))
        return torch.stack(words, 2).flatten(1)[:, :number]

    def _choose(self, first: Tensor, lengths: Tensor, counts: Tensor, words: Tensor) -> Chosen:
        """Twin of `genpas_plugins.augment.draws.choose_numbers`."""
        numbers = torch.arange(self.width, device=first.device).repeat(len(first), 1)
        chosen = []
        for step in range(words.shape[1]):
            left = (lengths - step).clamp(min=1)
            other = (step + ((words[:, step] * left) >> 32))[:, None]
            chosen.append(numbers.gather(1, other))
            numbers.scatter_(1, other, numbers[:, step : step + 1].clone())
        place = first[:, None] + torch.cat(chosen, 1)
        return Chosen(place, torch.arange(place.shape[1], device=place.device) < counts[:, None])


def changed(
    drawn: StoreSlices,
    operators: Sequence[Operator],
    catalogue: Catalogue,
    address: tuple[int, int, Tensor],
    limit: int,
) -> ChangedTensors:
    """Return the histories of a batch after the operators.

    Parameters
    ----------
    drawn : histories of at most `limit` items
    operators, catalogue : as of `AugmentedStream`, with a tensor of neighbours
    address : seed, epoch and the indices, int64 [n]
    limit : L
    """
    histories = ChangedTensors.of(drawn, limit)
    for number, operator in enumerate(operators):
        histories = apply_operator(operator, histories, catalogue, (*address[:2], number, address[2]), limit)
    return histories


def apply_operator(
    operator: Operator,
    histories: ChangedTensors,
    catalogue: Catalogue,
    address: tuple[int, int, int, Tensor],
    limit: int,
) -> ChangedTensors:
    """Return the histories of a batch after one operator; `address` is seed, epoch, its number and the indices."""
    if operator.identity:
        return histories
    most = min(limit, max(2, int(numbers_of_items(float(operator.rate), limit.bit_length())[limit])))
    draws: Any = TensorDraws(*address, limit, most)
    twin: Any = histories
    result: Any = operator.apply(twin, draws, catalogue).last(limit)
    return cast(ChangedTensors, result)


@cache
def _numbers(rate: float, bits: int, device: torch.device) -> Tensor:
    return torch.from_numpy(numbers_of_items(rate, bits)).to(device)


def _written(target: Tensor, places: Chosen, values: Tensor | int) -> Tensor:
    """Return a copy of `target`, [n, W], with values, [n, T] or a number, at the chosen places."""
    width = target.shape[1]
    result = torch.cat([target, target[:, :1]], 1)
    place = torch.where(places.valid, places.place, width)  # the last column takes what is not chosen
    written = values.to(target.dtype) if isinstance(values, Tensor) else torch.full_like(place, values).to(target.dtype)
    return result.scatter_(1, place, written)[:, :width]
