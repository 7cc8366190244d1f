"""Twins of the draws of windows for tensors: pieces of known number first, windows of a number to wait for then."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from genpas_plugins.neural.device.pair_draws import TensorPairs, choose, counted, located, numbers_in_passes
from genpas_plugins.neural.device.random_words import Ahead, keyed_uniform, philox, uniform
from genpas_plugins.sampling.chained_windows import ChainTables


class Pieces(NamedTuple):
    """Windows before their number is known, int64 [n, K] each, in the order of the examples; K pieces an example.

    Attributes
    ----------
    sequence : int64 [n]
    start, first, last : as of `genpas_plugins.sampling.chained_windows.Segments`, for a window each if `windows` is 1
    windows : how many the piece has; if `single`, of one target each, `first` … `first + windows - 1`, with L items
    single : bool [K]
    """

    sequence: Tensor
    start: Tensor
    first: Tensor
    last: Tensor
    windows: Tensor
    single: Tensor

    def lengths(self, limit: int) -> Tensor:
        """Return the items int64 [n, K] of the history of the windows of each piece."""
        return torch.where(self.single, limit, self.last - self.start)

    def targets(self) -> Tensor:
        """Return the trained targets int64 [n, K] of each piece."""
        return torch.where(self.single, self.windows, self.windows * (self.last + 1 - self.first))


class TensorWindows(NamedTuple):
    """Windows, int64 [n] each; see `genpas_plugins.sampling.windows.TargetWindows`."""

    pairs: TensorPairs
    first: Tensor
    example: Tensor


def windows_of(pieces: Pieces, limit: int, n_windows: int) -> TensorWindows:
    """Return the windows of all pieces, `n_windows` in number."""
    per_example = pieces.windows.shape[1]
    count = pieces.windows.flatten()
    number = torch.arange(len(count), device=count.device)
    piece = torch.repeat_interleave(number, count, output_size=n_windows)
    within = torch.arange(n_windows, device=count.device) - (torch.cumsum(count, 0) - count)[piece]
    example = piece // per_example
    single = pieces.single[piece - example * per_example]
    first = pieces.first.flatten()[piece] + torch.where(single, within, 0)
    last = torch.where(single, first, pieces.last.flatten()[piece])
    start = torch.where(single, first - limit, pieces.start.flatten()[piece])
    return TensorWindows(TensorPairs(pieces.sequence[example], start, last), first, example)


def links_of(tables: ChainTables) -> int:
    """Return an even number of links that hardly any chain exceeds.

    Target k begins a link with probability k^γ / Σ_{i ≤ k} i^γ, independently of the others and most often in the first
    block.
    """
    powers, most = tables.visits.start, min(tables.limit, len(tables.visits.start.powers))
    begins = np.ones(most) if powers.last else powers.powers[:most] / powers.cumulative[1 : most + 1]
    likely = begins.sum() + 5 * math.sqrt((begins * (1 - begins)).sum()) + 1
    return 2 * math.ceil(min(float(likely), most) / 2)


def draw_chains(tables: Any, links: int, seed: int, epoch: int, index: Tensor, *, ahead: Ahead | None = None) -> Pieces:
    """Twin of `genpas_plugins.sampling.chained_windows.draw_windows`; asks every `links` links if a chain goes on."""
    sequence, first, last = _trained_ranges(tables, seed, epoch, index, ahead=ahead)
    limit = tables.limit
    starts: list[Tensor] = []
    targets: list[Tensor] = []
    target, unfinished = last, torch.ones((), dtype=torch.bool, device=index.device)
    while not starts or (ahead is None and bool(unfinished)):
        block = torch.arange(len(starts) // 2, (len(starts) + links) // 2, device=index.device)
        words = philox(seed, epoch, block[:, None].expand(-1, len(index)), index.expand(len(block), -1))
        numbers = torch.stack([uniform(words[0], words[1]), uniform(words[2], words[3])], 1).flatten(0, 1)
        for u in numbers:
            # The chain of an example is over when the target is before its range; 1 keeps the look-up in the table.
            start = choose(tables.visits.start, target.clamp(min=1), u, torch.ones_like(target))
            starts.append(start)
            targets.append(target)
            target = torch.where(target >= first, start - 1, 0)
        unfinished = (target >= first).any()
    if ahead is not None:
        ahead.unfinished.append(unfinished)
    start, target = torch.stack(starts, 1), torch.stack(targets, 1)
    valid, low = target >= first[:, None], torch.maximum(start, first[:, None])
    cut = torch.maximum(low, start + limit)
    near, far = valid & (low < cut), valid & (cut <= target)
    singles = torch.arange(2 * start.shape[1], device=index.device) >= start.shape[1]
    return Pieces(
        sequence,
        torch.cat([start - 1, start - 1], 1),
        torch.cat([low, cut], 1),
        torch.cat([torch.minimum(target, start - 1 + limit), cut], 1),
        torch.cat([near.to(torch.int64), torch.where(far, target + 1 - cut, 0)], 1),
        singles,
    )


def enumerate_windows(stream: Any, tables: Any, epoch: int, index: Tensor, *, ahead: Ahead | None = None) -> Pieces:
    """Twin of `genpas_plugins.sampling.enumerated_windows`."""
    sizes, numbering = (stream.tables.numbering.total, stream.size), tables.numbering
    sequence, length, number = numbers_in_passes(numbering, sizes, stream.seed, epoch, index, ahead=ahead)
    window = numbering.construction.window(length, stream.max_length, number)
    start, first, last = (part[:, None] for part in window)
    one, no = torch.ones_like(start), torch.zeros(1, dtype=torch.bool, device=index.device)
    return Pieces(sequence, start, first, last, one, no)


def _trained_ranges(
    tables: Any, seed: int, epoch: int, index: Tensor, *, ahead: Ahead | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Twin of `genpas_plugins.sampling.chained_windows.trained_ranges`."""
    visits, limit, blocks = tables.visits, tables.limit, tables.blocks
    words = visits.words(seed, epoch)
    group, rank, place, low, high = located(visits, words, index, ahead=ahead)
    number = visits.group_first[group] + rank
    sequence, targets = visits.order[number].to(torch.int64), visits.group_length[group] - 1
    if visits.target.last:
        return sequence, targets, targets
    unit, whole = (high - low) / tables.group_rate[group], (targets - 1) // limit
    inside = rank + 1 < visits.group_count[group]
    unit = torch.where(inside, visits.group_weight[group] / tables.group_rate[group], unit)
    point = torch.clamp(place.to(torch.float64) + words.offset, max=visits.last_point)
    block = torch.searchsorted(blocks, (point - low) / unit, right=True) - 1
    block = torch.minimum(block.clamp(min=0), whole)
    block -= ((block > 0) & (low + unit * blocks[block] > point)).to(torch.int64)
    block += ((block < whole) & (low + unit * blocks[torch.minimum(block + 1, whole)] <= point)).to(torch.int64)
    after = torch.where(block < whole, low + unit * blocks[torch.minimum(block + 1, whole)], high)
    visit, of_block = counted(place, low + unit * blocks[block], after, words.offset)
    first, last = block * limit + 1, torch.minimum((block + 1) * limit, targets)
    if visits.target.even:
        return sequence, first, last
    threshold = (visit + keyed_uniform(number + block * tables.n_sequences, words.key)) / of_block
    powers = visits.target.powers
    if visits.target.exponent > 0:
        chosen = torch.searchsorted(powers, threshold * powers[last - 1], right=True) + 1
        return sequence, torch.minimum(torch.maximum(chosen, first), last), last
    chosen = torch.searchsorted(-powers, -(threshold * powers[first - 1]))
    return sequence, first, torch.minimum(torch.maximum(chosen, first), last)
