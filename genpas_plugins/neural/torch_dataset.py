"""A stream as torch's data set for a DataLoader or the Trainer of Lightning or Hugging Face.

    epoch e, item i     example i of epoch e of the stream, a pure function of (seed, e, i)

The stream already has a keyed order and needs no shuffling. The samplers of frameworks slice ranks and skip what a
checkpoint has trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, Sampler

from genpas_plugins.sampling.policy import Policy
from genpas_plugins.sampling.protocol import Stream
from genpas_plugins.sampling.random_stream import check_epoch
from genpas_plugins.support.array_types import Float32, Int64
from genpas_plugins.support.errors import InputError, whole_number

IGNORED = -100
"""The label of a place that has no target: what torch's cross-entropy ignores."""


class StreamDataset(Dataset[dict[str, Tensor]]):
    """The examples of an epoch of a stream.

    A DataLoader fetches a whole batch at once. Give it `collate_fn=collated`. A batch of n histories has

        input_ids         int64 [n, L], item numbers, padding 0 on the right
        attention_mask    int64 [n, L], 1 at the items
        labels            int64 [n, L], the target that follows each item, -100 where none is trained
        weights           float32 [n, L], the weight of each target, 0 where none is trained

    A pair has one label a history and a window has many. `weighted_loss` is the loss of a batch.

    Parameters
    ----------
    stream : of pairs or of windows
    max_length : maximum number L of items in a history

    Raises
    ------
    InputError
        If the stream cannot have the length or has several windows an example.
    """

    def __init__(self, stream: Stream, max_length: int) -> None:
        self.stream, self.max_length, self.epoch = stream, whole_number("max_length", max_length, 1), 0
        stream.batch(0, [], self.max_length)  # a length that the stream cannot have is an error here

    def __len__(self) -> int:
        return self.stream.size

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch. Worker processes have a copy: set it before a loader begins."""
        self.epoch = check_epoch(epoch)

    def __getitem__(self, index: int | Sequence[int]) -> dict[str, Tensor]:
        """Return the batch of several examples or one example without its axis n.

        Raises InputError for one example that has several windows.
        """
        if not isinstance(index, int):
            return self.__getitems__(index)
        batch = self.__getitems__([index])
        if len(batch["labels"]) > 1:
            raise InputError("The example has several windows. Fetch batches: DataLoader(…, collate_fn=collated).")
        return {name: part[0] for name, part in batch.items()}

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        histories, targets, weights, _ = self.stream.batch(self.epoch, np.asarray(indices, np.int64), self.max_length)
        row = np.repeat(np.arange(len(histories.lengths)), np.diff(targets.offsets))
        labels: Int64 = np.full((len(histories.lengths), self.max_length), IGNORED, np.int64)
        weight: Float32 = np.zeros(labels.shape, np.float32)
        labels[row, targets.place] = self.stream.view.store.values[targets.rows]
        weight[row, targets.place] = weights * (len(histories.lengths) / len(indices))
        mask = np.arange(self.max_length) < histories.lengths[:, None]
        parts = {
            "input_ids": histories.padded(self.max_length, np.int64),
            "attention_mask": mask.astype(np.int64),
            "labels": labels,
            "weights": weight,
        }
        return {name: torch.from_numpy(part) for name, part in parts.items()}

    def trained_on(self, policy: Policy) -> dict[str, Any]:
        """Return what a training reads as plain values: parameters for a logger. `policy` made the stream."""
        stream = self.stream
        return {
            **{name: getattr(policy, name) for name in ("strategy", "alpha", "beta", "gamma")},
            **{name: getattr(stream, name) for name in ("unit", "size", "pairs_per_epoch", "seed", "draws")},
            "max_length": self.max_length,
            "expected_history_length": policy.expected_history_length(stream.view, self.max_length),
        }

    def loader(
        self, batch_size: int, *, first_step: int = 0, rank: int = 0, world_size: int = 1, **options: Any
    ) -> DataLoader[dict[str, Tensor]]:
        """Return a loader of the epoch from step `first_step`. The epoch and this step continue a training.

        See `StepSampler` for the arguments. `options` are DataLoader's. `collate_fn` can be another framework's.
        """
        steps = StepSampler(self, batch_size, first_step, rank=rank, world_size=world_size)
        return DataLoader(self, sampler=steps, batch_size=None, **{"collate_fn": collated, **options})


class StepSampler(Sampler[list[int]]):
    """The examples of consecutive steps. Step t starts at t · batch_size and is sliced over ranks.

    Lightning's Trainer calls `set_epoch` before each epoch.

    Parameters
    ----------
    data : the data set
    batch_size : examples of a step on all ranks together
    first_step : the step to begin at
    rank, world_size : this rank takes the contiguous share [n · rank / W, n · (rank + 1) / W) of a step's n examples

    Raises
    ------
    InputError
        For a number out of range or a last step with fewer examples than ranks.
    """

    def __init__(
        self, data: StreamDataset, batch_size: int, first_step: int = 0, *, rank: int = 0, world_size: int = 1
    ) -> None:
        self.data, self.batch_size = data, whole_number("batch_size", batch_size, world_size)
        self.first_step = whole_number("first_step", first_step, 0)
        self.rank, self.world_size = whole_number("rank", rank, 0, world_size - 1), world_size
        remainder = len(data) % self.batch_size
        if 0 < remainder < world_size:
            raise InputError(
                f"The last step of an epoch has {remainder} examples for {world_size} ranks. Choose another batch_size "
                "or pairs_per_epoch."
            )

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the data set."""
        self.data.set_epoch(epoch)

    def __len__(self) -> int:
        """Return the number of steps that are left."""
        return max(0, -(-len(self.data) // self.batch_size) - self.first_step)

    def __iter__(self) -> Iterator[list[int]]:
        for begin in range(self.first_step * self.batch_size, len(self.data), self.batch_size):
            n = min(self.batch_size, len(self.data) - begin)
            yield list(range(begin + n * self.rank // self.world_size, begin + n * (self.rank + 1) // self.world_size))


def collated(batch: Any) -> Any:
    """Return the batch that `StreamDataset` made: the `collate_fn` of a DataLoader."""
    return batch


def left_padded(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the batch of a `StreamDataset` with its padding on the left."""
    length, width = batch["attention_mask"].sum(1, keepdim=True), batch["input_ids"].shape[1]
    place = (torch.arange(width) + length) % width
    return {name: part.gather(1, place) for name, part in batch.items()}


def weighted_loss(hidden: Tensor, score: Callable[[Tensor], Tensor], labels: Tensor, weights: Tensor) -> Tensor:
    """Return the scalar mean over examples of the weighted cross-entropy. Only places with a target are scored.

    Parameters
    ----------
    hidden : output of the model at each place, float [n, L, D]
    score : maps [T, D] to the scores [T, N] of the padding, row 0, and of the N - 1 items
    labels, weights : of the batch
    """
    trained = labels != IGNORED
    losses = functional.cross_entropy(score(hidden[trained]), labels[trained], reduction="none")
    return (losses * weights[trained]).sum() / len(labels)
