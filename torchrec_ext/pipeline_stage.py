"""GenPAS as a stage of a StagedTrainPipeline: it turns step addresses into batches on the device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch

from torchrec_ext.batch import (  # first: it explains a torchrec that cannot be imported
    PairBatch,
    StepAddress,
    WindowBatch,
)

from torchrec.distributed.train_pipeline import StagedTrainPipeline  # isort: skip
from torchrec.distributed.train_pipeline.pipeline_stage import PipelineStage  # isort: skip

from genpas_plugins.neural.device.device_stream import DeviceStream
from torchrec_ext.stream import GenPASStream


def genpas_stage(
    batches: GenPASStream,
    device: torch.device | str = "cpu",
    *,
    stream: torch.Stream | None = None,
    name: str = "genpas",
) -> PipelineStage:
    """Return the stage that turns a `StepAddress` into this rank's `PairBatch` on `device` with the bits of `batches`.

    Parameters
    ----------
    batches : the pairs of a step; the store's values and offsets are copied to the device once
    device : where batches are made
    stream : the device's stream to work on; None: a new stream that overlaps drawing with training
    name : the stage's name in profiles

    Returns
    -------
    PipelineStage
        The first stage of a `StagedTrainPipeline` or of `stage_batches`.

    Raises
    ------
    InputError
        For a stream of another kind than `pair_stream`, `window_stream` and `augmented` return.
    """
    source = DeviceStream.of(batches.stream, device)

    def draw(address: StepAddress) -> PairBatch:
        drawn, index = source.consecutive(address.epoch, *batches.share(address.step), batches.max_length)
        histories, targets, weights, example, _, sizes = drawn
        jagged, items = histories.jagged(sizes.items), source.values.index_select(0, targets.rows)
        known: dict[str, Any] = {"epoch": address.epoch, "sequence": histories.sequence, "width": sizes.width}
        if batches.stream.unit == "pairs":
            return PairBatch.of(*jagged, items, index, **known)
        known |= {"place": targets.place, "weights": weights, "example": example, "address": index}
        return WindowBatch.of_targets(jagged, (items, targets.offsets), **known)

    return PipelineStage(name=name, runnable=draw, stream=stream or _new_stream(source.device))


def stage_batches(
    addresses: Iterable[StepAddress], stages: Sequence[PipelineStage], compute_stream: torch.Stream | None = None
) -> Iterator[Any]:
    """Run the stages ahead of training and yield the batches of the last one: an epoch's input for a train pipeline.

    An empty StagedTrainPipeline answers the first call of the next epoch with None for "no data". Each epoch thus
    has its own pipeline.

    Parameters
    ----------
    addresses : `GenPASStream.addresses()`
    stages : `genpas_stage` first
    compute_stream : the stream that trains; None: the device's current one

    Returns
    -------
    Iterator
        The batches of the last stage in the order of the addresses.
    """
    device = stages[0].stream.device
    if compute_stream is None and device.type == "cpu":
        compute_stream = torch.Stream(device="cpu")
    pipeline = StagedTrainPipeline(list(stages), compute_stream=compute_stream)
    source = iter(addresses)
    while (batch := pipeline.progress(source)) is not None:
        yield batch


def _new_stream(device: torch.device) -> torch.Stream:
    return torch.cuda.Stream(device) if device.type == "cuda" else torch.Stream(device=device.type)
