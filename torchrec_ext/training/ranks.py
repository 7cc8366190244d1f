"""The processes of one run: they connect, agree on bad input and report it once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar
from uuid import uuid4

import torch
import torch.distributed as dist
import typer

from genpas_plugins.support.errors import InputError

T = TypeVar("T")

JOINING_SECONDS = 600

c10d: Any = dist  # its stores are public, but torch does not say so to type checkers

_BY_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_LOST = (
    "closed by peer",
    "closed by remote peer",
    "reset by peer",
    "broken pipe",
    "connection refused",
    "socket timeout",
    "timed out waiting",
    "remote process exited",
    "ncclremoteerror",
    "nccl communicator was aborted",
    "collective operation timeout",
    "failed to recv",
    "store->get",
)


@dataclass(frozen=True)
class Ranks:
    """The place of this process in the run."""

    rank: int
    world_size: int
    local_rank: int
    control: dist.ProcessGroup  # on CPU, for messages and checkpoints. Training uses another group.

    @classmethod
    def join(cls) -> Ranks:
        """Start the process group: gloo on CPU and NCCL on CUDA. Raises InputError for half an environment."""
        rank, world_size, local_rank = place(os.environ)
        cuda = torch.cuda.is_available()
        if cuda:
            torch.cuda.set_device(local_rank % torch.cuda.device_count())
        backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
        if "RANK" in os.environ:
            from_torchrun, _, _ = next(iter(c10d.rendezvous("env://")))
            store = of_this_life(from_torchrun, rank, world_size)
        else:
            store = c10d.HashStore()
        dist.init_process_group(backend, store=store, rank=rank, world_size=world_size)
        return cls(rank, world_size, local_rank, dist.new_group(backend="gloo"))

    def device(self, wanted: bool = True) -> torch.device:
        """Return this rank's own GPU if there is one and `wanted`. Otherwise return the CPU."""
        if not wanted or not torch.cuda.is_available():
            return torch.device("cpu")
        if self.local_rank >= torch.cuda.device_count():
            raise InputError(
                f"Rank {self.rank} is number {self.local_rank + 1} on its machine, which has "
                f"{torch.cuda.device_count()} GPUs. Start as many ranks as there are GPUs: --nproc-per-node."
            )
        return torch.device("cuda", self.local_rank)

    def together(self, make: Callable[[], T]) -> T:
        """Return the result of `make` on this rank: a collective call.

        If `make` raises InputError on any rank, all ranks raise it. `make` must not communicate.
        """
        made: list[T] = []
        message = None
        try:
            made.append(make())
        except InputError as error:
            message = str(error)
        messages: list[str | None] = [None] * self.world_size
        dist.all_gather_object(messages, message, group=self.control)
        said = {text: rank for rank, text in reversed(list(enumerate(messages))) if text is not None}
        if said:
            everywhere = None not in messages
            raise InputError(" ".join(text if everywhere else f"Rank {rank}: {text}" for text, rank in said.items()))
        return made[0]

    def say(self, message: str) -> None:
        """Print a line on stderr on rank 0 only."""
        if self.rank == 0:
            typer.echo(message, err=True)

    def has_said(self, message: str) -> None:
        """Print once a message that every rank has. A message of this rank alone is printed here."""
        self.say(message)
        try:
            # All ranks wait until rank 0 has printed: torchrun ends the others when the first one leaves.
            dist.monitored_barrier(self.control, timeout=timedelta(seconds=10))
        except RuntimeError:
            if self.rank:
                typer.echo(message, err=True)


def place(environment: Mapping[str, str]) -> tuple[int, int, int]:
    """Return (rank, world size, local rank) from torchrun's variables or else (0, 1, 0)."""
    if "RANK" not in environment and "WORLD_SIZE" not in environment:
        return 0, 1, 0
    missing = [name for name in _BY_TORCHRUN if name not in environment]
    if missing:
        there = [name for name in _BY_TORCHRUN if name in environment]
        raise InputError(
            f"World size mismatch: {', '.join(there)} set but not {', '.join(missing)}, so this process cannot find "
            "the others. Start all of them with torchrun, or unset RANK and WORLD_SIZE to train in one process."
        )
    try:
        rank, world_size, local_rank = (int(environment[name]) for name in _BY_TORCHRUN[:3])
    except ValueError:
        values = ", ".join(f"{name}={environment[name]!r}" for name in _BY_TORCHRUN[:3])
        raise InputError(f"{values}: these must be numbers. Start the run with torchrun.") from None
    if not 0 <= rank < world_size or not 0 <= local_rank <= rank:
        raise InputError(
            f"World size mismatch: RANK is {rank}, LOCAL_RANK {local_rank}, WORLD_SIZE {world_size}. Start the run "
            "with torchrun."
        )
    return rank, world_size, local_rank


def of_this_life(store: Any, rank: int, world_size: int) -> Any:
    """Return a part of torchrun's store that no process before a restart has written to: a collective call.

    torchrun keeps the store when it restarts the ranks (PyTorch #135712). New ranks would read addresses of dead
    ranks. The count of restarts differs between machines. Rank 0 thus makes a new name. It gives the name to each
    rank that asks with its own token until all ranks have it.
    """
    if rank > 0:
        token = uuid4().hex
        store.set(f"genpas/asks/{rank}", token)
        name = store.get(f"genpas/answer/{token}").decode()
        store.set(f"genpas/has/{name}/{rank}", "")
        return c10d.PrefixStore(name, store)
    name, waiting = uuid4().hex, set(range(1, world_size))
    until = time.monotonic() + JOINING_SECONDS
    while waiting:
        for other in sorted(waiting):
            if store.check([f"genpas/has/{name}/{other}"]):
                waiting.discard(other)
            elif store.check([f"genpas/asks/{other}"]):
                store.set(f"genpas/answer/{store.get(f'genpas/asks/{other}').decode()}", name)
        if time.monotonic() > until:
            raise RuntimeError(f"Timed out waiting for the ranks {sorted(waiting)} to join.")
        time.sleep(0.02)
    return c10d.PrefixStore(name, store)


def is_loss_of_a_rank(error: BaseException) -> bool:
    """Return whether communication failed because another process is gone."""
    return isinstance(error, RuntimeError) and (
        isinstance(error, dist.DistNetworkError | dist.DistStoreError)
        or any(text in str(error).lower() for text in _LOST)
    )
