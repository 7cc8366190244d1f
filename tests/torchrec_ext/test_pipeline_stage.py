"""Every composition of the stage with TorchRec's pipelines trains as a plain loop over the stream does."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn
from torchrec import EmbeddingCollection, EmbeddingConfig
from torchrec.distributed.embedding import EmbeddingCollectionSharder
from torchrec.distributed.model_parallel import DistributedModelParallel
from torchrec.distributed.sharding_plan import construct_module_sharding_plan, row_wise
from torchrec.distributed.train_pipeline import (
    EvalPipelineSparseDist,
    StagedTrainPipeline,
    TrainPipelineBase,
    TrainPipelineSparseDist,
)
from torchrec.distributed.types import ShardingPlan
from torchrec.optim.apply_optimizer_in_backward import apply_optimizer_in_backward

from genpas_plugins import SamplingPolicy, SequenceStore, pair_stream
from genpas_plugins.augment import augment_stream
from genpas_plugins.augment.operators.delete import Delete
from torchrec_ext.pipeline_stage import genpas_stage, stage_batches
from torchrec_ext.stream import GenPASStream

CPU = torch.device("cpu")


class Tiny(nn.Module):
    """Scores the target by the mean history and one dense layer."""

    def __init__(self, n_items: int) -> None:
        super().__init__()
        table = EmbeddingConfig(
            name="item",
            num_embeddings=n_items + 1,
            embedding_dim=8,
            feature_names=["history", "target"],
            init_fn=lambda weight: nn.init.normal_(weight, generator=torch.Generator().manual_seed(1)),
        )
        self.items = EmbeddingCollection(tables=[table])
        self.dense = nn.Linear(8, 8)
        nn.init.eye_(self.dense.weight)
        nn.init.zeros_(self.dense.bias)

    def forward(self, batch):
        embedded = self.items(batch.features)
        history = embedded["history"].to_padded_dense(4).mean(dim=1)
        scores = (self.dense(history) * embedded["target"].values()).sum(dim=1)
        return (nn.functional.softplus(-scores) * batch.weights).mean(), (scores, batch.address)


@pytest.fixture(scope="module", autouse=True)
def _group() -> Iterator[None]:
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.fixture(params=["multi_target", "sampled"])
def stream(request, medium: SequenceStore) -> GenPASStream:
    """Five steps an epoch, the last of them short."""
    policy = SamplingPolicy(1, 0, -1) if request.param == "sampled" else SamplingPolicy.named(request.param)
    pairs = pair_stream(medium.leave_last_out().train, policy, seed=7, pairs_per_epoch=75)
    return GenPASStream(pairs, batch_size=16, max_length=4)


def model_and_optimizer() -> tuple[DistributedModelParallel, torch.optim.Optimizer]:
    model = Tiny(30)
    apply_optimizer_in_backward(torch.optim.SGD, model.items.parameters(), {"lr": 0.5})
    sharder = EmbeddingCollectionSharder()
    plan = construct_module_sharding_plan(
        model.items, {"item": row_wise()}, sharder=sharder, local_size=1, world_size=1, device_type="cpu"
    )
    sharded = DistributedModelParallel(model, device=CPU, plan=ShardingPlan({"items": plan}), sharders=[sharder])
    return sharded, torch.optim.SGD([p for name, p in sharded.named_parameters() if "dense" in name], lr=0.1)


def tables(model: nn.Module) -> dict[str, torch.Tensor]:
    state = {}
    for name, value in model.state_dict().items():
        local = value.local_shards()[0].tensor if hasattr(value, "local_shards") else value
        state[name] = local.detach().clone()
    return state


def loop(stream: GenPASStream, batches: Callable, epochs: int = 2):
    """Train by hand; return losses, addresses and the final weights."""
    model, optimizer = model_and_optimizer()
    losses, addresses = [], []
    for _ in range(epochs):
        for batch in batches(stream):
            optimizer.zero_grad()
            loss, (_, address) = model(batch)
            loss.backward()
            optimizer.step()
            stream.step_done()
            losses.append(loss.item())
            addresses.append((batch.epoch, address.tolist()))
    return losses, addresses, tables(model)


def staged(stream: GenPASStream):
    return stage_batches(stream.addresses(), [genpas_stage(stream)])


def check_same(one, other) -> None:
    assert one[:2] == other[:2]
    assert len(one[0]) == 10
    assert one[2].keys() == other[2].keys()
    for name, value in one[2].items():
        assert torch.equal(value, other[2][name]), name


def again(stream: GenPASStream) -> GenPASStream:
    return GenPASStream(stream.stream, batch_size=stream.batch_size, max_length=stream.max_length)


def test_the_plain_loop_learns(stream):
    losses, addresses, _ = loop(stream, iter)
    assert sum(losses[5:]) < sum(losses[:5])
    assert [epoch for epoch, _ in addresses] == [0] * 5 + [1] * 5
    assert stream.state_dict()["epoch"] == 2


def test_the_stage_gives_the_batches_of_the_stream(stream):
    for one, other in zip(stream, staged(again(stream)), strict=True):
        assert one.features.keys() == other.features.keys()
        for get in (lambda b: b.features.values(), lambda b: b.features.lengths(), lambda b: b.address):
            assert torch.equal(get(one), get(other))
        assert torch.equal(one.weights, other.weights)
        assert one.epoch == other.epoch


def test_staged_equal_to_non_pipelined(stream):
    check_same(loop(stream, iter), loop(again(stream), staged))


@pytest.mark.parametrize("pipeline", [TrainPipelineBase, TrainPipelineSparseDist], ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("batches", [iter, staged, lambda s: iter(s.loader(1))], ids=["stream", "stage", "loader"])
def test_train_pipeline_equal_to_non_pipelined(stream, pipeline, batches):
    expected = loop(stream, iter)
    stream = again(stream)
    model, optimizer = model_and_optimizer()
    model.train()
    trainer = pipeline(model, optimizer, CPU)
    addresses, seen = [], []
    hook = model.register_forward_hook(lambda module, args, out: seen.append((args[0].epoch, out[0].item())))
    for _ in range(2):
        source = batches(stream)
        for _ in range(stream.steps_per_epoch):
            addresses.append(trainer.progress(source)[1].tolist())
            stream.step_done()
        with pytest.raises(StopIteration):
            trainer.progress(source)
        trainer.reset()  # TrainPipelineBase remembers that its iterator ended, whatever iterator it is given next
    hook.remove()
    assert (stream.epoch, stream.step) == (2, 0)
    epochs, losses = [epoch for epoch, _ in seen], [loss for _, loss in seen]
    check_same(expected, (losses, list(zip(epochs, addresses, strict=True)), tables(model)))


@pytest.mark.parametrize("batches", [iter, staged], ids=["stream", "stage"])
def test_eval_pipeline_equal_to_non_pipelined(stream, batches):
    model, optimizer = model_and_optimizer()
    model.eval()
    with torch.no_grad():
        expected = [[part.tolist() for part in model(batch)[1]] for batch in stream]
    model, optimizer = model_and_optimizer()
    model.eval()
    evaluator = EvalPipelineSparseDist(model, optimizer, CPU)
    source = batches(again(stream))
    found = []
    with torch.no_grad():
        while True:
            try:
                found.append([part.tolist() for part in evaluator.progress(source)])
            except StopIteration:
                break
    assert found == expected
    assert len(found) == 5


def test_a_staged_pipeline_used_directly(stream):
    pipeline = StagedTrainPipeline([genpas_stage(stream)], compute_stream=torch.Stream(device="cpu"))
    addresses = stream.addresses()
    seen = []
    while (batch := pipeline.progress(addresses)) is not None:
        seen += batch.address.tolist()
    assert seen == list(range(75))


@pytest.mark.gpu
def test_the_stage_gives_the_same_batches_on_a_device(stream):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    on_device = stage_batches(again(stream).addresses(), [genpas_stage(again(stream), "cuda")])
    for one, other in zip(stream, on_device, strict=True):
        assert other.address.is_cuda
        assert torch.equal(one.features.values(), other.features.values().cpu())
        assert torch.equal(one.features.lengths(), other.features.lengths().cpu())
        assert torch.equal(one.address, other.address.cpu())


def test_the_stage_draws_changed_histories(stream: GenPASStream):
    batches = GenPASStream(augment_stream(stream.stream, [Delete(0.5)]), batch_size=16, max_length=4)
    for step, other in enumerate(staged(batches)):
        one = batches.batch(0, step)
        assert torch.equal(one.features.values(), other.features.values())
        assert torch.equal(one.features.lengths(), other.features.lengths())
