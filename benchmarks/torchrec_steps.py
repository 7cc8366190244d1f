"""Measure the training step of SASRec with a sharded table beside RecBole's unchanged model."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import timing
from benchmarks.jobs import Job
from benchmarks.report import Grid
from benchmarks.sampler import POLICIES
from benchmarks.torchrec_setup import MAX_LENGTH, TorchRecSizes, batches, recommender

SECTION = "steps"
OUTPUTS = ("gather", "vocab_parallel", "sampled")
NEGATIVES = 512
_DISTINCT = 4  # batches that a way goes round


def jobs(sizes: TorchRecSizes, path: Path) -> Iterator[Job]:
    """Yield the jobs: a world each."""
    for world_size in (1, 2):
        arguments = {
            "path": path,
            "world_size": world_size,
            "batch": sizes.batch,
            "steps": sizes.steps,
            "repeats": sizes.step_repeats,
        }
        yield Job(SECTION, {"ranks": world_size}, "torchrec_steps", "measure", arguments)


def measure(path: str, world_size: int, batch: int, steps: int, repeats: int) -> dict[str, Any]:
    """Start the ranks with one thread each and return the times of rank 0.

    ways : {way: spread of seconds a step}; "unsharded" is RecBole's model, under DistributedDataParallel where there
           are several ranks. All ways train on the same pairs, `batch` on all ranks together, and take turns.
    """
    from torch import multiprocessing

    with tempfile.TemporaryDirectory(prefix="genpas-bench-") as folder:
        sizes = {"world_size": world_size, "batch": batch, "steps": steps, "repeats": repeats}
        multiprocessing.start_processes(train, args=(path, folder, sizes), nprocs=world_size, start_method="fork")
        ways = json.loads((Path(folder) / "ways.json").read_text("utf-8"))
    return {"batch": batch, "negatives": NEGATIVES, "ways": ways}


def train(rank: int, path: str, folder: str, sizes: dict[str, int]) -> None:
    """Train as one rank; rank 0 writes the times. `sizes` are the other arguments of `measure`."""
    import torch
    from torch import distributed

    torch.set_num_threads(1)
    world_size, steps = sizes["world_size"], sizes["steps"]
    store = distributed.FileStore(f"{folder}/store", world_size)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=world_size)
    stream = batches(path, POLICIES["multi_target"], sizes["batch"], rank=rank, world_size=world_size)
    n_rows = stream.stream.view.store.n_items + 1
    drawn = [stream.batch(0, step) for step in range(_DISTINCT)]
    makers = {"unsharded": unsharded_step(n_rows, drawn, world_size)}
    makers |= {output: sharded_step(output, n_rows, drawn) for output in OUTPUTS}

    def turn(step: Callable[[int], None]) -> int:
        distributed.barrier()
        for number in range(steps):
            step(number % _DISTINCT)
        distributed.barrier()
        return steps

    turns = {way: partial(turn, step) for way, step in makers.items()}
    rates = timing.rates(turns, sizes["repeats"])
    if rank == 0:
        ways = {way: timing.inverse(rate) for way, rate in rates.items()}
        (Path(folder) / "ways.json").write_text(json.dumps(ways), encoding="utf-8")
    distributed.barrier()
    distributed.destroy_process_group()


def sharded_step(output: str, n_rows: int, drawn: list[Any]) -> Callable[[int], None]:
    """Return a function that trains a sharded model on one of the batches."""
    import torch

    from torchrec_ext.shard import own_rows, shard, with_output_rows
    from torchrec_ext.tables import dense_parameters

    sharded = shard(recommender(n_rows), output=output)
    dense = torch.optim.Adam(dense_parameters(sharded).values())
    negatives = torch.randint(1, n_rows, (NEGATIVES,), generator=torch.Generator().manual_seed(1))
    extra = ("negatives", negatives) if output == "sampled" else ("all", own_rows(sharded))

    def step(number: int) -> None:
        dense.zero_grad()
        sharded(with_output_rows(drawn[number], *extra)).loss.backward()
        dense.step()

    return step


def unsharded_step(n_rows: int, drawn: list[Any], world_size: int) -> Callable[[int], None]:
    """Return a function that trains RecBole's model on padded histories with Adam, as RecBole does."""
    import torch
    from torch.nn.parallel import DistributedDataParallel

    class Loss(torch.nn.Module):
        """The model's loss as a forward pass, which is what DistributedDataParallel wraps."""

        def __init__(self) -> None:
            super().__init__()
            self.model = recommender(n_rows)

        def forward(self, interaction: dict[str, Any]) -> Any:
            """Return the loss."""
            return self.model.calculate_loss(interaction)

    loss = Loss()
    names = (loss.model.ITEM_SEQ, loss.model.ITEM_SEQ_LEN, loss.model.POS_ITEM_ID)
    padded = [
        (batch.history.to_padded_dense(MAX_LENGTH).long(), batch.history.lengths(), batch.target) for batch in drawn
    ]
    trained = DistributedDataParallel(loss) if world_size > 1 else loss
    optimizer = torch.optim.Adam(loss.parameters())

    def step(number: int) -> None:
        optimizer.zero_grad()
        trained(dict(zip(names, padded[number], strict=True))).backward()
        optimizer.step()

    return step


def tables(sections: dict[str, list[dict[str, Any]]]) -> list[Grid]:
    """Return the table of the steps, beside the unsharded model on one rank and on as many ranks."""
    records = sections.get(SECTION, [])
    alone = next((record["ways"]["unsharded"]["min"] for record in records if record["ranks"] == 1), None)
    rows = [
        [
            str(record["ranks"]),
            way,
            timing.text(of, 0, 1e-3),
            f"{record['batch'] / of['min'] / 1e3:.2f}",
            f"{of['min'] / record['ways']['unsharded']['min']:.2f}",
            f"{of['min'] / alone:.2f}" if alone else "",
        ]
        for record in records
        for way, of in record["ways"].items()
    ]
    head = [
        "ranks", "output layer", "step ms", "thousand pairs/s", "/ unsharded, as many ranks", "/ unsharded, one rank"
    ]  # fmt: skip
    return [
        Grid("A training step: SASRec on ranks of one core each; pairs/s and ratios of the fastest repeats", head, rows)
    ]
