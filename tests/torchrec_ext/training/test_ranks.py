"""A communication error is the loss of another rank, or this process's own."""

from __future__ import annotations

import pytest

pytest.importorskip("torchrec")

import torch.distributed as dist

from torchrec_ext.training.ranks import is_loss_of_a_rank

NCCL = "NCCL error in: ../ProcessGroupNCCL.cpp:94, {}, NCCL version 2.27.5\n"


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (dist.DistBackendError(NCCL.format("remote process exited or there was a network error")), True),
        (dist.DistBackendError("[Rank 1] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7)"), True),
        (dist.DistBackendError("NCCL communicator was aborted on rank 0."), True),
        (RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:4711"), True),
        (dist.DistStoreError("wait timeout after 300000ms"), True),
        (dist.DistBackendError(NCCL.format("unhandled cuda error (run with NCCL_DEBUG=INFO for details)")), False),
        (dist.DistBackendError(NCCL.format("Duplicate GPU detected : rank 1 and rank 0 both on CUDA device")), False),
        (dist.DistBackendError(NCCL.format("invalid usage (run with NCCL_DEBUG=WARN for details)")), False),
        (RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB."), False),
        (ValueError("connection closed by peer"), False),
    ],
    ids=lambda value: str(value)[:60],
)
def test_only_a_lost_rank_is_reported_as_one(error: Exception, lost: bool):
    assert is_loss_of_a_rank(error) is lost
