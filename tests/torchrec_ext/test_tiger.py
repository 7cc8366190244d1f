"""TIGER with sharded tables: trains, ranks, resumes and is exported as the unsharded model."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torchrec")
pytest.importorskip("recbole")
pytest.importorskip("transformers")
pytest.importorskip("faiss")

import sharded_tiger as tiger
import torch
import torch.distributed as dist
from spawned_ranks import run_ranks
from torchrec.distributed.train_pipeline import TrainPipelineSparseDist

from genpas_plugins import SamplingPolicy
from genpas_plugins.sampling.stream import window_stream
from genpas_plugins.support.errors import InputError
from torchrec_ext.evaluation import check_catalogue, evaluate
from torchrec_ext.pipeline_stage import genpas_stage
from torchrec_ext.shard import own_rows, shard
from torchrec_ext.stream import GenPASStream
from torchrec_ext.tables import dense_parameters, layer_of, set_table_rate, whole_table
from torchrec_ext.tiger import with_tokens


@pytest.fixture(scope="module")
def _world_of_one() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def data(_world_of_one: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """RecBole's configuration and loaders, for a model with a user table."""
    place = tmp_path_factory.mktemp("tiger")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(sys, "argv", ["tests"])  # RecBole's Config reads the command line
        yield tiger.prepared(place, tiger.CASES[1])


@pytest.mark.distributed
def test_ranks_together_are_the_unsharded_tiger(tmp_path: Path):
    run_ranks("sharded_tiger.py", 2, tmp_path)
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2))
    for case in tiger.CASES:
        result = first[case.name]
        assert result["loss"] <= 1e-5, case
        assert result["table"] <= 1e-4, case
        assert result["moved"] > 0.005, case
        for found, expected in zip(result["found"], result["expected"], strict=True):
            assert found == pytest.approx(expected, abs=1e-6)
            assert len(set(expected.values())) > 3  # not all zero
        assert second[case.name]["found"] == result["found"]
        assert result["done"] == [29, 29]
        for of_rank in (first, second):
            assert of_rank[case.name]["same_items"], case
            assert of_rank[case.name]["scores"] <= 1e-5, case
    unbroken, again = first["resumed"]
    assert again == unbroken


def test_a_pipeline_trains_as_the_plain_loop(data: Any):
    def trained(pipelined: bool) -> list[torch.Tensor]:
        training = tiger.Training(tiger.CASES[1], data)
        network = training.model.network
        if not pipelined:
            training.train(range(4), 0)
            return training.tables()
        pipeline = TrainPipelineSparseDist(
            training.sharded, training.dense, torch.device("cpu"), execute_all_batches=True
        )
        source = (with_tokens(tiger.batch_of(tiger.draw(step, 0)), network) for step in range(4))
        for _ in range(4):
            pipeline.progress(source)
        assert len(pipeline._pipelined_modules) == 1  # the lookup runs ahead of the model
        return training.tables()

    for found, expected in zip(trained(pipelined=True), trained(pipelined=False), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("case", [tiger.CASES[1], tiger.CASES[3]], ids=lambda case: case.name)
def test_the_history_is_masked_as_in_recbole(case: Any, data: Any, tmp_path: Path):
    masked, plain = (tiger.prepared(tmp_path, case, mask_history=value) for value in (True, False))
    sharded = shard(tiger.build(masked))
    found = evaluate(sharded, masked.test, masked.config)
    assert found == pytest.approx(tiger.recbole_figures(masked, tiger.build(masked), masked.test), abs=1e-6)
    assert found != pytest.approx(evaluate(sharded, plain.test, plain.config), abs=1e-3)


@pytest.mark.parametrize("sharding", ["column_wise", "planner"])
def test_the_tables_start_from_the_models_weights(sharding: str, data: Any):
    model = tiger.build(data)
    weights = [table.detach().clone() for table in tiger.tables_of(model)]
    dense = {name for name, _ in model.named_parameters() if "_embedding" not in name}
    sharded = shard(model, sharding=sharding)
    for name, expected in zip(("token", "user"), weights, strict=True):
        assert torch.equal(whole_table(sharded, name), expected)
    assert {name.removeprefix("layer.model.") for name in dense_parameters(sharded)} == dense


def test_the_tables_rate_can_be_set(data: Any, monkeypatch: pytest.MonkeyPatch):
    def trained() -> list[torch.Tensor]:
        training = tiger.Training(tiger.CASES[0], data)
        set_table_rate(training.sharded, 0.03)
        training.train(range(3), 0)
        return training.tables()

    found = trained()
    monkeypatch.setattr(tiger, "RATE", 0.03)
    fresh = tiger.Training(tiger.CASES[0], data)
    for group in fresh.dense.param_groups:
        group["lr"] = 0.1  # the rest of the model's, which the first training had
    fresh.train(range(3), 0)
    for table, expected in zip(found, fresh.tables(), strict=True):
        assert torch.equal(table, expected)


def test_tokens_are_features_of_the_batch(data: Any):
    network = tiger.build(data).network
    pairs = tiger.draw(0, 0)
    batch = tiger.batch_of(pairs)
    ready = with_tokens(batch, network)
    assert ready.features.keys() == ["history_tokens", "target_tokens", "user_bucket", "history", "target"]
    assert torch.equal(ready.target, batch.target)
    assert torch.equal(ready.features["target_tokens"].values().view(-1, 3), network.tokens_of(pairs.target))
    read = network.history_tokens(pairs.history, pairs.length)
    assert torch.equal(ready.features["history_tokens"].to_padded_dense(read.shape[1]), read)
    assert torch.equal(ready.features["user_bucket"].values(), pairs.user % 7)


def test_the_streams_pairs_are_their_users(data: Any):
    stream = data.train.stream
    batches = GenPASStream(stream, batch_size=10, max_length=5, rank=0, world_size=1)
    batch = batches.batch(0, 0)
    store = stream.view.store
    assert len(set(batch.sequence.tolist())) > 1
    for user, target, history in zip(batch.sequence, batch.target, batch.history.to_dense(), strict=True):
        pair = [*history.tolist(), int(target)]
        sequence = store.values[store.offsets[user] : store.offsets[user + 1]].tolist()
        assert any(sequence[at : at + len(pair)] == pair for at in range(len(sequence)))
    drawn = genpas_stage(batches).runnable(next(batches.addresses()))
    assert torch.equal(drawn.sequence, batch.sequence)
    for moved in (batch.to(torch.device("cpu")), batch.pin_memory()):
        assert torch.equal(moved.sequence, batch.sequence)


def test_what_cannot_be(data: Any):
    network = tiger.build(data).network
    pairs = tiger.draw(0, 0)
    with pytest.raises(InputError, match=r"the batch does not say whose its pairs are \(sequence\)"):
        with_tokens(dataclasses.replace(tiger.batch_of(pairs), sequence=None), network)
    with pytest.raises(InputError, match="Item 41 of the batch has no semantic ID: TIGER has IDs of the items 1 "):
        with_tokens(tiger.batch_of(pairs._replace(target=pairs.target * 0 + 41)), network)
    for output in ("gather", "sampled"):
        with pytest.raises(InputError, match=f"output is '{output}', but TIGER's output layer is over the codes"):
            shard(tiger.build(data), output=output)
    with pytest.raises(InputError, match=r"token table \(12 × 8\) and the user table \(7 × 8\) row_wise .* 608 bytes"):
        shard(tiger.build(data), memory_per_rank=607)
    model = tiger.build(data)
    sharded = shard(model, memory_per_rank=608)
    with pytest.raises(InputError, match="TIGER is sharded already"):
        shard(model)
    with pytest.raises(InputError, match="TIGER has no output layer over items"):
        own_rows(sharded)
    with pytest.raises(InputError, match=r"knows the items 1 to 40; the data have the items 1 to 39"):
        check_catalogue(sharded, 39)
    with pytest.raises(RuntimeError, match="were not looked up for this batch"):
        model.network.token_embedding(torch.ones(2, dtype=torch.int64))


def test_sharded_windows_have_the_loss_of_single_pairs(data: Any, tmp_path: Path):
    causal = tiger.prepared(tmp_path, tiger.CASES[1], encoder="causal", genpas="multi_target")
    view = causal.train.stream.view
    stream = window_stream(view, SamplingPolicy.named("multi_target"), max_length=tiger.MAX_LENGTH, seed=3)
    batch = GenPASStream(stream, batch_size=12, max_length=tiger.MAX_LENGTH, rank=0, world_size=1).batch(0, 0)
    assert len(batch.target) > len(batch)
    sharded = shard(tiger.build(causal), targets="parallel")
    layer = layer_of(sharded)
    with torch.no_grad():
        step = sharded(layer.with_features(batch))
        network, items = tiger.build(causal).network, batch.history.to_padded_dense(tiger.MAX_LENGTH)
        losses = network(items[batch.row], batch.place + 1, batch.target, batch.sequence[batch.row])
    torch.testing.assert_close(step.output, losses, rtol=0, atol=1e-5)
    torch.testing.assert_close(step.loss, (batch.weights * losses).sum() / len(batch), rtol=0, atol=1e-5)
    with pytest.raises(InputError, match=r"its encoder reads later items too\. Set encoder: causal"):
        shard(tiger.build(data), targets="parallel")
