"""A stream of pairs and its store on one device."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from genpas_plugins.neural.device.pair_draws import TensorPairs, draw_pairs, enumerate_pairs
from genpas_plugins.neural.device.random_words import round_keys
from genpas_plugins.sampling import permutation
from genpas_plugins.sampling.enumeration import PairEnumeration
from genpas_plugins.sampling.protocol import Stream
from genpas_plugins.sampling.random_stream import check_epoch
from genpas_plugins.sampling.sampler import PairSampler
from genpas_plugins.support.array_types import AnyArray
from genpas_plugins.support.errors import InputError, whole_number


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
