"""A stream and its store on one device."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from genpas_plugins.augment.augmented_stream import AugmentedStream
from genpas_plugins.augment.operator import Catalogue
from genpas_plugins.neural.device.changed_histories import changed
from genpas_plugins.neural.device.device_batch import (
    DeviceBatch,
    DeviceHistories,
    Sizes,
    StoreSlices,
    TensorTargets,
    bounds,
    fetched_sizes,
)
from genpas_plugins.neural.device.pair_draws import TensorPairs, draw_pairs, numbers_in_passes
from genpas_plugins.neural.device.random_words import Ahead
from genpas_plugins.neural.device.window_draws import (
    Pieces,
    TensorWindows,
    draw_chains,
    enumerate_windows,
    links_of,
    windows_of,
)
from genpas_plugins.sampling.chained_windows import ChainedWindows
from genpas_plugins.sampling.enumerated_windows import EnumeratedWindows, pairs_after_cut
from genpas_plugins.sampling.enumeration import PairEnumeration
from genpas_plugins.sampling.protocol import Stream
from genpas_plugins.sampling.random_stream import check_epoch
from genpas_plugins.sampling.sampler import PairSampler
from genpas_plugins.support.array_types import AnyArray
from genpas_plugins.support.errors import InputError, whole_number


@dataclass(frozen=True, eq=False)
class DeviceStream:
    """A stream and its store on one device.

    Attributes
    ----------
    stream : the stream with the same examples
    device : where all tensors are
    values, offsets : the store's
    cut_lengths : the view's; None: `view.held_out` decides
    tables : the tables of `stream`, with tensors in place of arrays
    links : links of a chain of windows that are drawn without a question
    catalogue : of an `AugmentedStream`, with a tensor of neighbours

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
    cut_lengths: Tensor | None
    tables: Any
    links: int
    catalogue: Catalogue | None = None

    @classmethod
    def of(cls, stream: Stream, device: torch.device | str = "cpu") -> DeviceStream:
        """Copy the arrays of `stream` to `device`; on CPU they are shared. Raises InputError without a twin."""
        if not has_twin(stream):
            raise InputError(f"A {type(stream).__name__} cannot be drawn on a device; give what pair_stream returns.")
        place, view, source = torch.device(device), stream.view, cast("Any", _source(stream))
        if place.type != "cpu":
            view.require_content()  # a GPU does not stop at an address out of range
        tables = source.tables
        return cls(
            stream,
            place,
            tensor_of(view.store.values, place),
            tensor_of(view.store.offsets, place),
            None if view.cut_lengths is None else tensor_of(view.cut_lengths, place),
            moved(tables, place),
            links_of(tables) if isinstance(source, ChainedWindows) else 0,
            _catalogue(stream, place),
        )

    def pairs(self, epoch: int, indices: Tensor | ArrayLike) -> TensorPairs:
        """Return the pairs with these indices of the epoch: int64 [n] in [0, pairs_per_epoch)."""
        return self._pairs(check_epoch(epoch), self._checked(indices), None)

    def windows(self, epoch: int, indices: Tensor | ArrayLike) -> TensorWindows:
        """Return the windows of the examples with these indices of the epoch: int64 [n] in [0, size)."""
        limit = cast("Any", self.stream).max_length
        pieces = self._pieces(check_epoch(epoch), self._checked(indices), None)
        return windows_of(pieces, limit, int(pieces.windows.sum()))

    def batch(self, epoch: int, indices: Tensor | ArrayLike, max_length: int) -> DeviceBatch:
        """Return the examples with these indices of the epoch, as `Stream.batch` does; waits for the device once."""
        return self._batch(check_epoch(epoch), self._checked(indices), max_length)

    def consecutive(self, epoch: int, first: int, last: int, max_length: int) -> tuple[DeviceBatch, Tensor]:
        """Return the examples `first` … `last - 1` and their indices, int64; waits for the device once.

        The epoch begins again after its end: `last` is at most `first` plus the size.
        """
        size = self.stream.size
        first = whole_number("first", first, 0, size)
        index = torch.arange(first, whole_number("last", last, first, first + size), device=self.device)
        if last > size:
            index %= size
        return self._batch(check_epoch(epoch), index, max_length), index

    def lengths(self, sequence: Tensor) -> Tensor:
        """Return the int64 lengths of sequences in the view."""
        if self.cut_lengths is not None:
            return self.cut_lengths[sequence]
        return torch.clamp(self.offsets[sequence + 1] - self.offsets[sequence] - self.stream.view.held_out, min=0)

    def _checked(self, indices: Tensor | ArrayLike) -> Tensor:
        index = torch.as_tensor(indices, device=self.device)
        if index.ndim != 1 or (index.numel() and (index.is_floating_point() or index.dtype == torch.bool)):
            raise InputError(
                f"Pair indices must be one row of whole numbers; got {index.dtype} of shape {tuple(index.shape)}."
            )
        index = index.to(torch.int64)
        if index.numel() and (int(index.min()) < 0 or int(index.max()) >= self.stream.size):
            raise InputError(f"Pair indices run from 0 to {self.stream.size - 1}, the epoch's last pair.")
        return index

    def _batch(self, epoch: int, index: Tensor, max_length: int) -> DeviceBatch:
        limit = whole_number("max_length", max_length, 1)
        if self.stream.unit == "windows" and limit != cast("Any", self.stream).max_length:
            raise InputError(f"max_length is {limit}, but the windows were made for another one.")
        batch = self._drawn(epoch, index, limit, Ahead())
        return batch or cast("DeviceBatch", self._drawn(epoch, index, limit, None))

    def _drawn(self, epoch: int, index: Tensor, limit: int, ahead: Ahead | None) -> DeviceBatch | None:
        """Return the batch; None if `ahead` did not reach its end."""
        if self.stream.unit == "pairs":
            pairs, one = self._pairs(epoch, index, ahead), torch.ones_like(index)
            rows, lengths = self.offsets[pairs.sequence] + pairs.target, pairs.target - pairs.start
            drawn = StoreSlices(self.values, pairs.sequence, rows, torch.clamp(lengths, max=limit))
            histories: DeviceHistories = drawn
            if isinstance(self.stream, AugmentedStream):
                address = (self.stream.seed, epoch, index)
                assert self.catalogue is not None, "made with the stream"
                histories = changed(drawn, self.stream.operators, self.catalogue, address, limit)
            sizes = fetched_sizes((histories.lengths, one, one), limit, ahead)
            return None if sizes is None else self._of_pairs(rows, histories, sizes)
        pieces = self._pieces(epoch, index, ahead)
        sizes = fetched_sizes((pieces.lengths(limit), pieces.windows, pieces.targets()), limit, ahead)
        if sizes is None:
            return None
        return self._of_windows(windows_of(pieces, limit, sizes.histories), sizes, len(index), limit)

    def _of_pairs(self, rows: Tensor, histories: DeviceHistories, sizes: Sizes) -> DeviceBatch:
        number = torch.arange(sizes.histories + 1, device=self.device)
        targets = TensorTargets(rows, histories.lengths - 1, number)
        weights = torch.ones(sizes.histories, device=self.device)
        return DeviceBatch(histories, targets, weights, number[:-1], sizes.histories, sizes)

    def _of_windows(self, windows: TensorWindows, sizes: Sizes, n_examples: int, limit: int) -> DeviceBatch:
        (sequence, start, last), first, example = windows
        begin, count = self.offsets[sequence], last + 1 - first
        histories = StoreSlices(self.values, sequence, begin + last, last - start)
        ends = bounds(count)
        row = torch.repeat_interleave(count, output_size=sizes.targets)
        place = torch.arange(sizes.targets, device=self.device) + (first - ends[:-1])[row]
        targets = TensorTargets(begin[row] + place, place - start[row] - 1, ends)
        weights = self._weights(windows, sizes.targets, ends, limit)
        return DeviceBatch(histories, targets, weights, example, n_examples, sizes)

    def _weights(self, windows: TensorWindows, n_targets: int, ends: Tensor, limit: int) -> Tensor:
        (sequence, start, _), stream = windows.pairs, self.stream
        if not isinstance(stream, EnumeratedWindows):
            weight = 1 / stream.targets_per_example
            return torch.full((n_targets,), weight, dtype=torch.float32, device=self.device)
        numbering, length = self.tables.numbering, self.lengths(sequence)
        row = torch.repeat_interleave(ends[1:] - ends[:-1], output_size=n_targets)
        target = torch.arange(n_targets, device=self.device) + (windows.first - ends[:-1])[row]
        pairs_of = pairs_after_cut(numbering.construction, length[row], start[row], target, limit)
        weights: Tensor = pairs_of * self.tables.weight[torch.searchsorted(numbering.group_length, length)][row]
        return weights.to(torch.float32)

    def _pairs(self, epoch: int, index: Tensor, ahead: Ahead | None) -> TensorPairs:
        stream = _source(self.stream)
        if isinstance(stream, PairEnumeration):
            sizes = (stream.n_pairs, stream.pairs_per_epoch)
            places = numbers_in_passes(self.tables, sizes, stream.seed, epoch, index, ahead=ahead)
            return TensorPairs(places.sequence, *stream.tables.construction.pair(places.length, places.number))
        return draw_pairs(self.tables, stream.seed, epoch, index, ahead=ahead)

    def _pieces(self, epoch: int, index: Tensor, ahead: Ahead | None) -> Pieces:
        if isinstance(self.stream, EnumeratedWindows):
            return enumerate_windows(self.stream, self.tables, epoch, index, ahead=ahead)
        return draw_chains(self.tables, self.links, self.stream.seed, epoch, index, ahead=ahead)


TWINS = (PairSampler, PairEnumeration, ChainedWindows, EnumeratedWindows)
"""The kinds of streams that can be drawn in torch."""


def has_twin(stream: Stream) -> bool:
    """Return whether a stream can be drawn in torch and thus on a device."""
    source: Any = _source(stream)
    if isinstance(source, EnumeratedWindows):
        return bool(source.tables.numbering.construction.in_torch)
    return type(source) in TWINS and not (isinstance(source, PairEnumeration) and source.tables.construction.ahead)


def _source(stream: Stream) -> Stream:
    """Return the stream that examples are drawn from."""
    return stream.stream if isinstance(stream, AugmentedStream) else stream


def _catalogue(stream: Stream, device: torch.device) -> Catalogue | None:
    if not isinstance(stream, AugmentedStream):
        return None
    neighbours = stream.catalogue.neighbours
    there: Any = None if neighbours is None else tensor_of(neighbours, device)
    return stream.catalogue._replace(neighbours=there)


def moved(tables: Any, device: torch.device) -> Any:
    """Return a dataclass of arrays with tensors on `device`. On CPU they share the memory."""
    changes = {}
    for name, value in ((part.name, getattr(tables, part.name)) for part in fields(tables)):
        if is_dataclass(value):
            changes[name] = moved(value, device)
        elif isinstance(value, np.ndarray):
            changes[name] = tensor_of(value, device)
    return replace(tables, **changes)


def tensor_of(array: AnyArray, device: torch.device) -> Tensor:
    """Return an array as a tensor on a device; on CPU they share the memory."""
    with warnings.catch_warnings():
        # A store's memory map is read-only, and nothing here writes.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)
