"""The stream under the names of two older interfaces: a DataPipe, and a node of torchdata.

Both only call the addressable stream, which already does what they are for: shuffling, sharding and resuming.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch.utils.data import IterDataPipe, functional_datapipe

from genpas_plugins.support.errors import InputError
from torchrec_ext.batch import PairBatch, StepAddress
from torchrec_ext.stream import GenPASStream


@functional_datapipe("genpas")
class GenPASPipe(IterDataPipe[PairBatch]):
    """Turn step addresses into this rank's batches: `addresses.genpas(stream)`.

    source : a DataPipe of `StepAddress`, or of (epoch, step); sharded or filtered as the user likes
    stream : what makes the batches
    """

    def __init__(self, source: Iterable[StepAddress | tuple[int, int]], stream: GenPASStream) -> None:
        self.source = source
        self.stream = stream

    def __iter__(self) -> Iterator[PairBatch]:
        for address in self.source:
            epoch, step = (address.epoch, address.step) if isinstance(address, StepAddress) else address
            yield self.stream.batch(epoch, step)


def genpas_node(stream: GenPASStream) -> Any:
    """Return the stream as a `torchdata.nodes.BaseNode`: an epoch a reset, its state the stream's steps done.

    The node's state says what was trained (`stream.step_done`), not what was read, so it survives nodes that prefetch.
    Raises InputError where torchdata is not installed.
    """
    try:
        from torchdata.nodes import BaseNode
    except ImportError as error:
        raise InputError("torchdata is not installed: pip install torchdata, or use GenPASStream itself.") from error

    class GenPASNode(BaseNode):
        """Batches of the stream."""

        def __init__(self) -> None:
            super().__init__()
            self._batches: Iterator[PairBatch] = iter(())

        def reset(self, initial_state: dict[str, Any] | None = None) -> None:
            """Begin an epoch, after loading the stream's state if there is one."""
            super().reset(initial_state)
            if initial_state is not None:
                stream.load_state_dict(initial_state)
            self._batches = iter(stream)

        def next(self) -> PairBatch:
            """Return the next batch."""
            return next(self._batches)

        def get_state(self) -> dict[str, Any]:
            """Return the stream's state."""
            return dict(stream.state_dict())

    return GenPASNode()
