"""A TorchRec sharding plan for the tables: by rows, whole, by columns or by TorchRec's planner."""

# ruff: noqa: E402 – a torchrec that cannot be imported is explained before it is imported

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import Any

from torchrec_ext.import_guard import require_torchrec

require_torchrec()

import torch
import torch.distributed as dist
from torch import nn
from torchrec.distributed.embedding import EmbeddingCollectionSharder
from torchrec.distributed.planner import EmbeddingShardingPlanner, ParameterConstraints, Topology
from torchrec.distributed.planner.storage_reservations import FixedPercentageStorageReservation
from torchrec.distributed.planner.types import PlannerError
from torchrec.distributed.sharding_plan import column_wise, construct_module_sharding_plan, row_wise, table_wise
from torchrec.distributed.types import ShardingPlan
from torchrec.modules.embedding_configs import EmbeddingConfig, data_type_to_dtype
from torchrec.modules.embedding_modules import EmbeddingCollection

from genpas_plugins.support.errors import InputError
from torchrec_ext.losses import row_block

SHARDINGS = ("row_wise", "table_wise", "column_wise", "planner")
FBGEMM_ALIGNMENT = 4  # fbgemm reads rows as vectors of four floats
# For a table without an optimizer class TorchRec chooses the dense kernel otherwise.
_KERNEL, _CACHED = "fused", "fused_uvm_caching"


def plan_for(
    collection: EmbeddingCollection,
    sharder: EmbeddingCollectionSharder,
    sharding: str,
    *,
    device: torch.device,
    group: dist.ProcessGroup,
    memory_per_rank: int | None,
    cached: bool = False,
) -> ShardingPlan:
    """Return the plan for a model whose attribute `items` is `collection`.

    Parameters
    ----------
    collection : the tables
    sharder : of the collection
    sharding : one of SHARDINGS
    device : where this rank computes
    group : process group over which the tables are sharded
    memory_per_rank : bytes that the tables may take on a rank
    cached : whether the tables are in the host's memory with a cache on the GPU

    Raises
    ------
    InputError
        If there is no such plan or it needs more memory.
    """
    world_size = dist.get_world_size(group)
    local_size = min(int(os.environ.get("LOCAL_WORLD_SIZE", world_size)), world_size)
    tables, kernel = collection.embedding_configs(), _CACHED if cached else _KERNEL
    if sharding == "planner":
        topology = Topology(
            world_size=world_size,
            local_world_size=local_size,
            compute_device=device.type,
            **_memory(device, memory_per_rank),
        )
        return _plan(collection, sharder, topology, kernel)
    for table in tables:
        if sharding == "row_wise" and not _every_rank_has_rows(table, world_size):
            raise InputError(
                f"Row-wise sharding of {table.num_embeddings} rows over {world_size} ranks leaves a rank without rows, "
                "which fbgemm cannot train. Use fewer ranks or sharding: table_wise."
            )
    held = [0] * world_size
    for place, table in enumerate(tables):
        for rank, numbers in _numbers_on_ranks(table, sharding, place, world_size).items():
            held[rank] += numbers * data_type_to_dtype(table.data_type).itemsize
    if memory_per_rank is not None and max(held) > memory_per_rank:
        raise InputError(
            f"Sharding the {_describe(tables)} {sharding} over {world_size} rank(s) needs {max(held)} bytes on a "
            f"rank; memory_per_rank is {memory_per_rank} bytes. Use more ranks or fewer columns."
        )
    generators: dict[str, Any] = {}
    for place, table in enumerate(tables):
        columns_per_rank = _column_shards(table.embedding_dim, world_size)
        generators[table.name] = {
            "row_wise": partial(row_wise, compute_kernel=kernel),
            "table_wise": partial(table_wise, rank=place % world_size, compute_kernel=kernel),
            "column_wise": partial(column_wise, size_per_rank=columns_per_rank, compute_kernel=kernel),
        }[sharding]()
    return ShardingPlan(
        {
            "items": construct_module_sharding_plan(
                collection,
                generators,
                sharder=sharder,
                local_size=local_size,
                world_size=world_size,
                device_type=device.type,
            )
        }
    )


def _memory(device: torch.device, memory_per_rank: int | None) -> dict[str, int]:
    """Return the planner's memory limit. Without it the planner assumes that every GPU has 32 GiB."""
    if device.type == "cuda":
        return {"hbm_cap": memory_per_rank or torch.cuda.get_device_properties(device).total_memory}
    return {"ddr_cap": memory_per_rank} if memory_per_rank else {}


def _every_rank_has_rows(table: EmbeddingConfig, world_size: int) -> bool:
    return len(row_block(table.num_embeddings, world_size - 1, world_size)) > 0


def _numbers_on_ranks(table: EmbeddingConfig, sharding: str, place: int, world_size: int) -> dict[int, int]:
    """Return how many numbers of a table each rank holds. Whole tables are on the rank of their `place`."""
    rows, columns = table.num_embeddings, table.embedding_dim
    if sharding == "row_wise":
        return {rank: len(row_block(rows, rank, world_size)) * columns for rank in range(world_size)}
    if sharding == "table_wise":
        return {place % world_size: rows * columns}
    return {rank: rows * share for rank, share in enumerate(_column_shards(columns, world_size))}


def _describe(tables: Sequence[EmbeddingConfig]) -> str:
    return " and the ".join(f"{table.name} table ({table.num_embeddings} × {table.embedding_dim})" for table in tables)


def _column_shards(dimension: int, world_size: int) -> list[int]:
    """Return each rank's columns in equal multiples of four. The last ranks of a narrow table have none.

    TorchRec needs shards of one width.
    """
    shards = max(n for n in range(1, world_size + 1) if dimension % (n * FBGEMM_ALIGNMENT) == 0)
    return [dimension // shards] * shards


def _plan(
    collection: EmbeddingCollection, sharder: EmbeddingCollectionSharder, topology: Topology, kernel: str
) -> ShardingPlan:
    tables = collection.embedding_configs()
    # Left free, the planner may choose data_parallel, which an EmbeddingCollection cannot train on CPU.
    allowed = {
        table.name: ["row_wise"] * _every_rank_has_rows(table, topology.world_size) + ["table_wise", "column_wise"]
        for table in tables
    }
    planner = EmbeddingShardingPlanner(
        topology=topology,
        constraints={
            name: ParameterConstraints(sharding_types=types, compute_kernels=[kernel])
            for name, types in allowed.items()
        },
        storage_reservation=FixedPercentageStorageReservation(percentage=0.0),  # the limit is for the tables alone
    )
    module = nn.Module()
    module.items = collection
    try:
        return planner.plan(module, [sharder])
    except PlannerError as error:
        raise InputError(
            f"TorchRec's planner finds no place for the {_describe(tables)} on {topology.world_size} ranks: "
            f"{str(error).strip().splitlines()[0]} Use more ranks, fewer columns, or raise memory_per_rank."
        ) from error
