"""A batch on a device, and its sizes on the host: what a step must know before it makes tensors of them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from genpas_plugins.neural.device.random_words import Ahead
from genpas_plugins.neural.layers.length_groups import LengthGroup

STEP = 8
"""Histories on a device are padded to a multiple of this, so that few shapes occur."""


class Sizes(NamedTuple):
    """Sizes of a batch.

    Attributes
    ----------
    histories, targets, items : their numbers
    width : the longest history, rounded up to a multiple of `STEP`, at most L
    groups : by length, up to 8, 9 … 16, 17 … 32 items and so on; none is empty
    """

    histories: int
    targets: int
    items: int
    width: int
    groups: tuple[LengthGroup, ...]


class DeviceHistories(Protocol):
    """The tensors of `genpas_plugins.sampling.batch.Histories` without a wait for the device."""

    @property
    def sequence(self) -> Tensor: ...  # noqa: D102 – as in Histories

    @property
    def lengths(self) -> Tensor: ...  # noqa: D102 – as in Histories

    def padded(self, width: int, dtype: torch.dtype | None = None) -> Tensor:
        """Return the items [n, width] with 0 after each history."""

    def padded_column(self, column: Tensor, width: int) -> Tensor:
        """Return the entries [n, width, …] of a column of the store with 0 after each history."""

    def jagged(self, total: int) -> tuple[Tensor, Tensor]:
        """Return the `total` items of one history after another and their offsets int64 [n + 1]."""


class TensorTargets(NamedTuple):
    """Tensors of `genpas_plugins.sampling.batch.Targets`."""

    rows: Tensor
    place: Tensor
    offsets: Tensor


class DeviceBatch(NamedTuple):
    """Tensors of `genpas_plugins.sampling.batch.Batch`.

    Attributes
    ----------
    histories, targets, weights, example : as there
    n_examples : as there
    sizes : on the host
    """

    histories: DeviceHistories
    targets: TensorTargets
    weights: Tensor
    example: Tensor
    n_examples: int
    sizes: Sizes


class StoreSlices(NamedTuple):
    """Histories as the store has them.

    Attributes
    ----------
    values : the store's
    sequence, stop, lengths : int64 [n]; `stop` is the row of the store after the history
    """

    values: Tensor
    sequence: Tensor
    stop: Tensor
    lengths: Tensor

    def padded(self, width: int, dtype: torch.dtype | None = None) -> Tensor:
        """Return the items; see `DeviceHistories`."""
        items = self.padded_column(self.values, width)
        return items if dtype is None else items.to(dtype)

    def padded_column(self, column: Tensor, width: int) -> Tensor:
        """Return entries of a column; see `DeviceHistories`."""
        place = torch.arange(width, device=column.device)
        rows = torch.where(place < self.lengths[:, None], (self.stop - self.lengths)[:, None] + place, 0)
        return mask(column[rows], self.lengths)

    def jagged(self, total: int) -> tuple[Tensor, Tensor]:
        """Return the items and their offsets; see `DeviceHistories`."""
        offsets = bounds(self.lengths)
        shift = torch.repeat_interleave(self.stop - offsets[1:], self.lengths, output_size=total)
        return self.values.index_select(0, shift.add_(torch.arange(total, device=shift.device))), offsets


def mask(entries: Tensor, lengths: Tensor) -> Tensor:
    """Set each row of [n, width, …] to 0 after its length in place."""
    outside = torch.arange(entries.shape[1], device=entries.device) >= lengths[:, None]
    return entries.masked_fill_(outside.view(*outside.shape, *[1] * (entries.dim() - 2)), 0)


def bounds(lengths: Tensor) -> Tensor:
    """Twin of `genpas_plugins.data.lengths.bounds`."""
    offsets = torch.zeros(len(lengths) + 1, dtype=torch.int64, device=lengths.device)
    torch.cumsum(lengths, 0, out=offsets[1:])
    return offsets


def order_by_length(lengths: Tensor, limit: int) -> Tensor:
    """Return the histories int64 [n] by length group as in `Sizes`. The shortest come first."""
    return torch.argsort(_group_numbers(lengths, limit), stable=True)


def fetched_sizes(parts: tuple[Tensor, Tensor, Tensor], limit: int, ahead: Ahead | None) -> Sizes | None:
    """Wait for the device once and return the sizes; None if the draw is unfinished.

    Parameters
    ----------
    parts : lengths, how many histories have this length, and their targets; int64 of one shape
    limit : L
    ahead : of the draw
    """
    lengths, counts, targets = (part.flatten() for part in parts)
    number = max(0, math.ceil(math.log2(limit / STEP))) + 1
    inside = _group_numbers(lengths, limit) == torch.arange(number, device=lengths.device)[:, None]
    totals = torch.stack([counts, counts * lengths, targets])
    sums = (inside[:, None] * totals).sum(2)
    longest = (inside * (lengths * (counts > 0))).amax(1) if len(lengths) else sums[:, 0]
    open_ends = [end.to(torch.int64).reshape(1) for end in ahead.unfinished] if ahead is not None else []
    fetched: list[Any] = torch.cat([torch.column_stack([sums, longest]).flatten(), *open_ends]).tolist()
    if any(fetched[4 * number :]):
        return None
    rows = [fetched[4 * at : 4 * at + 4] for at in range(number)]
    groups = tuple(LengthGroup(n, min(-(-top // STEP) * STEP, limit), trained) for n, _, trained, top in rows if n)
    histories, items, trained = (sum(row[part] for row in rows) for part in range(3))
    return Sizes(histories, trained, items, groups[-1].width if groups else 1, groups)


def _group_numbers(lengths: Tensor, limit: int) -> Tensor:
    """Return the length group of each history, from 0."""
    tops = STEP * 2 ** torch.arange(max(1, limit.bit_length()), device=lengths.device)
    return torch.bucketize(lengths, tops)
