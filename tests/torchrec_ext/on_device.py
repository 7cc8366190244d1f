"""Losses over a sharded table, and steps of sharded models, on the stand-in device and on the CPU: JSON lines."""

from __future__ import annotations

import json
import os

import stand_in, table_lookup  # noqa: E401, F401 # isort: skip – before torch

import sharded_training as training
import torch
import torch.distributed as dist
from torch import Tensor

from torchrec_ext.losses import gathered_softmax_loss, global_mean, vocab_parallel_loss

SIZES = (40, 300, 16)  # samples, rows, columns


def mean_loss(output: str, hidden: Tensor, table: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted mean loss of an output layer."""
    group, many = dist.group.WORLD, {"n_rows": len(table), "group": dist.group.WORLD}
    if output == "vocab_parallel":
        return vocab_parallel_loss(hidden, table, targets, weights, **many)
    return global_mean(gathered_softmax_loss(hidden, table, targets, **many), weights, group)


def step(output: str, place: object) -> tuple[float, list[Tensor], stand_in.Counts]:
    """Return the loss, the gradients of states and table, and the counts of one step."""
    samples, rows, columns = SIZES
    random = torch.Generator().manual_seed(0)
    hidden, table = (torch.randn(n, columns, generator=random) for n in (samples, rows))
    targets, weights = torch.randint(rows, (samples,), generator=random), torch.rand(samples, generator=random)
    hidden, table, targets, weights = map(place, (hidden, table, targets, weights))
    hidden.requires_grad_()
    table.requires_grad_()
    with stand_in.counting() as counts:
        loss = mean_loss(output, hidden, table, targets, weights)
        loss.backward()
    return float(stand_in.held(loss.detach())), [stand_in.held(value.grad) for value in (hidden, table)], counts


def sharded_steps(case: training.Case) -> dict[str, object]:
    """Return losses, the largest difference of the tables, and the counts of the second of two steps."""
    expected, table = training.train_sharded(case, 0, steps=2)
    counts = stand_in.Counts()

    def counting() -> object:
        return stand_in.counting(counts)

    with stand_in.Device():
        losses, found = training.train_sharded(case, 0, device="cuda:0", steps=2, counting=counting)
    off = float((stand_in.held(found) - table).abs().max())
    return {"case": case.name, "losses": [losses, expected], "gradients": off, **vars(counts)}


def main() -> None:
    """Print the cases."""
    dist.init_process_group("cpu:gloo,cuda:gloo", store=dist.HashStore(), rank=0, world_size=1)
    for case in training.ON_DEVICE:
        print(json.dumps(sharded_steps(case)), flush=True)
    for output in ("vocab_parallel", "gather"):
        expected = step(output, lambda tensor: tensor)
        with stand_in.Device():
            loss, gradients, counts = step(output, stand_in.OnDevice)
        largest = max(float(gradient.abs().max()) for gradient in expected[1])
        off = max(float((a - b).abs().max()) for a, b in zip(gradients, expected[1], strict=True)) / largest
        line = {"case": output, "losses": [[loss], [expected[0]]], "gradients": off, **vars(counts)}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
    os._exit(0)  # a library's thread may still run, and the interpreter's end would abort
