"""Trains small sharded models, saves and loads them; a script that each rank of a test's world runs.

python checkpointing.py RANK WORLD_SIZE DIRECTORY     two ranks save, more load; writes DIRECTORY/resultsRANK.json
"""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from sharded_training import N_ROWS, Padded, batch_of, build, draw
from torch.distributed.checkpoint.filesystem import FileSystemWriter

from torchrec_ext.checkpointing.checkpoints import Checkpoints
from torchrec_ext.shard import own_rows, shard, with_output_rows
from torchrec_ext.tables import dense_parameters

CASES = [
    ("row_wise", "row_wise_adagrad"),
    ("row_wise", "sgd"),
    ("table_wise", "row_wise_adagrad"),  # only one rank holds the optimizer's state
    ("column_wise", "adagrad"),
]
BEFORE, AFTER = 4, 4
SAVED_BY = 2


class Training:
    """A small model with its optimizers; every world trains on the same pairs, cut into as many parts as ranks."""

    def __init__(self, sharding: str = "row_wise", optimizer: str = "row_wise_adagrad", n_rows: int = N_ROWS) -> None:
        self.sharded = shard(build(n_rows=n_rows), sharding=sharding, optimizer=optimizer, learning_rate=0.1)
        self.parameters = dense_parameters(self.sharded)
        self.dense = torch.optim.Adam(self.parameters.values(), lr=0.0)
        for parameter in self.parameters.values():
            parameter.grad = torch.zeros_like(parameter)
        self.dense.step()  # makes the state, for a checkpoint to be loaded into
        for state in self.dense.state.values():
            for value in state.values():
                value.zero_()
        self.dense.param_groups[0]["lr"] = 0.01
        self.progress: dict[str, Any] = {"step": 0, "score": None, "name": ""}

    def state(self) -> dict[str, Any]:
        return {
            "model": self.sharded.state_dict(),
            "table_optimizer": self.sharded.fused_optimizer.state_dict(),
            "optimizer": {name: self.dense.state[parameter] for name, parameter in self.parameters.items()},
            "progress": self.progress,
        }

    def train(self, n: int) -> list[float]:
        """Train n steps and return the losses over all ranks."""
        losses = []
        rank, world_size = dist.get_rank(), dist.get_world_size()
        for step in range(self.progress["step"], self.progress["step"] + n):
            parts = [draw(step, of_rank) for of_rank in range(2)]
            whole = [torch.cat(columns) for columns in zip(*parts, strict=True)]
            cut = slice(len(whole[0]) * rank // world_size, len(whole[0]) * (rank + 1) // world_size)
            batch = batch_of(Padded(*(column[cut] for column in whole)))
            self.dense.zero_grad()
            loss = self.sharded(with_output_rows(batch, "all", own_rows(self.sharded))).loss
            loss.backward()
            self.dense.step()
            mean = loss.detach().clone()
            dist.all_reduce(mean)
            losses.append(float(mean) / world_size)
        self.progress["step"] += n
        return losses


def folder(directory: Path, case: tuple[str, str]) -> Path:
    return directory / "-".join(case)


def saved_and_trained_on(directory: Path, case: tuple[str, str]) -> list[float]:
    training = Training(*case)
    training.train(BEFORE)
    training.progress.update(score=0.5, name="first")
    saved = Checkpoints(folder(directory, case))
    saved.save(BEFORE, training.state())
    losses = training.train(AFTER)  # while the checkpoint is being written
    saved.wait()
    return losses


def loaded_and_trained_on(directory: Path, case: tuple[str, str]) -> list[float]:
    training = Training(*case)
    assert Checkpoints(folder(directory, case)).load_newest(training.state()) == BEFORE
    assert training.progress == {"step": BEFORE, "score": 0.5, "name": "first"}
    return training.train(AFTER)


def full_disk_on_one_rank(directory: Path, rank: int) -> dict[str, Any]:
    """Save step 1, step 2 while rank 1's disk is full, and step 3 after that."""
    training, log = Training(), []
    saved = Checkpoints(directory, log=log.append)
    saved.save(1, training.state())
    saved.wait()
    write_data = FileSystemWriter.write_data
    if rank == 1:

        def write_some(writer: Any, *arguments: Any) -> Any:
            (writer.path / "__1_0.distcp").write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

        FileSystemWriter.write_data = write_some
    saved.save(2, training.state())
    training.train(2)
    saved.wait()
    after = sorted(path.name for path in directory.iterdir())
    dist.barrier()  # the directory has been read on all ranks
    FileSystemWriter.write_data = write_data
    saved.save(3, training.state())
    saved.wait()
    return {"log": log, "directory": after, "steps": saved.steps()}


def killed_before_the_rename(directory: Path, rank: int) -> None:
    training = Training()
    saved = Checkpoints(directory)
    saved.save(1, training.state())
    saved.wait()
    training.train(1)
    if rank == 0:
        rename = Path.rename
        Path.rename = lambda path, to: os._exit(0) if path.name.startswith(".step-") else rename(path, to)
    saved.save(2, training.state())
    saved.wait()


def main(rank: int, world_size: int, directory: Path) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(str(directory / f"store{world_size}"), world_size)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world_size)
    trained_on = saved_and_trained_on if world_size == SAVED_BY else loaded_and_trained_on
    results: dict[str, Any] = {"losses": {"-".join(case): trained_on(directory, case) for case in CASES}}
    if world_size == SAVED_BY:
        results["full"] = full_disk_on_one_rank(directory / "full", rank)
    (directory / f"results{world_size}{rank}.json").write_text(json.dumps(results))
    sys.stdout.flush()
    if world_size == SAVED_BY:
        try:
            killed_before_the_rename(directory / "killed", rank)
        except RuntimeError:  # rank 0 is gone
            os._exit(0)
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
