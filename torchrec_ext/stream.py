"""Batches for one rank: each is a pure function of (seed, epoch, step, rank). The position counts training steps.

    step      the examples [step * batch_size, (step + 1) * batch_size) of the epoch on all ranks together
    rank r    of W takes the contiguous share [n * r // W, n * (r + 1) // W) of a step's n examples

All ranks together train on exactly the epoch. The number of ranks, workers and restarts has no effect. An example
is a pair or a window: the stream's `unit`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from genpas_plugins.sampling.protocol import ENUMERATED, Stream, check_draws
from genpas_plugins.sampling.random_stream import check_epoch
from genpas_plugins.support.errors import InputError, whole_number
from torchrec_ext.batch import PairBatch, StepAddress, WindowBatch


class GenPASStream(IterableDataset[PairBatch]):
    """The batches of one rank. An iterator is one epoch.

    Each `iter` begins an epoch. The first begins at the position and later iterators at the start of the next
    epoch. (Call `reset()` of TrainPipelineBase between epochs because it takes the new iterator for an empty one.)
    The position is the number of optimizer steps done. Training calls `step_done` after each step because pipelines
    and loaders read ahead.

    In a DataLoader use `batch_size=None` or call `loader`. Worker w of W makes every W-th step from w on and the
    loader takes turns. The order is thus the same without workers. Worker processes hold copies. A plain DataLoader
    with workers sees an epoch begin only through `step_done` or the next `iter` of the dataset.

    Parameters
    ----------
    stream : any `genpas_plugins.sampling.protocol.Stream`; its windows become WindowBatches
    batch_size : examples of one step on all ranks together. Shares of ranks are at least 1 and differ by at most 1. A
        trainer that averages over ranks divides each rank's summed loss by batch_size / world_size.
    max_length : maximum number of last items in a history; a stream of windows is made for one length
    rank, world_size : None: from torch.distributed where it is initialised or else 0 of 1
    drop_last : whether the examples that do not fill the last step are left out. Otherwise they make a shorter
        step. It must have an example for each rank. The number of steps is the same for every number of ranks.

    Raises
    ------
    InputError
        For an argument out of range alone or together with the size of an epoch.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        batch_size: int,
        max_length: int,
        rank: int | None = None,
        world_size: int | None = None,
        drop_last: bool = False,
    ) -> None:
        if (rank is None) != (world_size is None):
            raise InputError("Give rank and world_size, or neither to take them from torch.distributed.")
        if rank is None or world_size is None:
            rank, world_size = _distributed()
        self.stream = stream
        self.world_size = whole_number("world_size", world_size, 1)
        self.rank = whole_number("rank", rank, 0, self.world_size - 1)
        self.batch_size = whole_number("batch_size", batch_size, 1)
        self.max_length = whole_number("max_length", max_length, 1)
        self.drop_last = drop_last
        self.epoch, self.step = 0, 0
        self._begun: int | None = None
        self._in_worker = False
        name, self.size = stream.unit, stream.size
        stream.batch(0, [], self.max_length)  # a length that the stream cannot have is an error here
        if self.batch_size < self.world_size:
            raise InputError(
                f"batch_size is {self.batch_size} {name} on all ranks together, too few for {self.world_size} ranks."
            )
        remainder = self.size % self.batch_size
        if drop_last and self.size < self.batch_size:
            raise InputError(f"drop_last leaves no step: an epoch has {self.size} {name}, a step {self.batch_size}.")
        if not drop_last and 0 < remainder < self.world_size:
            raise InputError(
                f"The last step of an epoch has {remainder} {name} for {self.world_size} ranks: set drop_last to leave "
                "them out, or choose another batch_size or pairs_per_epoch."
            )

    @property
    def steps_per_epoch(self) -> int:
        """Number of steps of an epoch on every rank."""
        whole, rest = divmod(self.size, self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __len__(self) -> int:
        return self.steps_per_epoch

    def share(self, step: int) -> tuple[int, int]:
        """Return the indices `[first, last)` in the epoch of this rank's pairs of a step."""
        step = whole_number("step", step, 0, self.steps_per_epoch - 1)
        begin = step * self.batch_size
        n = min(self.batch_size, self.size - begin)
        return begin + n * self.rank // self.world_size, begin + n * (self.rank + 1) // self.world_size

    def batch(self, epoch: int, step: int) -> PairBatch:
        """Return this rank's CPU batch of a step."""
        address = np.arange(*self.share(step))
        histories, targets, weights, example = self.stream.batch(epoch, address, self.max_length)
        # Targets first: their cache misses overlap, and histories end beside them.
        items = self.stream.view.store.values[targets.rows]
        values, offsets, target, where, sequence = map(
            torch.from_numpy, (*histories.jagged(), items, address, histories.sequence)
        )
        if self.stream.unit == "pairs":
            return PairBatch.of(values, offsets, target, where, epoch, sequence=sequence)
        ends, place, weight, of = map(torch.from_numpy, (targets.offsets, targets.place, weights, example))
        parts: dict[str, Any] = {
            "place": place,
            "weights": weight,
            "address": where,
            "example": of,
            "sequence": sequence,
        }
        return WindowBatch.of_targets((values, offsets), (target, ends), epoch=epoch, **parts)

    def __iter__(self) -> Iterator[PairBatch]:
        """Begin an epoch and return its remaining batches. A worker returns the batches of its turns."""
        worker = get_worker_info()
        if worker is None:
            return map(self._batch_at, self.addresses())
        if self._in_worker:
            self._begin()
        # A fresh worker holds a copy of a stream whose epoch has begun, or begins one here at the position.
        self._in_worker, self._begun = True, self.epoch
        return map(self._batch_at, self._addresses(self.epoch, self.step + worker.id, worker.num_workers))

    def addresses(self) -> Iterator[StepAddress]:
        """Begin an epoch and return the addresses of its remaining steps: the input of `genpas_stage`."""
        self._begin()
        return self._addresses(self.epoch, self.step, 1)

    def loader(self, num_workers: int = 0, **options: Any) -> DataLoader[PairBatch]:
        """Return a DataLoader of this stream. `options` are DataLoader's without persistent_workers."""
        if options.get("persistent_workers"):
            raise InputError("persistent_workers would keep copies of the stream that miss load_state_dict.")
        return _Loader(self, batch_size=None, num_workers=num_workers, **options)

    def step_done(self) -> None:
        """Count one optimizer step as done. The last step of an epoch moves the position to the next epoch."""
        self.step += 1
        if self.step >= self.steps_per_epoch:
            self.epoch, self.step = self.epoch + 1, 0

    def state_dict(self) -> dict[str, int]:
        """Return the position and the settings that it depends on. These exclude rank and world size."""
        return {**self._identity(), "draws": self.stream.draws, "epoch": self.epoch, "step": self.step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue at the position `state` on any number of ranks. Raises InputError for another stream's state."""
        if self.stream.draws != ENUMERATED:
            check_draws(int(state.get("draws", 1)))
        wanted = self._identity()
        missing = [name for name in (*wanted, "epoch", "step") if name not in state]
        if missing:
            raise InputError(f"The stream's saved state lacks {', '.join(missing)}.")
        different = [f"{name} {int(state[name])}, not {own}" for name, own in wanted.items() if int(state[name]) != own]
        if different:
            raise InputError(f"The saved state is of another stream: it has {'; '.join(different)}.")
        step = whole_number("step", int(state["step"]), 0, self.steps_per_epoch - 1)
        self.epoch, self.step, self._begun = check_epoch(int(state["epoch"])), step, None

    def _identity(self) -> dict[str, int]:
        return {
            "seed": self.stream.seed,
            f"{self.stream.unit}_per_epoch": self.size,
            "global_batch_size": self.batch_size,
            "drop_last": int(self.drop_last),
        }

    def _begin(self) -> None:
        # If training moved the position into a new epoch, this epoch begins; else the last begun epoch is given up.
        if self._begun == self.epoch:
            self.epoch, self.step = self.epoch + 1, 0
        self._begun = self.epoch

    def _addresses(self, epoch: int, first: int, stride: int) -> Iterator[StepAddress]:
        return (StepAddress(epoch, step) for step in range(first, self.steps_per_epoch, stride))

    def _batch_at(self, address: StepAddress) -> PairBatch:
        return self.batch(address.epoch, address.step)


class _Loader(DataLoader[PairBatch]):
    """A DataLoader that begins the epoch in this process before its workers copy the stream."""

    def __iter__(self) -> Any:
        if self.num_workers:
            self.dataset._begin()  # type: ignore[attr-defined]  # a GenPASStream
        return super().__iter__()


def _distributed() -> tuple[int, int]:
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1
