"""What travels through a TorchRec pipeline: batches of pairs or windows, and the addresses of steps they come from."""

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

    features : keys `history` (the items before the target, oldest first) and `target` (one item a pair), int64 item
               numbers from 1; both keys look up one table of n_items + 1 rows, row 0 of which is padding
    weights  : float32 [n], each pair's weight in the loss; ones
    address  : int64 [n], each pair's index in its epoch: (seed, epoch, address) is the pair
    epoch    : the epoch of all pairs
    sequence : int64 [n], the store's sequence that each pair is from, its user; None where nobody said
    """

    features: KeyedJaggedTensor
    weights: torch.Tensor
    address: torch.Tensor
    epoch: int
    sequence: torch.Tensor | None = None

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
    ) -> PairBatch:
        """Make a batch of jagged histories (values [Σ length], offsets [n + 1]), targets, addresses, sequences [n]."""
        ones = torch.ones(len(address), dtype=torch.int64, device=address.device)
        features = KeyedJaggedTensor(
            keys=[HISTORY, TARGET],
            values=torch.cat([values, target]).to(torch.int64),
            lengths=torch.cat([torch.diff(offsets), ones]),
        )
        return cls(features, ones.to(torch.float32), address, epoch, sequence)

    def __len__(self) -> int:
        """Return the number of pairs, or of windows."""
        return len(self.address)

    @property
    def history(self) -> JaggedTensor:
        """The histories."""
        return self.features[HISTORY]

    @property
    def target(self) -> torch.Tensor:
        """The targets, int64 [n]."""
        # One value a pair, behind all histories: found without asking the device where the histories end.
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
        """Return the batch in page-locked memory; where there is no CUDA device, the batch itself."""
        if not torch.cuda.is_available() or self.address.device.type != "cpu":
            return self
        return self._each(lambda part: part.pin_memory())

    def _parts(self) -> dict[str, Any]:
        """Return what lies on a device, by field."""
        values = {part.name: getattr(self, part.name) for part in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, torch.Tensor | KeyedJaggedTensor)}

    def _each(self, change: Callable[[Any], Any]) -> Self:
        return replace(self, **{name: change(part) for name, part in self._parts().items()})


@dataclass
class WindowBatch(PairBatch):
    """A batch of n windows, in each of which several items are targets, of the items of the window before them.

    features : as in a PairBatch, but `target` has T values, those of each window together
    weights  : float32 [T], each target's weight: the loss is Σ weight · loss / n, n that of all ranks
    address, epoch, sequence : of the windows; address and sequence int64 [n]
    place    : int64 [T], where in its window's history the item before each target stands, from 0
    """

    place: torch.Tensor = field(kw_only=True)

    @classmethod
    def of_targets(
        cls,
        histories: tuple[torch.Tensor, torch.Tensor],
        targets: tuple[torch.Tensor, torch.Tensor],
        *,
        place: torch.Tensor,
        weights: torch.Tensor,
        address: torch.Tensor,
        epoch: int,
        sequence: torch.Tensor | None = None,
    ) -> WindowBatch:
        """Make a batch of jagged histories and targets, each (values, offsets [n + 1]), and what is said of them."""
        features = KeyedJaggedTensor(
            keys=[HISTORY, TARGET],
            values=torch.cat([histories[0], targets[0]]).to(torch.int64),
            lengths=torch.cat([torch.diff(histories[1]), torch.diff(targets[1])]),
        )
        return cls(features, weights, address, epoch, sequence, place=place)

    @property
    def target(self) -> torch.Tensor:
        """The targets, int64 [T]."""
        values: torch.Tensor = self.features.values()
        return values[len(values) - len(self.place) :]

    @property
    def row(self) -> torch.Tensor:
        """The window of each target, int64 [T]."""
        lengths = self.features[TARGET].lengths()
        return torch.repeat_interleave(lengths, output_size=len(self.place))


@dataclass(frozen=True)
class StepAddress(Pipelineable):
    """The address of one optimizer step: all that a sampling stage needs to make the rank's batch."""

    epoch: int
    step: int

    def to(self, device: torch.device, non_blocking: bool = False) -> StepAddress:
        """Return the address: it lives nowhere."""
        return self

    def record_stream(self, stream: torch.Stream) -> None:
        """Do nothing: two integers hold no device memory."""

    def pin_memory(self) -> StepAddress:
        """Return the address itself."""
        return self
