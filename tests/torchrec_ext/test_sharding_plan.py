"""Plans for many ranks, made on one: torch's fake process group has any world size."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("torchrec")
pytest.importorskip("recbole")

import torch
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore
from torchrec.distributed.embedding import EmbeddingCollectionSharder
from torchrec.modules.embedding_configs import EmbeddingConfig
from torchrec.modules.embedding_modules import EmbeddingCollection

from torchrec_ext.losses import row_block
from torchrec_ext.sharding_plan import SHARDINGS, plan_for

ROWS, COLUMNS, LOCAL = 12_102, 64, 8


@pytest.fixture(params=[8, 64])
def world_size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(LOCAL))
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=request.param)
    yield request.param
    dist.destroy_process_group()


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("sharding", SHARDINGS)
def test_a_plan_holds_every_number_once_on_the_device_of_its_rank(world_size: int, sharding: str, device: str):
    table = EmbeddingConfig(name="item", num_embeddings=ROWS, embedding_dim=COLUMNS, feature_names=["history", "all"])
    collection = EmbeddingCollection(tables=[table], device=torch.device("meta"))
    options = {"device": torch.device(device), "group": dist.group.WORLD, "memory_per_rank": 2**30}
    options["cached"] = device == "cuda"
    plan = plan_for(collection, EmbeddingCollectionSharder(fused_params={}), sharding, **options)
    kernel = "fused_uvm_caching" if options["cached"] else "fused"
    assert plan.plan["items"]["item"].compute_kernel == kernel
    shards = plan.plan["items"]["item"].sharding_spec.shards
    seen = torch.zeros(ROWS, COLUMNS, dtype=torch.uint8)
    for shard in shards:
        (row, column), (height, width) = shard.shard_offsets, shard.shard_sizes
        seen[row : row + height, column : column + width] += 1
        rank = shard.placement.rank()
        assert shard.placement.device() == torch.device("cpu" if device == "cpu" else f"cuda:{rank % LOCAL}")
        if plan.plan["items"]["item"].sharding_type == "row_wise":
            block = row_block(ROWS, rank, world_size)
            assert (row, height) == (block.start, len(block))
    assert (seen == 1).all()
