"""Work that fails on all ranks or on none. No rank waits for a rank that has given up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch.distributed as dist
from torch.distributed.checkpoint.api import CheckpointException

from genpas_plugins.support.errors import InputError

T = TypeVar("T")


def together(work: Callable[[], T], group: dist.ProcessGroup) -> list[T]:
    """Run `work` on every rank and return the results of all ranks. Collective.

    `work` must not communicate. Results are in the order of ranks. If `work` raises InputError on any rank, all ranks
    raise it. Any other error is an OSError on all ranks.
    """
    mine: tuple[T | None, str | None, bool] = None, None, False
    try:
        mine = work(), None, False
    except Exception as error:
        mine = None, reason_of(error), isinstance(error, InputError)
    everyone: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(everyone, mine, group=group)
    for rank, (_, reason, is_input) in enumerate(everyone):
        if reason is not None:
            raise InputError(reason) if is_input else OSError(f"{reason} (rank {rank})")
    return [result for result, _, _ in everyone]


def on_rank_0(work: Callable[[], T], group: dist.ProcessGroup) -> T:
    """Run `work` on the first rank of the group and return its result on all ranks. Collective.

    `work` must not communicate. Errors are as for `together`.
    """
    first = dist.get_rank(group) == 0
    return cast("T", together(lambda: work() if first else None, group)[0])


def reason_of(error: BaseException) -> str:
    """Return the first line of an error's message. Its class is added where the message alone is unclear."""
    if isinstance(error, CheckpointException):
        return "; ".join(f"{reason_of(cause)} (rank {rank})" for rank, (cause, _) in error.failures.items())
    if isinstance(error, InputError):
        return str(error)
    line = str(error).strip().partition("\n")[0].rstrip(".")
    return line if isinstance(error, OSError | ValueError) and line else f"{type(error).__name__} {line}".strip()
