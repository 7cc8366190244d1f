"""fbgemm's look-up on the stand-in device: its CPU kernel reads and trains the table in the device's memory.

fbgemm's CUDA kernels themselves are not run: what is tested is everything around them. A look-up counts as one kernel.
"""

from __future__ import annotations

from typing import Any

import stand_in  # isort: skip – before torch

import torch
from fbgemm_gpu.split_table_batched_embeddings_ops_common import EmbeddingLocation
from fbgemm_gpu.split_table_batched_embeddings_ops_training import (
    ComputeDevice,
    PoolingMode,
    SplitTableBatchedEmbeddingBagsCodegen,
)
from torch import Tensor, nn

_CPU = SplitTableBatchedEmbeddingBagsCodegen.forward


class _Lookup(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, marker: Tensor, kernel: Any, indices: Tensor, offsets: Tensor) -> Tensor:
        with torch.enable_grad():
            ctx.rows = _CPU(_twin(kernel), stand_in.held(indices).long(), stand_in.held(offsets).long())
        ctx.marker = marker
        stand_in.count_kernel()
        return stand_in.OnDevice(ctx.rows.detach())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        ctx.rows.backward(stand_in.held(gradient).contiguous())
        stand_in.count_kernel()
        return torch.zeros_like(ctx.marker), None, None, None


def _forward(kernel: Any, indices: Tensor, offsets: Tensor, *args: Any, **kwargs: Any) -> Any:
    if kernel.use_cpu:
        return _CPU(kernel, indices, offsets, *args, **kwargs)
    return _Lookup.apply(kernel.placeholder_autograd_tensor, kernel, indices, offsets)


def _twin(kernel: Any) -> Any:
    """Return the CPU kernel with the memory of the table and its optimizer's state."""
    if "twin" not in vars(kernel):
        twin = SplitTableBatchedEmbeddingBagsCodegen(
            [(*sizes[:2], EmbeddingLocation.HOST, ComputeDevice.CPU) for sizes in kernel.embedding_specs],
            feature_table_map=kernel.feature_table_map,
            pooling_mode=PoolingMode.NONE,
            optimizer=kernel.optimizer,
            eps=kernel.optimizer_args.eps,
            weights_precision=kernel.weights_precision,
            device=torch.device("cpu"),
        )
        twin.weights_host = nn.Parameter(stand_in.held(kernel.weights_dev.detach()))
        for name in ("momentum1", "momentum2"):
            state = stand_in.held(getattr(kernel, f"{name}_dev", torch.empty(0)).detach())
            if len(state):
                setattr(twin, f"{name}_host", nn.Parameter(state, requires_grad=False))
        vars(kernel)["twin"] = twin
    twin = vars(kernel)["twin"]
    twin.set_learning_rate(kernel.get_learning_rate())
    return twin


SplitTableBatchedEmbeddingBagsCodegen.forward = _forward
