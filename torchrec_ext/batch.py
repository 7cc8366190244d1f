"""The inputs of a TorchRec pipeline: batches of pairs or windows and the addresses of steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import torch

from torchrec_ext.import_guard import require_torchrec

require_torchrec()

from torchrec.sparse.jagged_tensor import JaggedTensor, KeyedJaggedTensor  # noqa: E402 – after the check above
from torchrec.streamable import Pipelineable  # noqa: E402

if TYPE_CHECKING:
    from typing_extensions import Self

HISTORY, TARGET = "history", "target"


@dataclass
class PairBatch(Pipelineable):
    """A batch of n training pairs.

    Attributes
    ----------
    features : keys `history` (the items before the target, oldest first) and `target` (one item a pair), int64 item
        numbers from 1. Both keys look up one table of n_items + 1 rows; row 0 is padding.
    weights : float32 [n], the weight of each pair in the loss; ones
    address : int64 [n], the index of each pair in its epoch: (seed, epoch, address) is the pair
    epoch : the epoch of all pairs
    sequence : int64 [n], the store's sequence of each pair, its user; None if unknown
    width : a length that no history exceeds, which a device pads them to; None if unknown
    """

    features: KeyedJaggedTensor
    weights: torch.Tensor
    address: torch.Tensor
    epoch: int
    sequence: torch.Tensor | None = None
    width: int | None = None

    @classmethod
    def of(
        cls,
        values: torch.Tensor,
        offsets: torch.Tensor,
        target: torch.Tensor,
        address: torch.Tensor,
        epoch: int,
        *,
        sequence: torch.Tensor | None = None,
        width: int | None = None,
    ) -> PairBatch:
        """Make a batch of jagged histories (values [Σ length], offsets [n + 1]), targets, addresses, sequences."""
        ones = torch.ones(len(address), dtype=torch.int64, device=address.device)
        features = KeyedJaggedTensor(
            keys=[HISTORY, TARGET],
            values=torch.cat([values, target]).to(torch.int64),
            lengths=torch.cat([torch.diff(offsets), ones]),
            length_per_key=[len(values), len(target)],  # without it TorchRec waits for the device to add lengths up
        )
        return cls(features, ones.to(torch.float32), address, epoch, sequence, width)

    def __len__(self) -> int:
        return len(self.address)

    @property
    def history(self) -> JaggedTensor:
        """The histories."""
        return self.features[HISTORY]

    @property
    def target(self) -> torch.Tensor:
        """The targets int64 [n]."""
        # One value a pair, after all histories: the place is known without a wait for the device.
        values: torch.Tensor = self.features.values()
        return values[len(values) - len(self.address) :]

    def to(self, device: torch.device, non_blocking: bool = False) -> Self:
        """Return the batch on a device."""
        return self._each(lambda part: part.to(device, non_blocking=non_blocking))

    def record_stream(self, stream: torch.Stream) -> None:
        """Keep the memory until `stream` is done with it; nothing to do on CPU."""
        if self.address.device.type == "cpu":  # tensors there have no record_stream
            return
        for part in self._parts().values():
            part.record_stream(stream)

    def pin_memory(self) -> Self:
        """Return the batch in page-locked memory; the batch itself without a CUDA device."""
        if not torch.cuda.is_available() or self.address.device.type != "cpu":
            return self
        return self._each(lambda part: part.pin_memory())

    def _parts(self) -> dict[str, Any]:
        values = {part.name: getattr(self, part.name) for part in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, torch.Tensor | KeyedJaggedTensor)}

    def _each(self, change: Callable[[Any], Any]) -> Self:
        return replace(self, **{name: change(part) for name, part in self._parts().items()})


@dataclass
class WindowBatch(PairBatch):
    """A batch of n examples of one or several windows. In a window several items are targets of the items before them.

    Attributes
    ----------
    features : as in a PairBatch but of w windows; `target` has the T targets of one window after another
    weights : weight of each target, float32 [T]; the loss is Σ weight · loss / n with n of all ranks together
    address : index of each example in its epoch, int64 [n]
    epoch : the epoch of all examples
    sequence : the store's sequence of each window, int64 [w]
    width : as in a PairBatch
    place : place in its history of the item before each target, int64 [T] from 0
    example : rising number of the example of each window, int64 [w] from 0
    """

    place: torch.Tensor = field(kw_only=True)
    example: torch.Tensor = field(kw_only=True)

    @classmethod
    def of_targets(
        cls,
        histories: tuple[torch.Tensor, torch.Tensor],
        targets: tuple[torch.Tensor, torch.Tensor],
        *,
        place: torch.Tensor,
        weights: torch.Tensor,
        address: torch.Tensor,
        example: torch.Tensor,
        epoch: int,
        sequence: torch.Tensor | None = None,
        width: int | None = None,
    ) -> WindowBatch:
        """Make a batch of jagged histories and targets: each (values, offsets [w + 1])."""
        features = KeyedJaggedTensor(
            keys=[HISTORY, TARGET],
            values=torch.cat([histories[0], targets[0]]).to(torch.int64),
            lengths=torch.cat([torch.diff(histories[1]), torch.diff(targets[1])]),
            length_per_key=[len(histories[0]), len(targets[0])],
        )
        return cls(features, weights, address, epoch, sequence, width, place=place, example=example)

    @property
    def target(self) -> torch.Tensor:
        """The targets int64 [T]."""
        values: torch.Tensor = self.features.values()
        return values[len(values) - len(self.place) :]

    @property
    def row(self) -> torch.Tensor:
        """The window int64 [T] of each target."""
        lengths = self.features[TARGET].lengths()
        return torch.repeat_interleave(lengths, output_size=len(self.place))


@dataclass(frozen=True)
class StepAddress(Pipelineable):
    """The address of one optimizer step. A sampling stage makes the rank's batch from it."""

    epoch: int
    step: int

    def to(self, device: torch.device, non_blocking: bool = False) -> StepAddress:
        """Return the address: it is on no device."""
        return self

    def record_stream(self, stream: torch.Stream) -> None:
        """Do nothing: two integers hold no device memory."""

    def pin_memory(self) -> StepAddress:
        """Return the address itself."""
        return self
