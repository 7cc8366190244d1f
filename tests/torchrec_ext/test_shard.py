from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torchrec")
pytest.importorskip("recbole")

import sharded_training as training
import torch
import torch.distributed as dist
from spawned_ranks import run_ranks
from torch import nn
from torch.nn import functional
from torchrec.distributed.train_pipeline import TrainPipelineSparseDist

from genpas_plugins.support.errors import InputError
from torchrec_ext.gradient_mean import average
from torchrec_ext.shard import output_layer, own_rows, shard, with_output_rows
from torchrec_ext.tables import dense_parameters, local_shards, set_table_steps, table_kernels, whole_table


@pytest.fixture(scope="module", autouse=True)
def _world_of_one() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture(scope="module", params=[2, 3])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path]:
    world_size, directory = request.param, tmp_path_factory.mktemp("world")
    run_ranks("sharded_training.py", world_size, directory)
    return world_size, directory


@pytest.mark.slow
@pytest.mark.distributed
def test_sharded_training_is_unsharded_training_on_the_batches_of_all_ranks(trained: tuple[int, Path]):
    results = json.loads((trained[1] / "results.json").read_text())
    assert set(results) == {case.name for case in training.cases_of(trained[0])}
    for name, deviations in results.items():
        assert deviations["loss"] <= 1e-5, name
        assert deviations["table"] <= 1e-4, name
        assert deviations["moved"] > 0.01, name


@pytest.mark.slow
@pytest.mark.distributed
def test_bad_ids_raise_on_every_rank(trained: tuple[int, Path]):
    world_size, directory = trained
    for rank in range(world_size):
        errors = json.loads((directory / f"errors{rank}.json").read_text())
        assert errors["target on rank 0"].startswith("InputError: Target 11 in the batch of rank 0 is outside")
        assert "RuntimeError" in errors["history"]


@pytest.mark.parametrize("case", [*training.CASES[2:9:3], *training.CASES[-3:]], ids=lambda case: case.name)
def test_one_rank_trains_as_the_unsharded_model(case: Any):
    losses, table = training.train_sharded(case, 0)
    expected_losses, expected_table = training.train_unsharded(case, 1)
    assert losses == pytest.approx(expected_losses, abs=1e-5)
    torch.testing.assert_close(table, expected_table, atol=1e-4, rtol=0)


def batches(sharded: nn.Module, n: int = 6) -> list[Any]:
    rows = own_rows(sharded)
    return [with_output_rows(training.batch_of(training.draw(step, 0)), "all", rows) for step in range(n)]


@pytest.mark.parametrize("sharding", ["row_wise", "table_wise", "column_wise", "planner"])
def test_the_table_starts_from_the_models_weights(sharding: str):
    model = training.build()
    weights = model.item_embedding.weight.detach().clone()
    dense = {name for name, _ in model.named_parameters() if not name.startswith("item_embedding")}
    sharded = shard(model, sharding=sharding)
    assert torch.equal(whole_table(sharded), weights)
    assert sum(piece.numel() for _, piece in local_shards(sharded)) == weights.numel()
    assert {name.removeprefix("layer.model.") for name in dense_parameters(sharded)} == dense
    assert output_layer(sharded).model is model


def test_a_table_in_half_precision_learns_what_one_in_single_precision_learns():
    def trained(table_type: str) -> torch.Tensor:
        sharded = shard(training.build(), optimizer="adagrad", table_type=table_type)
        kinds = {piece.dtype for _, piece in local_shards(sharded)}
        assert kinds == {torch.float16 if table_type == "float16" else torch.float32}
        for batch in batches(sharded):
            sharded(batch).loss.backward()
        return whole_table(sharded)

    whole, half = trained("float32"), trained("float16")
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, whole, atol=0.02, rtol=0.01)


def test_a_pipeline_trains_as_the_plain_loop():
    def train(pipelined: bool) -> torch.Tensor:
        sharded = shard(training.build(), optimizer="adagrad")
        dense = torch.optim.SGD(dense_parameters(sharded).values(), lr=0.1)
        if pipelined:
            pipeline = TrainPipelineSparseDist(sharded, dense, torch.device("cpu"), execute_all_batches=True)
            source = iter(batches(sharded))
            for _ in range(6):
                pipeline.progress(source)
            assert len(pipeline._pipelined_modules) == 1  # the lookup runs ahead of the model
        else:
            for batch in batches(sharded):
                dense.zero_grad()
                sharded(batch).loss.backward()
                dense.step()
        return whole_table(sharded)

    torch.testing.assert_close(train(pipelined=True), train(pipelined=False), atol=1e-6, rtol=0)


def test_the_tables_optimizer_counts_on_from_where_a_run_stopped():
    sharded = shard(training.build())
    sharded(batches(sharded)[0]).loss.backward()  # kernels that have looked rows up count for themselves
    set_table_steps(sharded, 7)
    for batch in batches(sharded):
        sharded(batch).loss.backward()
    for kernel in table_kernels(sharded):
        assert int(kernel.iter) == int(kernel.iter_cpu) == 7 + len(batches(sharded))


def test_a_parameter_without_a_gradient_on_any_rank_keeps_none():
    used, unused = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))
    used.grad = torch.tensor([1.0, 2.0])
    average([used, unused], dist.group.WORLD)
    assert torch.equal(used.grad, torch.tensor([1.0, 2.0]))
    assert unused.grad is None


def test_the_planner_knows_the_memory_of_the_gpu(monkeypatch: pytest.MonkeyPatch):
    from types import SimpleNamespace

    from torchrec_ext.sharding_plan import _memory

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=2**37))
    assert _memory(torch.device("cuda", 0), None) == {"hbm_cap": 2**37}
    assert _memory(torch.device("cuda", 0), 5) == {"hbm_cap": 5}
    assert _memory(torch.device("cpu"), None) == {}


@pytest.mark.parametrize("output", ["vocab_parallel", "gather"])
def test_the_output_rows_are_spread_over_the_pairs_and_train_bit_for_bit_as_one_list(output: str):
    def one_list(batch: Any, key: str, ids: torch.Tensor) -> Any:
        more = with_output_rows(batch, key, ids)
        lengths = more.features.lengths().clone()
        lengths[: more.features.stride()] = torch.tensor([len(ids)] + [0] * (more.features.stride() - 1))
        features = training.KeyedJaggedTensor(more.features.keys(), more.features.values(), lengths=lengths)
        return training.Batch(features, batch.weights)

    def trained(how: Any) -> tuple[torch.Tensor, int]:
        sharded, longest = shard(training.build(), output=output), 0
        for step in range(3):
            batch = how(training.batch_of(training.draw(step, 0)), "all", own_rows(sharded))
            longest = max(longest, int(batch.features["all"].lengths().max()))
            sharded(batch).loss.backward()
        return whole_table(sharded), longest

    spread, listed = trained(with_output_rows), trained(one_list)
    assert torch.equal(spread[0], listed[0])
    assert (spread[1], listed[1]) == (-(-training.N_ROWS // 4), training.N_ROWS)


def test_padding_learns_nothing_from_histories():
    sharded = shard(training.build(), output="sampled", optimizer="sgd", learning_rate=1.0)
    before = whole_table(sharded)
    padded = training.draw(0, 0)
    padded.history[:, 0] = 0  # read, as padding_idx allows
    features = training.KeyedJaggedTensor(
        keys=["history", "target"],
        values=torch.cat([padded.history.flatten(), padded.target]),
        lengths=torch.cat([torch.full((4,), 6), torch.ones(4, dtype=torch.int64)]),
    )
    batch = with_output_rows(training.Batch(features, padded.weights), "negatives", padded.negatives)
    sharded(batch).loss.backward()
    after = whole_table(sharded)
    assert torch.equal(after[0], before[0])
    assert not torch.equal(after, before)


def test_a_pair_batch_takes_the_output_rows_and_keeps_its_targets():
    from torchrec_ext.batch import PairBatch

    padded = training.draw(0, 0)
    offsets = functional.pad(padded.length.cumsum(0), (1, 0))
    batch = PairBatch.of(padded.history[padded.history > 0], offsets, padded.target, torch.arange(4), 0)
    sharded = shard(training.build())
    ready = with_output_rows(batch, "all", own_rows(sharded))
    assert torch.equal(ready.target, padded.target)
    expected = sharded(with_output_rows(training.batch_of(padded), "all", own_rows(sharded)))
    assert torch.equal(sharded(ready).loss, expected.loss)


def test_ids_out_of_range_raise():
    sharded = shard(training.build())
    padded = training.draw(0, 0)
    padded.history[0, 0] = training.N_ROWS
    with pytest.raises(RuntimeError, match="num_rows"):
        sharded(with_output_rows(training.batch_of(padded), "all", own_rows(sharded)))
    padded = training.draw(0, 0)
    padded.target[0] = training.N_ROWS
    with pytest.raises(InputError, match="Target 11 in the batch of rank 0 is outside the item table"):
        sharded(with_output_rows(training.batch_of(padded), "all", own_rows(sharded)))


def test_batches_that_do_not_fit_raise():
    sharded = shard(training.build())
    batch = training.batch_of(training.draw(0, 0))
    with pytest.raises(InputError, match=r"lists 3 rows; this rank's block of the item table has 11, from 0 to 10"):
        sharded(with_output_rows(batch, "all", torch.arange(3)))
    short = shard(training.build(MAX_ITEM_LIST_LENGTH=2))
    with pytest.raises(InputError, match="the model takes 1 to 2"):
        short(with_output_rows(batch, "all", own_rows(short)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sharding": "rowwise"}, "sharding 'rowwise' is unknown. Did you mean 'row_wise'"),
        ({"output": "full"}, "output 'full' is unknown"),
        ({"optimizer": "adamw"}, "optimizer 'adamw' is unknown. Did you mean 'adam'"),
        ({"optimizer": "adam"}, "needs a CUDA device"),
        ({"cached": True}, "in a GPU's memory, and this run is on a CPU"),
        ({"memory_per_rank": 100}, "needs 352 bytes on a rank"),
        ({"memory_per_rank": 100, "table_type": "float16"}, "needs 176 bytes on a rank"),
        (
            {"memory_per_rank": 100, "sharding": "planner"},
            r"finds no place for the item table \(11 × 8\) on 1 r",
        ),
        ({"output": "sampled", "log_q": torch.zeros(3)}, "log_q has shape"),
    ],
)
def test_arguments_that_cannot_be(arguments: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        shard(training.build(), **arguments)


def test_models_that_cannot_be_sharded():
    with pytest.raises(InputError, match="sharding is not possible with Linear: it has no forward"):
        shard(nn.Linear(2, 2))
    with pytest.raises(InputError, match="its loss_type is 'BPR', not CE"):
        shard(training.build(loss_type="BPR"))
    with pytest.raises(InputError, match="has 6 columns; a sharded one needs a multiple of 4"):
        shard(training.build(hidden_size=6))
    model = training.build()
    shard(model)
    with pytest.raises(InputError, match="sharded already"):
        shard(model)
    with pytest.raises(RuntimeError, match="were not looked up for this batch"):
        model.item_embedding(torch.ones(2, dtype=torch.int64))
