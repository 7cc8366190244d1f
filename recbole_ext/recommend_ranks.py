"""`genpas recommend` under torchrun: each rank ranks a slice of the users and rank 0 joins the slices."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
import torch.distributed as dist
from pyarrow import parquet

from genpas_plugins.support.errors import InputError
from genpas_plugins.support.table_file import check_table_file, table_file
from recbole_ext.recommend import SCHEMA, Written, recommend


def launched() -> bool:
    """Return whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def recommend_on_ranks(
    checkpoint: str | Path,
    out: str | Path,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Written:
    """Write the best items of every user to one file on all ranks together: a collective call.

    The slices are temporary files in the folder of `out`, which all ranks must share.

    Parameters
    ----------
    checkpoint, out, overwrite : as in `recommend`
    progress : called on rank 0 for its slice
    options : of `recommend` without `part`

    Returns
    -------
    Written
        What all ranks wrote together.

    Raises
    ------
    InputError
        On every rank for an error of any rank.
    """
    if not dist.is_initialized():
        dist.init_process_group("gloo")
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    rank, world_size, path = dist.get_rank(), dist.get_world_size(), Path(out)
    slices = [path.with_name(f".{path.name}.{number}-of-{world_size}.parquet") for number in range(world_size)]

    def rank_slice() -> Written:
        check_table_file(path, overwrite=overwrite)
        tell = progress if rank == 0 else None
        return recommend(
            checkpoint, slices[rank], part=(rank + 1, world_size), overwrite=True, progress=tell, **options
        )

    try:
        written = _together(rank_slice)
        _together(lambda: join(slices, path) if rank == 0 else None)
    finally:
        slices[rank].unlink(missing_ok=True)
    return Written(*map(sum, zip(*written, strict=True)))


def join(slices: Sequence[Path], out: Path) -> None:
    """Write the rows of parquet files one file after another. Raises InputError for a missing file."""
    for file in slices:
        if not file.exists():
            raise InputError(f"{file} of another rank is not here. Give --out in a folder that all ranks share.")
    with table_file(out, SCHEMA) as write:
        for file in slices:
            for batch in parquet.ParquetFile(file).iter_batches():
                write(pa.Table.from_batches([batch], SCHEMA))


def _together(work: Callable[[], Any]) -> list[Any]:
    """Return what `work` returns on each rank. Raises the first rank's InputError on all ranks."""
    result, error = None, None
    try:
        result = work()
    except InputError as raised:
        error = str(raised)
    of_ranks: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(of_ranks, (result, error))
    for _, message in of_ranks:
        if message is not None:
            raise InputError(message)
    return [value for value, _ in of_ranks]
