"""What travels through a TorchRec pipeline: batches of pairs, and the addresses of steps that become batches."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from torchrec_ext.environment import require_torchrec

require_torchrec()

from torchrec.sparse.jagged_tensor import JaggedTensor, KeyedJaggedTensor  # noqa: E402 – after the check above
from torchrec.streamable import Pipelineable  # noqa: E402

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
        """Return the number of pairs."""
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

    def to(self, device: torch.device, non_blocking: bool = False) -> PairBatch:
        """Return the batch on a device."""
        return PairBatch(
            self.features.to(device, non_blocking=non_blocking),
            self.weights.to(device, non_blocking=non_blocking),
            self.address.to(device, non_blocking=non_blocking),
            self.epoch,
            None if self.sequence is None else self.sequence.to(device, non_blocking=non_blocking),
        )

    def record_stream(self, stream: torch.Stream) -> None:
        """Keep the memory until `stream` is done with it; nothing to do on CPU."""
        if self.address.device.type == "cpu":  # tensors there have no record_stream
            return
        self.features.record_stream(stream)
        self.weights.record_stream(stream)
        self.address.record_stream(stream)
        if self.sequence is not None:
            self.sequence.record_stream(stream)

    def pin_memory(self) -> PairBatch:
        """Return the batch in page-locked memory; where there is no CUDA device, the batch itself."""
        if not torch.cuda.is_available() or self.address.device.type != "cpu":
            return self
        return PairBatch(
            self.features.pin_memory(),
            self.weights.pin_memory(),
            self.address.pin_memory(),
            self.epoch,
            None if self.sequence is None else self.sequence.pin_memory(),
        )


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
