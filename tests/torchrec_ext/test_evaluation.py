from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torchrec")
pytest.importorskip("recbole")

import sharded_evaluation as evaluating
import torch
import torch.distributed as dist
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spawned_ranks import run_ranks
from torchrec.distributed.train_pipeline import TrainPipelineSparseDist

from genpas_plugins.neural.layers import ranking_keys
from genpas_plugins.support.errors import InputError
from torchrec_ext import evaluation
from torchrec_ext.batch import PairBatch
from torchrec_ext.evaluation import check_catalogue, evaluate, recbole_state
from torchrec_ext.shard import output_layer, own_rows, shard, with_output_rows
from torchrec_ext.tables import dense_parameters, whole_table


@pytest.fixture(scope="module", autouse=True)
def _world_of_one() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A place for what RecBole writes, with the data set `few`."""
    place = tmp_path_factory.mktemp("evaluation")
    evaluating.write_few(place)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(sys, "argv", ["tests"])  # RecBole's Config reads the command line
        patch.setattr("psutil.cpu_percent", lambda *_, **__: 0.0)
        yield place


def few(directory: Path, **changes: Any) -> Any:
    return evaluating.prepared("few", "SASRec", directory, **changes)


def check_figures(result: dict[str, Any]) -> None:
    for found, expected in zip(result["found"], result["expected"], strict=True):
        assert found == pytest.approx(expected, abs=1e-6)
        assert len(set(expected.values())) > 3  # not all zero
        assert list(found) == list(expected)
    assert result["same_weights"]
    assert result["done"][-1] == result["users"]


@pytest.mark.parametrize("case", [evaluating.CASES[at] for at in (0, 1, 5, 7, 8)], ids=lambda case: case.name)
def test_one_rank_scores_as_recboles_trainer(case: Any, directory: Path):
    check_figures(evaluating.figures(case, directory))


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_together_score_as_recboles_trainer_and_rank_as_a_plain_sort(world_size: int, tmp_path: Path):
    evaluating.write_few(tmp_path)
    run_ranks("sharded_evaluation.py", world_size, tmp_path)
    results = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(world_size)]
    for case in evaluating.cases_of(world_size):
        check_figures(results[0][case.name])
        assert all(result[case.name]["found"] == results[0][case.name]["found"] for result in results)
    assert [result["wrong problems"] for result in results] == [[]] * world_size


def test_top_items_are_a_plain_sorts_ties_by_lower_item(monkeypatch: pytest.MonkeyPatch):
    assert evaluating.wrong_problems(0, 1, range(12)) == []
    monkeypatch.setattr(evaluation, "SCORES_AT_ONCE", 30)  # one or two users at a time
    assert evaluating.wrong_problems(0, 1, range(12, 24)) == []


def test_top_items_are_torch_topks_on_random_scores():
    torch.manual_seed(2)
    rows = torch.randn(300, 8)
    histories = [[item] for item in range(1, 300)]
    sharded = shard(evaluating.LastItem(rows))
    found = evaluating.top_items(sharded, evaluating.jagged(histories), 20)
    expected = (rows[1:] @ rows[1:].T).topk(20)
    assert torch.equal(found.items, expected.indices + 1)
    torch.testing.assert_close(found.scores, expected.values)


@pytest.mark.parametrize("at_once", [evaluation.SCORES_AT_ONCE, 7])
def test_masked_items_are_never_ranked_and_targets_are(at_once: int, directory: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(evaluation, "SCORES_AT_ONCE", at_once)
    config, train, _, test = few(directory, mask_history=True, metric_decimal_place=9)
    model = evaluating.build(config, train)
    data = test._dataset
    with torch.no_grad():
        scores = model.eval().full_sort_predict(data[range(len(data))])
    hits = repeats = 0
    for user, row in zip(data.inter_feat["user"].tolist(), scores, strict=True):
        items = data.store.values[data.store.offsets[user] : data.store.offsets[user + 1]].tolist()
        target, taken = items[-1], set(items[:-1]) - {items[-1]}
        repeats += target in items[:-1]
        ranked = sorted({1, 2, 3} - taken, key=lambda item, row=row: -row[item])
        hits += ranked[0] == target
    found = evaluate(shard(model), test, config)
    assert found["recall@1"] == pytest.approx(hits / len(data))
    assert found["recall@3"] == 1  # the target is always ranked
    assert repeats
    plain = evaluate(shard(evaluating.build(config, train)), few(directory, metric_decimal_place=9)[3], config)
    assert found["recall@1"] > plain["recall@1"]


SPECIAL = [0.0, -0.0, math.inf, -math.inf, 1.0, -1.0, 2.0**-149, -(2.0**-149), 2.0**127]


@given(
    scores=st.lists(
        st.lists(st.sampled_from(SPECIAL) | st.floats(width=32, allow_nan=False), min_size=7, max_size=7), min_size=1
    ),
    k=st.integers(1, 7),
    blocks=st.sampled_from([[7], [3, 4], [1, 0, 6], [2, 2, 2, 1]]),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_keys_of_any_blocks_merge_to_the_ranking_of_the_whole(scores: list[list[float]], k: int, blocks: list[int]):
    starts = [sum(blocks[:at]) for at in range(len(blocks))]
    parts = torch.tensor(scores).split(blocks, dim=1)
    keys = [ranking_keys.top_keys(part, start + 1, k) for part, start in zip(parts, starts, strict=True)]
    found = ranking_keys.read_keys(torch.cat(keys, 1).topk(k).values)
    for row, items, best in zip(scores, found.items.tolist(), found.scores.tolist(), strict=True):
        expected = sorted(range(1, 8), key=lambda item, row=row: (-row[item - 1], item))[:k]
        assert items == expected
        assert best == [row[item - 1] for item in expected]


def test_scores_that_are_no_numbers_rank_first_by_item():
    signs = torch.tensor([[1.0, math.nan, -math.inf, -math.nan, 2.0, math.nan]])
    found = ranking_keys.read_keys(ranking_keys.top_keys(signs, 1, 2))
    assert found.items.tolist() == [[2, 4]]
    assert found.scores.isnan().all()


def test_metrics_of_the_whole_catalogue_are_recboles(directory: Path):
    names = ["ItemCoverage", "AveragePopularity", "ShannonEntropy", "GiniIndex", "TailPercentage"]
    config, train, valid, _ = few(directory, metrics=tuple(names), valid_metric="ItemCoverage@2")
    model = evaluating.build(config, train).eval()
    # RecBole's trainer cannot compute them: its collector asks a count for `.cpu()`.
    struct = evaluation.DataStruct()
    with torch.no_grad():
        scores = model.full_sort_predict(valid._dataset[range(len(valid._dataset))])
    struct.set("rec.items", scores[:, 1:].topk(3).indices + 1)
    struct.set("data.num_items", valid._dataset.item_num)
    struct.set("data.count_items", train._dataset.item_counter)
    expected = evaluation.Evaluator(config).evaluate(struct)
    sharded = shard(model)
    assert evaluate(sharded, valid, config, item_counts=train._dataset.item_counter) == pytest.approx(expected)
    with pytest.raises(InputError, match="AveragePopularity, TailPercentage needs the number of times"):
        evaluate(sharded, valid, config)


@pytest.mark.parametrize("mask_history", [False, True])
def test_recboles_own_dataset_is_evaluated_too(mask_history: bool, directory: Path):
    config, train, valid, _ = few(directory, genpas=None, mask_history=mask_history)
    model = evaluating.build(config, train)
    expected = evaluating.recbole_figures(config, model, train, valid)
    assert evaluate(shard(model), valid, config) == pytest.approx(expected, abs=1e-6)


def test_training_goes_on_as_if_there_had_been_no_evaluation(directory: Path):
    config, train, valid, _ = few(directory)

    def trained(evaluated: bool) -> torch.Tensor:
        sharded = shard(evaluating.build(config, train), optimizer="adagrad", learning_rate=0.1)
        output_layer(sharded).model.LayerNorm.eval()  # frozen by its owner
        modes = [module.training for module in sharded.modules()]
        rows = own_rows(sharded)
        pairs = PairBatch.of(
            torch.tensor([1, 2, 3, 3, 1]), torch.tensor([0, 2, 5]), torch.tensor([3, 2]), torch.arange(2), 0
        )
        source = iter([with_output_rows(pairs, "all", rows)] * 6)
        dense = torch.optim.SGD(dense_parameters(sharded).values(), lr=0.1)
        pipeline = TrainPipelineSparseDist(sharded, dense, torch.device("cpu"), execute_all_batches=True)
        torch.manual_seed(1)  # dropout draws from here
        for step in range(6):
            pipeline.progress(source)
            if evaluated and step == 2:
                with pytest.raises(InputError, match="detach"):
                    evaluate(sharded, valid, config)
                pipeline.detach()
                assert evaluate(sharded, valid, config)
                pipeline.attach(sharded)
            assert [module.training for module in sharded.modules()] == modes
        return whole_table(sharded)

    after = trained(evaluated=True)
    assert torch.equal(after, trained(evaluated=False))
    assert not torch.equal(after, evaluating.build(config, train).item_embedding.weight)


@pytest.mark.parametrize("output", ["vocab_parallel", "sampled"])
def test_a_model_evaluated_first_trains_as_one_that_was_not(output: str, directory: Path):
    config, train, valid, _ = few(directory)

    def trained(evaluated: bool) -> torch.Tensor:
        sharded = shard(evaluating.build(config, train), output=output, optimizer="sgd", learning_rate=0.1)
        if evaluated:
            evaluate(sharded, valid, config)
        pairs = PairBatch.of(
            torch.tensor([1, 2, 3, 3, 1]), torch.tensor([0, 2, 5]), torch.tensor([3, 2]), torch.arange(2), 0
        )
        rows = ("negatives", torch.tensor([1, 3])) if output == "sampled" else ("all", own_rows(sharded))
        torch.manual_seed(1)
        sharded(with_output_rows(pairs, *rows)).loss.backward()
        return whole_table(sharded)

    assert torch.equal(trained(evaluated=True), trained(evaluated=False))


def test_fbgemms_count_of_steps_stands_still_while_evaluating():
    sharded = shard(evaluating.LastItem(torch.randn(9, 4)))
    counts = evaluation._step_counts(sharded)
    assert counts  # a renamed count would be missed
    with evaluation._evaluating(sharded):
        for count in counts:
            count.add_(3)  # what a lookup does where the optimizer is Adam, which needs CUDA
    assert [int(count) for count in counts] == [0] * len(counts)


def test_the_state_is_a_copy():
    sharded = shard(evaluating.LastItem(torch.randn(9, 4)))
    state = recbole_state(sharded)
    assert set(state) == {"item_embedding.weight", "scale"}
    state["scale"].add_(1)
    state["item_embedding.weight"].add_(1)
    assert recbole_state(sharded)["scale"] == 1
    assert not torch.equal(whole_table(sharded), state["item_embedding.weight"])


def test_the_catalogue_must_be_the_tables():
    sharded = shard(evaluating.LastItem(torch.randn(9, 4)))
    check_catalogue(sharded, 8)
    for n_items in (7, 9):
        with pytest.raises(InputError, match=rf"knows the items 1 to 8; the data have the items 1 to {n_items}"):
            check_catalogue(sharded, n_items)


def test_more_items_than_there_are():
    for k in (0, 9):
        with pytest.raises(InputError, match=rf"The {k} best items are asked for \(topk\); the catalogue has 8"):
            evaluation._check_k(k, 9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metrics": ("AUC", "NDCG", "LogLoss")}, "metrics: AUC, LogLoss cannot be computed for a sharded model"),
        ({"metrics": ("NCDG",)}, "metrics: 'NCDG' is unknown. Did you mean 'ndcg'"),
        ({"topk": (1, 4)}, r"The 4 best items are asked for \(topk\); the catalogue has 3"),
    ],
)
def test_settings_that_cannot_be(changes: dict[str, Any], message: str, directory: Path):
    config, train, valid, _ = few(directory)
    sharded = shard(evaluating.build(config, train))
    with pytest.raises(InputError, match=message):
        evaluate(sharded, valid, {**config.final_config_dict, **changes})


def test_data_that_cannot_be(directory: Path):
    config, train, valid, _ = few(directory)
    with pytest.raises(InputError, match="the data have the items 1 to 3"):
        evaluate(shard(evaluating.LastItem(torch.randn(9, 4))), valid, config)
    sharded = shard(evaluating.build({**config.final_config_dict, "MAX_ITEM_LIST_LENGTH": 2}, train))
    with pytest.raises(InputError, match="histories have up to 10 items, but the model takes 2"):
        evaluate(sharded, valid, config)
    sampled = evaluating.prepared(
        "few", "SASRec", directory, eval_args=Settings(split={"LS": "valid_and_test"}, order="TO", mode="uni2")
    )
    with pytest.raises(InputError, match=r"ranking, but eval_args has mode .*uni2"):
        evaluate(sharded, sampled[2], sampled[0])


class Settings(dict):  # type: ignore[type-arg]
    """A dictionary that `cache` takes."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(str(self))
