"""Where the item table lies: a TorchRec sharding plan by rows, whole, by columns, or as TorchRec's planner decides."""

# ruff: noqa: E402 – a torchrec that cannot be imported is explained before it is imported

from __future__ import annotations

import os
from collections.abc import Sequence

from torchrec_ext.environment import require_torchrec

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
from torchrec.modules.embedding_modules import EmbeddingCollection

from genpas_plugins.errors import InputError
from torchrec_ext.losses import row_block

TABLE = "item"
SHARDINGS = ("row_wise", "table_wise", "column_wise", "planner")
FBGEMM_ALIGNMENT = 4  # fbgemm reads rows in vectors of four floats
_KERNEL = "fused"  # named, as TorchRec falls back to the dense kernel for a table without an optimizer class


def plan_for(
    collection: EmbeddingCollection,
    sharder: EmbeddingCollectionSharder,
    sharding: str,
    *,
    device: torch.device,
    group: dist.ProcessGroup,
    memory_per_rank: int | None,
) -> ShardingPlan:
    """Return the plan for a model whose attribute `items` is `collection`. Raises InputError where there is none."""
    world_size = dist.get_world_size(group)
    local_size = min(int(os.environ.get("LOCAL_WORLD_SIZE", world_size)), world_size)
    (config,) = collection.embedding_configs()
    columns_per_rank = _column_shards(config.embedding_dim, world_size)
    every_rank_has_rows = len(row_block(config.num_embeddings, world_size - 1, world_size)) > 0
    if sharding == "planner":
        topology = Topology(
            world_size=world_size,
            local_world_size=local_size,
            compute_device=device.type,
            **({"hbm_cap" if device.type == "cuda" else "ddr_cap": memory_per_rank} if memory_per_rank else {}),
        )
        return _planned(
            collection, sharder, topology, (*["row_wise"] * every_rank_has_rows, "table_wise", "column_wise")
        )
    if sharding == "row_wise" and not every_rank_has_rows:
        raise InputError(
            f"Row-wise sharding of {config.num_embeddings} rows over {world_size} ranks leaves a rank without rows, "
            "which fbgemm cannot train. Use fewer ranks or sharding: table_wise."
        )
    held = {
        "row_wise": len(row_block(config.num_embeddings, 0, world_size)) * config.embedding_dim,
        "table_wise": config.num_embeddings * config.embedding_dim,
        "column_wise": config.num_embeddings * max(columns_per_rank),
    }[sharding]
    if memory_per_rank is not None and held * 4 > memory_per_rank:
        raise InputError(
            f"The item table ({config.num_embeddings} × {config.embedding_dim}) needs {held * 4} bytes on a rank with "
            f"{sharding} sharding over {world_size} rank(s); memory_per_rank is {memory_per_rank} bytes. Use "
            "more ranks or fewer columns."
        )
    generator = {
        "row_wise": lambda: row_wise(compute_kernel=_KERNEL),
        "table_wise": lambda: table_wise(rank=0, compute_kernel=_KERNEL),
        "column_wise": lambda: column_wise(size_per_rank=columns_per_rank, compute_kernel=_KERNEL),
    }[sharding]()
    return ShardingPlan(
        {
            "items": construct_module_sharding_plan(
                collection,
                {TABLE: generator},
                sharder=sharder,
                local_size=local_size,
                world_size=world_size,
                device_type=device.type,
            )
        }
    )


def _column_shards(dimension: int, world_size: int) -> list[int]:
    """Return how many columns each rank takes: equal multiples of four, and none on the last ranks of a narrow table.

    TorchRec needs the shards of a table to be of one width.
    """
    shards = max(n for n in range(1, world_size + 1) if dimension % (n * FBGEMM_ALIGNMENT) == 0)
    return [dimension // shards] * shards


def _planned(
    collection: EmbeddingCollection,
    sharder: EmbeddingCollectionSharder,
    topology: Topology,
    sharding_types: Sequence[str],
) -> ShardingPlan:
    # Left free, the planner may choose data_parallel, which an EmbeddingCollection cannot train on CPU.
    allowed = ParameterConstraints(sharding_types=list(sharding_types), compute_kernels=[_KERNEL])
    planner = EmbeddingShardingPlanner(
        topology=topology,
        constraints={TABLE: allowed},
        storage_reservation=FixedPercentageStorageReservation(percentage=0.0),  # the limit is for the table alone
    )
    module = nn.Module()
    module.items = collection
    try:
        return planner.plan(module, [sharder])
    except PlannerError as error:
        raise InputError(
            f"TorchRec's planner finds no place for the item table on {topology.world_size} ranks: "
            f"{str(error).strip().splitlines()[0]} Use more ranks, fewer columns, or raise memory_per_rank."
        ) from error
