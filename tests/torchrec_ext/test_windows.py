"""Windows, of which every item is a target: the same stream on any ranks, and the training of single pairs."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torchrec")
pytest.importorskip("recbole")

import sharded_training as training
import torch
import torch.distributed as dist
from recbole.model.sequential_recommender.narm import NARM
from torch import Tensor, nn
from torchrec.distributed.train_pipeline import TrainPipelineSparseDist

from genpas_plugins import InputError, SamplingPolicy, SequenceStore, SequenceView, pair_stream
from genpas_plugins.neural.layers import length_groups
from genpas_plugins.sampling.stream import window_stream
from genpas_plugins.sampling.windows import WindowStream
from tests.chain_law import dense_weights
from torchrec_ext.batch import PairBatch, WindowBatch
from torchrec_ext.pipeline_stage import genpas_stage, stage_batches
from torchrec_ext.shard import own_rows, shard, with_output_rows
from torchrec_ext.stream import GenPASStream
from torchrec_ext.tables import dense_parameters, padded_length, whole_table

L = training.MAX_LENGTH
NAMED = ["last_target", "multi_target", "slide_window"]
POLICIES = [*map(SamplingPolicy.named, NAMED), SamplingPolicy(1, 0.5, -0.5)]
IDS = [*NAMED, "sampled"]


@pytest.fixture(scope="module", autouse=True)
def _world_of_one() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def view() -> SequenceView:
    """Sequences shorter and longer than the maximum length, of the models' ten items."""
    lengths = [2, 5, 9, 12, 7, 1]
    items = np.random.default_rng(2).integers(1, training.N_ROWS, sum(lengths))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return SequenceStore.from_arrays(items, offsets, n_items=training.N_ROWS - 1).view()


def windows(policy: SamplingPolicy, pairs_per_epoch: int | None = 90) -> WindowStream:
    return window_stream(view(), policy, max_length=L, seed=7, pairs_per_epoch=pairs_per_epoch)


def ranks(stream: WindowStream, world_size: int, batch_size: int = 10) -> list[GenPASStream]:
    return [
        GenPASStream(stream, batch_size=batch_size, max_length=L, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]


def content(batch: WindowBatch) -> list[tuple[Any, ...]]:
    """Address, history and weighted targets, by place, of each window."""
    targets: list[dict[int, tuple[int, float]]] = [{} for _ in batch.example]
    parts = (batch.row, batch.place, batch.target, batch.weights)
    for row, place, target, weight in zip(*(part.tolist() for part in parts), strict=True):
        targets[row][place] = (target, weight)
    histories = [history.tolist() for history in batch.history.to_dense()]
    address = batch.address[batch.example].tolist()
    return list(zip(address, batch.sequence.tolist(), histories, targets, strict=True))


@pytest.mark.parametrize("policy", POLICIES, ids=IDS)
def test_a_batch_is_the_windows_of_its_step(policy: SamplingPolicy):
    stream = windows(policy)
    store = stream.view.store
    for batches in ranks(stream, 2):
        for step in range(len(batches)):
            address = np.arange(*batches.share(step))
            drawn = stream.windows(1, address)
            (sequence, start, last), _, _, example = drawn
            weight = dense_weights(drawn)
            expected = []
            for at, index in enumerate(address[example].tolist()):
                items = store.values[store.offsets[sequence[at]] : store.offsets[sequence[at] + 1]]
                seen = items[start[at] : last[at] + 1].tolist()
                targets = {
                    place: (item, w) for place, (item, w) in enumerate(zip(seen[1:], weight[at].tolist(), strict=False))
                }
                kept = {place: target for place, target in targets.items() if target[1] > 0}
                expected.append((index, sequence[at], seen[:-1], kept))
            assert content(batches.batch(1, step)) == expected


@pytest.mark.parametrize("policy", POLICIES, ids=IDS)
def test_ranks_together_have_the_windows_of_one_rank(policy: SamplingPolicy):
    stream = windows(policy)
    (alone,) = ranks(stream, 1)
    whole = [window for batch in alone for window in content(batch)]
    assert sorted({window[0] for window in whole}) == list(range(stream.size))
    for world_size in (2, 3):
        together = zip(*ranks(stream, world_size), strict=True)
        assert [window for batches in together for batch in batches for window in content(batch)] == whole


def test_a_batch_moves_pins_and_pickles_whole():
    (batches,) = ranks(windows(POLICIES[2]), 1)
    batch = batches.batch(0, 0)
    batch.record_stream(torch.Stream(device="cpu"))
    for copy in (
        batch.to(torch.device("cpu"), non_blocking=True),
        batch.pin_memory(),
        pickle.loads(pickle.dumps(batch)),
    ):
        assert isinstance(copy, WindowBatch)
        assert content(copy) == content(batch)


@pytest.mark.gpu
def test_a_batch_on_a_device():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    (batches,) = ranks(windows(POLICIES[2]), 1)
    batch = batches.batch(0, 0)
    moved = batch.pin_memory().to(torch.device("cuda"), non_blocking=True)
    moved.record_stream(torch.cuda.current_stream())
    assert moved.place.device.type == "cuda"
    assert content(moved) == content(batch)


def test_a_stream_of_windows_goes_on_where_it_stood():
    stream = windows(POLICIES[3])
    (first,), (second,) = ranks(stream, 1), ranks(stream, 1)
    next(iter(first))
    first.step_done()
    second.load_state_dict(first.state_dict())
    assert content(next(iter(second))) == content(first.batch(0, 1))
    pairs = GenPASStream(pair_stream(view(), POLICIES[3], seed=7, pairs_per_epoch=90), batch_size=8, max_length=L)
    with pytest.raises(InputError, match="lacks windows_per_epoch"):
        second.load_state_dict(pairs.state_dict())


def gradients(batch: PairBatch, model: str, output: str) -> tuple[float, dict[str, Tensor]]:
    """Loss of one batch, and how far one step of plain gradient descent moves everything."""
    sharded = shard(
        training.build(model),
        output=output,
        targets="parallel",
        optimizer="sgd",
        learning_rate=1.0,
        sharding="table_wise",
    )
    before = whole_table(sharded)
    loss = sharded(with_output_rows(batch, "all", own_rows(sharded))).loss
    loss.backward()
    dense = {name: value.grad for name, value in dense_parameters(sharded).items()}
    return float(loss.detach()), {**dense, "table": before - whole_table(sharded)}


@pytest.mark.parametrize("strategy", NAMED)
@pytest.mark.parametrize(("model", "output"), [("SASRec", "vocab_parallel"), ("GRU4Rec", "gather")])
def test_a_pass_over_the_windows_has_loss_and_gradients_of_a_pass_over_the_pairs(
    strategy: str, model: str, output: str
):
    policy = SamplingPolicy.named(strategy)
    of_pairs, of_windows = pair_stream(view(), policy, seed=7), windows(policy, pairs_per_epoch=None)
    pairs = GenPASStream(of_pairs, batch_size=of_pairs.pairs_per_epoch, max_length=L).batch(0, 0)
    every = GenPASStream(of_windows, batch_size=of_windows.size, max_length=L).batch(0, 0)
    assert len(every) <= len(pairs)
    single, parallel = gradients(pairs, model, output), gradients(every, model, output)
    assert parallel[0] == pytest.approx(single[0], abs=1e-6)
    for name, gradient in single[1].items():
        torch.testing.assert_close(parallel[1][name], gradient, atol=1e-6, rtol=1e-5)
    assert float(single[1]["table"].abs().max()) > 1e-2


@pytest.mark.parametrize("model", training.MODELS)
@pytest.mark.parametrize("unit", ["pairs", "windows"])
def test_histories_in_groups_have_the_loss_and_gradients_of_one_padded_batch(
    unit: str, model: str, monkeypatch: pytest.MonkeyPatch
):
    stream = windows(POLICIES[3]) if unit == "windows" else pair_stream(view(), POLICIES[3], seed=7, pairs_per_epoch=90)
    batch = GenPASStream(stream, batch_size=20, max_length=L).batch(0, 0)
    padded = gradients(batch, model, "vocab_parallel")
    monkeypatch.setattr(length_groups, "SHORTEST", 2)
    assert len(length_groups.LengthOrder.of(batch.history.lengths()).groups) > 1
    grouped = gradients(batch, model, "vocab_parallel")
    assert grouped[0] == pytest.approx(padded[0], rel=1e-6)
    for name, gradient in padded[1].items():
        torch.testing.assert_close(grouped[1][name], gradient, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("policy", POLICIES, ids=IDS)
def test_the_stage_draws_the_windows_of_the_stream(policy: SamplingPolicy):
    for batches in ranks(windows(policy), 2):
        staged = stage_batches(batches.addresses(), [genpas_stage(batches)])
        for step, other in enumerate(staged):
            one = batches.batch(0, step)
            assert content(one) == content(other)
            longest = int(one.history.lengths().max())
            assert (one.width, other.width) == (None, min(L, -(-longest // 8) * 8))
            assert longest <= padded_length(one.history.lengths().to("meta"), L, other.width)


def test_a_pipeline_trains_on_windows_as_the_plain_loop():
    (stream,) = ranks(windows(POLICIES[3]), 1)

    def train(pipelined: bool) -> tuple[list[float], Tensor]:
        sharded = shard(training.build(), targets="parallel", optimizer="adagrad", learning_rate=0.1)
        dense = torch.optim.SGD(dense_parameters(sharded).values(), lr=0.1)
        rows, losses = own_rows(sharded), []
        batches = [with_output_rows(stream.batch(0, step), "all", rows) for step in range(len(stream))]
        if pipelined:
            pipeline = TrainPipelineSparseDist(
                sharded,
                dense,
                torch.device("cpu"),
                execute_all_batches=True,
                custom_model_fwd=lambda batch: (sharded(batch).loss,) * 2,
            )
            source = iter(batches)
            losses = [float(pipeline.progress(source).detach()) for _ in batches]
            assert len(pipeline._pipelined_modules) == 1  # the lookup runs ahead of the model
        for batch in () if pipelined else batches:
            dense.zero_grad()
            loss = sharded(batch).loss
            loss.backward()
            dense.step()
            losses.append(float(loss))
        return losses, whole_table(sharded)

    (losses, table), (expected, expected_table) = train(pipelined=True), train(pipelined=False)
    assert losses == pytest.approx(expected, abs=1e-6)
    torch.testing.assert_close(table, expected_table, atol=1e-6, rtol=0)


class Looking(training.SASRec):
    """A SASRec without its causal mask."""

    def get_attention_mask(self, item_seq: Tensor, bidirectional: bool = False) -> Tensor:
        return super().get_attention_mask(item_seq, bidirectional=True)


class Hybrid(training.SASRec):
    """A SASRec with another loss."""

    def calculate_loss(self, interaction: Any) -> Tensor:
        return 2 * super().calculate_loss(interaction)


def test_models_that_cannot_be_trained_on_windows(monkeypatch: pytest.MonkeyPatch):
    for model, message in (
        (Looking, "targets: parallel is not possible with Looking: .* it is not causal. Set targets: single"),
        (NARM, "NARM: its forward does not give every position of a history a vector of its own"),
    ):
        monkeypatch.setitem(training.MODELS, "other", model)
        built = training.build("other", dropout_probs=[0.0, 0.0])
        with pytest.raises(InputError, match=message):
            shard(built, targets="parallel")
        assert isinstance(built.item_embedding, nn.Embedding)  # as it was
        shard(built)  # single targets it can be trained on


@pytest.mark.parametrize("targets", ["single", "parallel"])
def test_a_model_with_another_loss_cannot_be_sharded(monkeypatch: pytest.MonkeyPatch, targets: str):
    monkeypatch.setitem(training.MODELS, "other", Hybrid)
    with pytest.raises(InputError, match="not possible with Hybrid: its loss is not CE of forward's output"):
        shard(training.build("other"), targets=targets)


def test_what_does_not_fit_together_is_refused():
    stream = windows(POLICIES[1])
    with pytest.raises(InputError, match=r"targets 'paralel' is unknown\. Did you mean 'parallel'"):
        shard(training.build(), targets="paralel")
    with pytest.raises(InputError, match=rf"max_length is 9, but the windows were made for {L}"):
        GenPASStream(stream, batch_size=4, max_length=9)
    with pytest.raises(InputError, match="batch_size is 1 windows on all ranks together, too few for 2 ranks"):
        GenPASStream(stream, batch_size=1, max_length=L, rank=0, world_size=2)
    (batches,) = ranks(stream, 1)
    sharded = shard(training.build())
    with pytest.raises(InputError, match="holds windows, and whether the model is causal was not checked"):
        sharded(with_output_rows(batches.batch(0, 0), "all", own_rows(sharded)))


def test_the_checked_model_is_left_as_it_was():
    model = training.build()
    model.device = torch.device("meta")  # where RecBole's configuration sends it, later
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    shard(model, targets="parallel")
    assert model.device == torch.device("meta")
    assert model.training
    assert not model.__dict__.get("gather_indexes")
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_every_pair_of_a_named_strategy_is_trained_with_its_weight():
    """Brute force: the targets of a pass, cut to the maximum length, weigh what their pairs are as often."""
    for strategy in NAMED:
        policy = SamplingPolicy.named(strategy)
        of_pairs, of_windows = pair_stream(view(), policy, seed=7), windows(policy, pairs_per_epoch=None)
        pairs = of_pairs.pairs(0, np.arange(of_pairs.pairs_per_epoch))
        starts = np.maximum(pairs.start, pairs.target - L)
        counts = Counter(zip(pairs.sequence.tolist(), starts.tolist(), pairs.target.tolist(), strict=True))
        (stream,) = ranks(of_windows, 1, batch_size=of_windows.size)
        batch = stream.batch(0, 0)
        start = of_windows.windows(0, batch.address.numpy()).pairs.start
        found = {
            (int(batch.sequence[row]), int(start[row]), int(start[row]) + 1 + place): weight / len(batch)
            for row, place, weight in zip(batch.row.tolist(), batch.place.tolist(), batch.weights.tolist(), strict=True)
        }
        assert found == pytest.approx({pair: count / len(pairs.target) for pair, count in counts.items()}, rel=1e-6)
