"""The mean over ranks of the gradients of all parameters outside the tables: one all-reduce at the end of backward.

DistributedDataParallel reorders its buckets after its first step unless it looks for unused parameters. That search
costs a walk through the graph and one more collective a step. With reordered buckets a resumed run would sum
gradients in another order. Here the order is the order of the parameters. The gradients of a sequential model are a
few megabytes at most. Waiting for the end of backward costs little.
"""

# ruff: noqa: E402 – a torchrec that cannot be imported is explained before it is imported

from __future__ import annotations

from typing import Any, cast

from torchrec_ext.import_guard import require_torchrec

require_torchrec()

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torchrec.distributed.model_parallel import DataParallelWrapper, DistributedModelParallel
from torchrec.distributed.types import ShardingEnv
from torchrec.optim.optimizers import in_backward_optimizer_filter


class GradientMean(DataParallelWrapper):
    """TorchRec's wrapper of the dense part for a model whose forward returns a tuple with its loss first."""

    def wrap(self, dmp: DistributedModelParallel, env: ShardingEnv, device: torch.device) -> None:
        """Copy rank 0's weights to all ranks and average the gradients after each backward pass."""
        group, module = env.process_group, dmp._dmp_wrapped_module
        assert group is not None, "shard_tables makes the environment from a process group"
        if dist.get_world_size(group) == 1:
            return
        parameters = [value for _, value in in_backward_optimizer_filter(module.named_parameters())]
        for tensor in (*parameters, *module.buffers()):
            dist.broadcast(tensor.detach(), dist.get_global_rank(group, 0), group=group)
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        engine = cast(Any, torch.autograd.Variable)._execution_engine

        def average_later(_: Any) -> None:
            engine.queue_callback(lambda: average(trained, group))

        def after_forward(_: nn.Module, __: Any, step: Any) -> None:
            if step[0].requires_grad:
                step[0].register_hook(average_later)

        module.register_forward_hook(after_forward)


def average(parameters: list[nn.Parameter], group: dist.ProcessGroup) -> None:
    """Set each gradient to its mean over the ranks with one all-reduce for each type: a collective call.

    A parameter without a gradient counts as zeros. It stays without a gradient if no rank has one.
    """
    for kind in dict.fromkeys(parameter.dtype for parameter in parameters):
        these = [parameter for parameter in parameters if parameter.dtype == kind]
        absent = [place for place, parameter in enumerate(these) if parameter.grad is None]
        gradients = [torch.zeros_like(value) if value.grad is None else value.grad for value in these]
        used = torch.ones(len(these), dtype=kind, device=gradients[0].device)
        used[absent] = 0
        flat = torch.cat([used, *(gradient.flatten() for gradient in gradients)])
        dist.all_reduce(flat, group=group)
        counts, *sums = flat.split([len(these), *(gradient.numel() for gradient in gradients)])
        # Only a rank with a missing gradient waits to read the counts.
        nowhere = {place for place, count in zip(absent, _read(counts, absent), strict=True) if count == 0}
        means = torch._foreach_div(sums, dist.get_world_size(group))
        for place, (parameter, mean) in enumerate(zip(these, means, strict=True)):
            parameter.grad = None if place in nowhere else mean.view_as(parameter)


def _read(counts: Tensor, places: list[int]) -> list[float]:
    return cast("list[float]", counts[places].tolist()) if places else []
