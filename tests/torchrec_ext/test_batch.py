"""Batches and addresses as pipelines use them."""

from __future__ import annotations

import pickle

import pytest
import torch
from torchrec.streamable import Pipelineable

from torchrec_ext.batch import PairBatch, StepAddress


@pytest.fixture
def batch() -> PairBatch:
    """Histories [3, 4], [] and [9] before the targets 5, 6 and 7."""
    return PairBatch.of(
        torch.tensor([3, 4, 9], dtype=torch.int32),
        torch.tensor([0, 2, 2, 3]),
        torch.tensor([5, 6, 7], dtype=torch.int32),
        torch.tensor([10, 11, 12]),
        epoch=2,
    )


def check(batch: PairBatch) -> None:
    assert isinstance(batch, Pipelineable)
    assert batch.features.keys() == ["history", "target"]
    assert batch.features.stride() == len(batch) == 3
    assert [row.tolist() for row in batch.history.to_dense()] == [[3, 4], [], [9]]
    assert batch.features["target"].values().tolist() == batch.target.tolist() == [5, 6, 7]
    assert batch.features.values().dtype == batch.address.dtype == torch.int64
    assert batch.weights.dtype == torch.float32
    assert batch.weights.tolist() == [1, 1, 1]
    assert batch.address.tolist() == [10, 11, 12]
    assert batch.epoch == 2


def test_a_batch_holds_histories_targets_weights_and_addresses(batch):
    check(batch)


def test_moving_pinning_and_pickling_keep_everything(batch):
    check(batch.to(torch.device("cpu"), non_blocking=True))
    check(batch.pin_memory())
    check(pickle.loads(pickle.dumps(batch)))


def test_recording_a_stream_on_cpu_does_nothing(batch):
    batch.record_stream(torch.Stream(device="cpu"))
    check(batch)


def test_a_batch_without_pairs_is_legal():
    none = torch.tensor([], dtype=torch.int64)
    batch = PairBatch.of(none, torch.tensor([0]), none, none, epoch=0)
    assert len(batch) == len(batch.target) == 0


def test_addresses_travel_like_batches():
    address = StepAddress(3, 4)
    address.record_stream(torch.Stream(device="cpu"))
    assert address == address.pin_memory() == address.to(torch.device("cpu"), non_blocking=True)


@pytest.mark.gpu
def test_a_batch_on_a_device(batch):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    moved = batch.pin_memory().to(torch.device("cuda"), non_blocking=True)
    moved.record_stream(torch.cuda.current_stream())
    check(moved.to(torch.device("cpu")))
