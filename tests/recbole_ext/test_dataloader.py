"""The training loader: stock's rows bit for bit, and one stream whoever computes it and wherever it starts."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recbole.data.dataloader import TrainDataLoader
from recbole.data.dataset import SequentialDataset
from recbole.data.utils import get_dataloader
from recbole.model.sequential_recommender import SASRec
from recbole.trainer import Trainer
from recbole.utils import init_seed

from genpas_plugins import Pairs
from genpas_plugins.augment import OPERATORS
from recbole_ext.dataloader import PairDataLoader
from recbole_ext.dataset import ROW

STOCK_ORDER = {"strategy": "multi_target", "time_order": "stock"}
SAMPLED = {"strategy": "sampled", "alpha": 1, "beta": 0, "gamma": 0}
SPLITS = {
    "leave one out": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"},
    "ratio": {"split": {"RS": [0.6, 0.2, 0.2]}, "order": "TO", "group_by": "user", "mode": "uni10"},
    "ratio of all": {"split": {"RS": [0.6, 0.2, 0.2]}, "order": "TO", "group_by": "none", "mode": "full"},
    "in time": {"split": {"TS": [0.6, 0.2, 0.2]}, "order": "TO", "group_by": "user", "mode": "pop10"},
}
# What training and evaluation read; a loader's rows are compared whole, so every column counts in every case.
VARIANTS: dict[str, dict[str, Any]] = {
    "CE": {},
    "BPR": {"loss_type": "BPR"},
    "BPR with 3 negatives by popularity": {
        "loss_type": "BPR",
        "train_neg_sample_args": {"distribution": "popularity", "sample_num": 3},
    },
    "point-wise labels": {"model": "DIN", "train_neg_sample_args": {"distribution": "uniform", "sample_num": 2}}
    | {"metrics": ["AUC"], "valid_metric": "AUC", "eval_args": {**SPLITS["leave one out"], "mode": "uni10"}},
    "mask": {"transform": "mask_itemseq", "mask_ratio": 0.4},
    "inverse": {"transform": "inverse_itemseq"},
    "crop": {"transform": "crop_itemseq", "eta": 0.6},
    "reorder": {"transform": "reorder_itemseq", "beta": 0.6},
    "numerical features": {"numerical_features": ["rating", "weights", "price"]},
    "unused columns": {"unused_col": {"inter": ["timestamp", "tags", "timestamp_list"]}},
    "no features": {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}},
    "filters": {"user_inter_num_interval": "[3,inf)", "rm_dup_inter": "last", "val_interval": {"rating": "[2,inf)"}},
    **{split: {"loss_type": "BPR", "eval_args": SPLITS[split]} for split in SPLITS},
}


def stock_rows(loader: PairDataLoader, step: int) -> np.ndarray[Any, Any]:
    """Return which rows of the data set the pairs of this step of epoch 0 are; stock numbers its rows the same way."""
    pairs = loader.stream.pairs(0, loader.indices(step))
    of_store = loader._dataset.inter_feat[ROW].numpy()
    order = np.argsort(of_store)
    return order[np.searchsorted(of_store, loader._dataset.store.offsets[pairs.sequence] + pairs.target, sorter=order)]


def assert_an_epoch_is_stocks(stock: Any, ours: Any, same: Callable[..., None]) -> None:
    """Assert that every batch of an epoch is, bit for bit, what stock makes of the same rows with the same seed."""
    assert type(stock) is TrainDataLoader and type(ours) is PairDataLoader
    seen = []
    batches = iter(ours)
    for step in range(len(ours)):
        rows = stock_rows(ours, step)
        seen.append(rows)
        init_seed(step, True)
        expected = stock.collate_fn(rows)
        init_seed(step, True)
        same(expected, next(batches))
    assert next(batches, None) is None
    assert len(stock) == len(ours)
    assert np.array_equal(np.sort(np.concatenate(seen)), np.arange(len(stock._dataset)))


@pytest.mark.parametrize("variant", VARIANTS)
def test_batches_are_bit_identical_to_stocks(
    variant: str,
    prepare: Callable[..., Any],
    same: Callable[..., None],
    same_evaluation: Callable[..., None],
):
    stock, ours = prepare(None, **VARIANTS[variant]), prepare(STOCK_ORDER, **VARIANTS[variant])
    assert_an_epoch_is_stocks(stock.train, ours.train, same)
    same_evaluation(stock.valid, ours.valid)
    same_evaluation(stock.test, ours.test)


def test_ml_100k_is_bit_identical_to_stock(
    prepare: Callable[..., Any], same: Callable[..., None], same_evaluation: Callable[..., None]
):
    """One test, because stock prepares ml-100k in a Python loop: the data made once serve loaders for CE and BPR."""
    settings = {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}, "MAX_ITEM_LIST_LENGTH": 10}
    settings |= {"train_batch_size": 4096, "eval_batch_size": 4096}
    stock, ours = (prepare(key, dataset="ml-100k", **settings) for key in (None, STOCK_ORDER))
    assert (len(stock.train.dataset), ours.train.sample_size) == (97171, 97171)
    assert_an_epoch_is_stocks(stock.train, ours.train, same)
    same_evaluation(stock.valid, ours.valid)
    same_evaluation(stock.test, ours.test)
    difference = stock.train.dataset.inter_matrix("csr") != ours.train.dataset.inter_matrix("csr")
    assert difference.nnz == 0
    bpr = {**settings, "loss_type": "BPR", "eval_args": {**SPLITS["leave one out"], "mode": "uni100"}}
    config = prepare(STOCK_ORDER, dataset="ml-100k", **bpr).config
    loaders = []
    for made, kind in ((stock, TrainDataLoader), (ours, PairDataLoader)):
        init_seed(1, True)
        sampler = recbole_samplers(config, made)
        evaluation = get_dataloader(config, "test")(config, made.test.dataset, sampler.set_phase("test"))
        loaders.append((kind(config, made.train.dataset, sampler.set_phase("train")), evaluation))
    assert_an_epoch_is_stocks(loaders[0][0], loaders[1][0], same)
    same_evaluation(loaders[0][1], loaders[1][1])


def recbole_samplers(config: Any, made: Any) -> Any:
    from recbole.data.utils import create_samplers

    return create_samplers(config, made.dataset, [made.train.dataset, made.valid.dataset, made.test.dataset])[0]


def test_without_the_key_everything_is_stock(prepare: Callable[..., Any]):
    made = prepare()
    assert type(made.dataset) is type(made.train.dataset) is SequentialDataset
    assert type(made.train) is TrainDataLoader
    assert "genpas" not in made.config.final_config_dict


@pytest.mark.parametrize("model", ["DIEN"])
def test_without_the_key_models_with_a_data_set_of_their_own_keep_it(model: str, prepare: Callable[..., Any]):
    settings = {"train_neg_sample_args": {"distribution": "uniform"}, "metrics": ["AUC"], "valid_metric": "AUC"}
    assert type(prepare(None, model, **settings).train.dataset).__name__ == f"{model}Dataset"


def test_a_draw_holds_the_items_between_start_and_target(prepare: Callable[..., Any]):
    made = prepare(SAMPLED)
    data = made.train.dataset
    batch = next(iter(made.train))
    pairs = made.train.stream.pairs(0, made.train.indices(0))
    assert pairs.start.any(), "gamma 0 draws short histories too"
    for row, (user, start, target) in enumerate(zip(*pairs, strict=True)):
        items = data.store.values[data.store.offsets[user] : data.store.offsets[user + 1]]
        history = items[start:target][-5:].tolist()
        assert batch["item_id_list"][row].tolist() == history + [0] * (5 - len(history))
        assert (batch["item_id"][row], batch["item_length"][row]) == (items[target], len(history))


def test_no_batch_touches_a_validation_or_test_target(prepare: Callable[..., Any], drawn: Callable[..., Any]):
    made = prepare({**SAMPLED, "beta": float("inf"), "pairs_per_epoch": 5000})
    record = drawn(made.train)
    held_out = {int(row) for part in (made.valid, made.test) for row in part.dataset.inter_feat[ROW]}
    list(made.train)
    offsets = made.dataset.store.offsets
    for _, (sequence, _start, target) in record:
        assert held_out.isdisjoint((offsets[sequence] + target).tolist())
        for user, last in zip(sequence, target, strict=True):
            assert held_out.isdisjoint(range(offsets[user], offsets[user] + last + 1))


@pytest.mark.parametrize("key", [STOCK_ORDER, SAMPLED], ids=lambda key: key["strategy"])
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_no_batch(
    key: dict[str, Any], workers: int, prepare: Callable[..., Any], same: Callable[..., None]
):
    alone, helped = prepare(key), prepare(key, worker=workers)
    for _epoch in range(2):
        for a, b in zip(alone.train, helped.train, strict=True):
            same(a, b)


def test_workers_that_are_spawned_change_no_batch(prepare: Callable[..., Any], same: Callable[..., None]):
    alone, helped = prepare(SAMPLED), prepare(SAMPLED, worker=1)
    helped.train.multiprocessing_context = helped.test.multiprocessing_context = "spawn"
    for a, b in zip(alone.train, helped.train, strict=True):
        same(a, b)
    for (a, *_), (b, *_) in zip(alone.test, helped.test, strict=True):
        same(a, b)


@pytest.mark.parametrize("key", [STOCK_ORDER, {**SAMPLED, "pairs_per_epoch": 101}], ids=lambda key: key["strategy"])
@pytest.mark.parametrize("world_size", [2, 3])
def test_the_parts_of_all_processes_are_the_whole_batch(
    key: dict[str, Any],
    world_size: int,
    prepare: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
):
    batch_size = 6 * world_size
    made = prepare(key, train_batch_size=batch_size)
    size = made.train.sample_size
    assert size % batch_size, "the last batch is to be short"
    parts = []
    made.config["single_spec"], made.config["world_size"] = False, world_size
    for rank in range(world_size):
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        parts.append(list(PairDataLoader(made.config, made.train.dataset, None)))
    whole = list(made.train)
    assert [len(part) for part in parts] == [len(whole)] * world_size
    for step, batch in enumerate(whole):
        share = [part[step] for part in parts]
        assert len({len(piece) for piece in share}) == 1, "DistributedDataParallel waits for everybody"
        for column in batch.columns:
            together = torch.cat([piece[column] for piece in share])
            assert torch.equal(together[: len(batch)], batch[column])
            # Where the last batch does not divide, the first pairs of the epoch fill it up.
            assert torch.equal(together[len(batch) :], whole[0][column][: len(together) - len(batch)])


def test_an_epoch_boundary_is_crossed_the_same_way_from_anywhere(
    prepare: Callable[..., Any], same: Callable[..., None]
):
    through = prepare(SAMPLED)
    batches = [batch for _epoch in range(3) for batch in through.train]
    resumed = prepare(SAMPLED)
    resumed.train.sampler.set_epoch(1)
    for a, b in zip(batches[len(through.train) :], [*resumed.train, *resumed.train], strict=True):
        same(a, b)


def no_dropout(made: Any) -> Trainer:
    """Return a trainer whose result depends on nothing but the batches."""
    init_seed(made.config["seed"], True)
    made.config["hidden_dropout_prob"] = made.config["attn_dropout_prob"] = 0.0
    return Trainer(made.config, SASRec(made.config, made.train.dataset))


@pytest.mark.parametrize("key", [STOCK_ORDER, SAMPLED], ids=lambda key: key["strategy"])
def test_a_resumed_run_trains_on_the_same_pairs_and_ends_with_the_same_weights(
    key: dict[str, Any], prepare: Callable[..., Any], drawn: Callable[..., Any], tmp_path: Path
):
    at_once = prepare(key, epochs=3)
    record = drawn(at_once.train)
    trainer = no_dropout(at_once)
    trainer.fit(at_once.train)
    expected = trainer.model.state_dict()

    first = prepare(key, epochs=2, checkpoint_dir=str(tmp_path / "first"))
    stopped = no_dropout(first)
    stopped.fit(first.train)

    second = prepare(key, epochs=3)
    resumed_record = drawn(second.train)
    resumed = no_dropout(second)
    resumed.resume_checkpoint(stopped.saved_model_file)
    resumed.fit(second.train)

    third = [pairs for epoch, pairs in record if epoch == 2]
    assert {epoch for epoch, _ in record} == {0, 1, 2}
    assert {epoch for epoch, _ in resumed_record} == {2}
    for a, (_, b) in zip(third, resumed_record, strict=True):
        assert np.array_equal(a, b)
    for name, weights in resumed.model.state_dict().items():
        assert torch.equal(weights, expected[name]), name


def test_a_loader_pickles(prepare: Callable[..., Any], same: Callable[..., None]):
    made = prepare(STOCK_ORDER)
    for a, b in zip(made.train, pickle.loads(pickle.dumps(made.train)), strict=True):
        same(a, b)


def test_pairs_outside_an_epoch_are_none_of_the_loaders(prepare: Callable[..., Any]):
    loader = prepare({**SAMPLED, "pairs_per_epoch": 70}).train
    assert [loader.indices(step).tolist() for step in (0, 2)] == [list(range(32)), list(range(64, 70))]
    assert len(loader) == 3 and isinstance(loader.stream.pairs(0, loader.indices(2)), Pairs)


AUGMENT = [
    {"operator": "insert", "rate": 0.5, "probability": 0.7},
    {"operator": "reorder", "rate": 1.0},
    {"operator": "mask", "rate": 0.3},
]


@pytest.mark.parametrize("workers", [0, 2])
def test_augmented_histories_are_the_cores(workers: int, prepare: Callable[..., Any]):
    key = {**SAMPLED, "pairs_per_epoch": 75}
    plain, loader = prepare(key).train, prepare({**key, "augment": AUGMENT}, worker=workers).train
    store, changed = loader._dataset.store, 0
    loader.sampler.set_epoch(1)
    plain.sampler.set_epoch(1)
    for step, (batch, before) in enumerate(zip(loader, plain, strict=True)):
        index = loader.indices(step)
        pairs = loader.stream.pairs(1, index)
        histories = loader.stream.histories(1, index, pairs, 5)
        assert batch["item_length"].tolist() == histories.lengths.tolist()
        for i, length in enumerate(histories.lengths):
            part = slice(histories.offsets[i], histories.offsets[i + 1])
            rows = histories.rows[part]
            assert batch["item_id_list"][i].tolist() == [*histories.items[part].tolist(), *[0] * (5 - length)]
            for field in ("rating", "timestamp", "tags", "weights"):
                column = torch.from_numpy(store.columns[field])
                assert torch.equal(batch[f"{field}_list"][i, :length], column[rows]), field
                assert not batch[f"{field}_list"][i, length:].any(), field
        changed += int((batch["item_id_list"] != before["item_id_list"]).any(dim=1).sum())
        # Nothing but histories changes: users, targets, and what is known of them.
        for column in before.columns:
            if not column.endswith("_list") and column != "item_length":
                assert torch.equal(batch[column], before[column]), column
    assert changed > 40


def test_an_operator_that_does_nothing_changes_no_bit(prepare: Callable[..., Any], same: Callable[..., None]):
    plain = prepare(SAMPLED).train
    for rate, probability in ((0.0, 1.0), (0.5, 0.0)):
        operators = [{"operator": name, "rate": rate, "probability": probability} for name in OPERATORS]
        for batch, expected in zip(prepare({**SAMPLED, "augment": operators}).train, plain, strict=True):
            same(batch, expected)
        plain.sampler.set_epoch(0)


def test_validation_and_test_are_not_augmented(prepare: Callable[..., Any], same: Callable[..., None]):
    plain, made = prepare(SAMPLED), prepare({**SAMPLED, "augment": AUGMENT})
    for phase in ("valid", "test"):
        for batch, expected in zip(getattr(made, phase), getattr(plain, phase), strict=True):
            same(batch[0], expected[0])
