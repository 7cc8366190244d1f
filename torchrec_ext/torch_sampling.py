"""The stream of pairs in torch: drawn and gathered where the tensors are, with the same bits as in numpy.

Random words are 32 bits in int64 tensors. A product of two words wraps around in two's complement, which keeps its 64
bits. A shift to the right is masked because int64 shifts the sign in. Floating point is float64, one correctly rounded
kernel an operation: nothing here may be compiled into fused multiply-adds.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from genpas_plugins.sampling import permutation
from genpas_plugins.sampling.enumeration import PairEnumeration
from genpas_plugins.sampling.protocol import Stream
from genpas_plugins.sampling.random_stream import MIXERS, MULTIPLIERS, PERMUTATION, ROUNDS, WEYL, check_epoch
from genpas_plugins.sampling.sampler import PairSampler
from genpas_plugins.support.array_types import AnyArray
from genpas_plugins.support.errors import InputError, whole_number

_MASK = 0xFFFFFFFF


class TensorPairs(NamedTuple):
    """Addresses of pairs, int64 [n] each; see `genpas_plugins.Pairs`."""

    sequence: Tensor
    start: Tensor
    target: Tensor


class TensorJagged(NamedTuple):
    """Histories one after another: values [Σ length], offsets int64 [n + 1], target [n]."""

    values: Tensor
    offsets: Tensor
    target: Tensor


@dataclass(frozen=True, eq=False)
class DeviceStream:
    """A stream of pairs and its store, on one device.

    Attributes
    ----------
    stream : the stream with the same pairs
    device : where all tensors are
    values, offsets : the store's
    tables : the tables of `stream`, with tensors in place of arrays

    Examples
    --------
    >>> from genpas_plugins import SamplingPolicy, SequenceStore, pair_stream
    >>> store = SequenceStore.from_arrays([1, 2, 3, 4, 5], [0, 5])
    >>> stream = pair_stream(store.leave_last_out().train, SamplingPolicy.named("multi_target"), seed=7)
    >>> sorted(DeviceStream.of(stream, "cpu").pairs(epoch=0, indices=[0, 1]).target.tolist())
    [1, 2]
    """

    stream: Stream
    device: torch.device
    values: Tensor
    offsets: Tensor
    tables: Any

    @classmethod
    def of(cls, stream: Stream, device: torch.device | str = "cpu") -> DeviceStream:
        """Copy the arrays of `stream` to `device`; on CPU they are shared. Raises InputError without a twin."""
        if not has_twin(stream):
            raise InputError(f"A {type(stream).__name__} cannot be drawn on a device; give what pair_stream returns.")
        place, store, tables = torch.device(device), stream.view.store, cast("Any", stream).tables
        return cls(stream, place, _tensor(store.values, place), _tensor(store.offsets, place), moved(tables, place))

    def pairs(self, epoch: int, indices: Tensor | ArrayLike) -> TensorPairs:
        """Return the pairs with these indices of the epoch: int64 [n], each in [0, pairs_per_epoch)."""
        index = torch.as_tensor(indices, device=self.device)
        if index.ndim != 1 or (index.numel() and (index.is_floating_point() or index.dtype == torch.bool)):
            raise InputError(
                f"Pair indices must be one row of whole numbers; got {index.dtype} of shape {tuple(index.shape)}."
            )
        index = index.to(torch.int64)
        if index.numel() and (int(index.min()) < 0 or int(index.max()) >= self.stream.pairs_per_epoch):
            raise InputError(f"Pair indices run from 0 to {self.stream.pairs_per_epoch - 1}, the epoch's last pair.")
        return self._draw(check_epoch(epoch), index)

    def consecutive(self, epoch: int, first: int, last: int) -> tuple[TensorPairs, Tensor]:
        """Return the pairs `first` … `last - 1` of the epoch and their indices, int64 [last - first]."""
        last = whole_number("last", last, 0, self.stream.pairs_per_epoch)
        index = torch.arange(whole_number("first", first, 0, last), last, device=self.device)
        return self._draw(check_epoch(epoch), index), index

    def jagged(self, pairs: TensorPairs, max_length: int) -> TensorJagged:
        """Gather the histories, the last `max_length` items of each, and the targets, in the store's dtype."""
        max_length = whole_number("max_length", max_length, 1)
        stop = self.offsets[pairs.sequence] + pairs.target
        length = torch.clamp(pairs.target - pairs.start, max=max_length)
        bounds = torch.zeros(len(length) + 1, dtype=torch.int64, device=self.device)
        torch.cumsum(length, 0, out=bounds[1:])
        total = int(bounds[-1])  # the one wait for the device
        shift = torch.repeat_interleave(stop - bounds[1:], length, output_size=total)
        return TensorJagged(
            self.values.index_select(0, shift.add_(torch.arange(total, device=self.device))),
            bounds,
            self.values.index_select(0, stop),
        )

    def _draw(self, epoch: int, index: Tensor) -> TensorPairs:
        return TWINS[type(self.stream)](self.stream, self.tables, epoch, index)


def philox(seed: int, epoch: int, block: int, index: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Twin of `genpas_plugins.sampling.random_stream.philox`: four words of 32 bits, int64 [n] each."""
    c0, c1 = index & _MASK, index >> 32
    c2, c3 = torch.full_like(index, epoch), torch.full_like(index, block)
    k0, k1 = seed & _MASK, seed >> 32
    for _ in range(ROUNDS):
        p0, p1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1 = (p1 >> 32).bitwise_and_(_MASK).bitwise_xor_(c1).bitwise_xor_(k0), p1.bitwise_and_(_MASK)
        c2, c3 = (p0 >> 32).bitwise_and_(_MASK).bitwise_xor_(c3).bitwise_xor_(k1), p0.bitwise_and_(_MASK)
        k0, k1 = (k0 + WEYL[0]) & _MASK, (k1 + WEYL[1]) & _MASK
    return c0, c1, c2, c3


def uniform(high: Tensor, low: Tensor) -> Tensor:
    """Turn two random words each into one float64 in [0, 1) with 53 random bits."""
    return ((high << 21) | (low >> 11)).to(torch.float64) * 2.0**-53


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


def keyed_uniform(numbers: Tensor, key: int) -> Tensor:
    """Twin of `genpas_plugins.sampling.random_stream.keyed_uniform`."""
    first, second, third = (_signed(mixer) for mixer in MIXERS)
    z = numbers * first + _signed(key)
    z = (z ^ ((z >> 30) & (1 << 34) - 1)) * second
    z = (z ^ ((z >> 27) & (1 << 37) - 1)) * third
    return (((z ^ ((z >> 31) & (1 << 33) - 1)) >> 11) & (1 << 53) - 1).to(torch.float64) * 2.0**-53


def _signed(word: int) -> int:
    """Return the int64 with the bits of a word of 64 bits."""
    return word - (1 << 64) if word >= 1 << 63 else word


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


def round_keys(seed: int, number: Tensor) -> list[Tensor]:
    """Twin of `permutation.round_keys` for an order of its own for each element, int64 [n] each."""
    words = [*philox(seed, 0, PERMUTATION, 2 * number), *philox(seed, 0, PERMUTATION, 2 * number + 1)]
    return words[: permutation.ROUNDS]


def permute(index: Tensor, n: int, keys: Sequence[int | Tensor], sides: tuple[int, int] | None = None) -> Tensor:
    """Twin of `genpas_plugins.sampling.permutation.permute`; keys are numbers, or one tensor [n] a round."""
    a, b = sides or permutation.halves(n)
    places = _network(index, a, b, keys)
    if a * b == n:
        return places
    outside = torch.nonzero(places >= n).squeeze(1)
    while len(outside):
        own = [key if isinstance(key, int) else key[outside] for key in keys]
        places[outside] = _network(places[outside], a, b, own)
        outside = outside[places[outside] >= n]
    return places


def _network(x: Tensor, a: int, b: int, keys: Sequence[int | Tensor]) -> Tensor:
    left = x // b
    right = x - left * b
    for number, key in enumerate(keys):
        if number % 2 == 0:
            left = (left + _scaled_hash(right, key, a)) % a
        else:
            right = (right + _scaled_hash(left, key, b)) % b
    return left * b + right


def _scaled_hash(x: Tensor, key: int | Tensor, size: int) -> Tensor:
    h = (x & _MASK) ^ key
    h = ((h ^ (h >> 16)) * 0x85EBCA6B) & _MASK
    h = ((h ^ (h >> 13)) * 0xC2B2AE35) & _MASK
    # A hash below 2³² times a side of at most 2³⁰·⁵ + 1 stays below 2⁶³.
    return ((h ^ (h >> 16)) * size) >> 32


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


def _draw_samples(stream: PairSampler, tables: Any, epoch: int, index: Tensor) -> TensorPairs:
    return draw_pairs(tables, stream.seed, epoch, index)


def _draw_passes(stream: PairEnumeration, tables: Any, epoch: int, index: Tensor) -> TensorPairs:
    # As in `pairs_in_passes`: the epochs cut the endless row of passes into pieces.
    passes_before, skipped = divmod(epoch * stream.pairs_per_epoch, stream.n_pairs)
    place = index + skipped
    if skipped + stream.pairs_per_epoch <= stream.n_pairs:
        keys: Sequence[int | Tensor] = permutation.round_keys(stream.seed, passes_before).tolist()
    else:
        passes = place // stream.n_pairs
        place = place - passes * stream.n_pairs
        keys = round_keys(stream.seed, passes + passes_before)
    return enumerate_pairs(tables, stream.n_pairs, keys, place)


TWINS: dict[type, Callable[[Any, Any, int, Tensor], TensorPairs]] = {
    PairSampler: _draw_samples,
    PairEnumeration: _draw_passes,
}
"""The kinds of streams that can be drawn in torch, each with `twin(stream, its tables, epoch, index)`."""


def has_twin(stream: Stream) -> bool:
    """Return whether a stream can be drawn in torch, and so on a device."""
    return type(stream) in TWINS


def moved(tables: Any, device: torch.device) -> Any:
    """Return a dataclass of arrays with tensors on `device` in their place; on CPU they share the memory."""
    changes = {}
    for name, value in ((part.name, getattr(tables, part.name)) for part in fields(tables)):
        if is_dataclass(value):
            changes[name] = moved(value, device)
        elif isinstance(value, np.ndarray):
            changes[name] = _tensor(value, device)
    return replace(tables, **changes)


def _tensor(array: AnyArray, device: torch.device) -> Tensor:
    with warnings.catch_warnings():
        # A store's memory map is read-only, and nothing here writes.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)
