"""What is masked from a ranking, against sequences read from the data file by hand."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recbole.config import Config
from recbole.trainer import Trainer
from recbole.utils import get_model

from genpas_plugins import InputError
from recbole_ext.mask_history import history_index

GENPAS = {"strategy": "multi_target"}


def sequences_of(data_path: Path) -> dict[str, list[str]]:
    """Every user's items by their full-precision time, rows of one time in the file's order."""
    lines = (data_path / "tiny" / "tiny.inter").read_text().splitlines()[1:]
    rows = [(float(when), user, item) for user, item, *_, when in (line.split("\t") for line in lines)]
    found = defaultdict(list)
    for _, user, item in sorted(rows, key=lambda row: row[0]):
        found[user].append(item)
    return found


def masked_of(made: Any, loader: Any) -> list[tuple[str, str, frozenset[str]]]:
    """User, target and masked items of every row that the loader yields."""
    users, items = (made.dataset.field2id_token[field] for field in ("user_id", "item_id"))
    rows = []
    for interaction, (place, masked), _, target in loader:
        assert torch.equal(place, place.sort().values)
        for row in range(len(interaction)):
            taken = frozenset(items[masked[place == row].numpy()])
            rows.append((users[interaction["user_id"][row]], items[target[row]], taken))
    return rows


@pytest.mark.parametrize("genpas", [GENPAS, None], ids=["drawn pairs", "stock"])
def test_the_whole_history_is_masked_and_never_the_target(
    genpas: Any, prepare: Callable[..., Any], data_path: Path
) -> None:
    # In RecBole's own order float32 makes times tie, so it is compared on data that RecBole has sorted.
    made = prepare(genpas, mask_history=True, eval_batch_size=7)
    if genpas is None:
        ordered = prepare({**GENPAS, "time_order": "stock"}, mask_history=True)
        store, tokens = ordered.dataset.store, ordered.dataset.field2id_token
        sequences = {
            tokens["user_id"][user]: list(
                tokens["item_id"][store.values[store.offsets[user] : store.offsets[user + 1]]]
            )
            for user in range(1, ordered.dataset.user_num)
        }
    else:
        sequences = sequences_of(data_path)
    repeats = longer = 0
    for loader, held_out in ((made.valid, 2), (made.test, 1)):
        found = masked_of(made, loader)
        assert len(found) == sum(len(items) > held_out + 1 for items in sequences.values())
        for user, target, taken in found:
            history = sequences[user][:-held_out]
            assert target == sequences[user][-held_out]
            assert taken == set(history) - {target}
            repeats += target in history
            longer += len(history) > made.config["MAX_ITEM_LIST_LENGTH"]
    assert repeats and longer


@pytest.mark.parametrize("genpas", [GENPAS, None], ids=["drawn pairs", "stock"])
def test_figures_are_those_of_scores_masked_by_hand(genpas: Any, prepare: Callable[..., Any]) -> None:
    changes = {
        "topk": [1, 5],
        "metrics": ["NDCG", "Recall", "MRR"],
        "valid_metric": "NDCG@5",
        "metric_decimal_place": 9,
    }
    made = prepare(genpas, mask_history=True, **changes)
    torch.manual_seed(5)
    model = get_model("SASRec")(made.config, made.train.dataset)
    with torch.no_grad():
        model.item_embedding.weight.normal_()
    found = Trainer(made.config, model).evaluate(made.test, load_best_model=False)
    data = made.test._dataset
    with torch.no_grad():
        scores = model.eval().full_sort_predict(data[np.arange(len(data))])
    place, masked = history_index(data, np.arange(len(data)))
    gains = []
    for row, target in enumerate(data.inter_feat["item_id"].tolist()):
        taken = {0, *masked[place == row].tolist()}
        ranked = sorted(set(range(data.item_num)) - taken, key=lambda item, row=row: -scores[row, item])
        gains.append(1 / np.log2(2 + ranked.index(target)) if target in ranked[:5] else 0)
    assert found["ndcg@5"] == pytest.approx(np.mean(gains), abs=1e-6)
    plain = prepare(genpas, **changes)
    assert Trainer(plain.config, model).evaluate(plain.test, load_best_model=False)["ndcg@5"] < found["ndcg@5"]


def test_without_the_key_nothing_is_masked(prepare: Callable[..., Any], same_evaluation: Any) -> None:
    for genpas in (None, GENPAS):
        assert {batch[1] for batch in prepare(genpas).test} == {None}
        same_evaluation(prepare(genpas, mask_history=False).test, prepare(genpas).test)


def test_stock_training_batches_stay_as_they_are_but_for_the_row(prepare: Callable[..., Any]) -> None:
    plain, masked = (prepare(None, mask_history=value) for value in (False, True))
    for ours, stock in zip(masked.train, plain.train, strict=True):
        assert set(ours.columns) - set(stock.columns) == {"_store_row"}
        assert all(torch.equal(ours[column], stock[column]) for column in stock.columns)


def test_a_copied_data_set_masks_its_own_rows(prepare: Callable[..., Any]) -> None:
    data = prepare(GENPAS, mask_history=True).test._dataset
    part = copy.copy(data)
    part.inter_feat = data.inter_feat[np.arange(3, 9)]
    for ours, whole in zip(history_index(part, [0, 2]), history_index(data, [3, 5]), strict=True):
        assert torch.equal(ours, whole)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask_history": "yes"}, "config_dict: mask_history must be true or false, not 'yes'"),
        ({"mask_history": 1}, "must be true or false, not 1"),
        ({"mask_histroy": True}, "no key 'mask_histroy'. Did you mean 'mask_history'"),
        ({"MaskHistory": True}, "no key 'MaskHistory'. Did you mean 'mask_history'"),
        (
            {"mask_history": True, "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "uni100"}},
            "eval_args has mode uni100, which ranks a few. Set mode: full",
        ),
        ({"mask_history": True, "benchmark_filename": ["train", "valid", "test"]}, "benchmark_filename names data"),
    ],
)
@pytest.mark.parametrize("genpas", [GENPAS, None], ids=["drawn pairs", "stock"])
def test_what_cannot_be_masked_is_refused(
    genpas: Any, changes: dict[str, Any], message: str, settings: dict[str, Any]
) -> None:
    if "benchmark_filename" in changes and genpas is not None:
        message = "benchmark_filename names data that are cut into pairs"
    given = {**settings, **changes, **({} if genpas is None else {"genpas": genpas})}
    with pytest.raises(InputError, match=message):
        Config("SASRec", "tiny", config_dict=given)


@pytest.mark.parametrize(
    ("model", "message"), [("BPR", "is for sequential models"), ("DIEN", "builds its own data set")]
)
def test_models_whose_history_is_not_ours_to_mask(model: str, message: str, settings: dict[str, Any]) -> None:
    given = {**settings, "mask_history": True, "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}}
    del given["eval_batch_size"]
    if model == "DIEN":
        given |= {"eval_args": {"mode": "full"}, "metrics": ["NDCG"], "valid_metric": "NDCG@10"}
    with pytest.raises(InputError, match=message):
        Config(model, "tiny", config_dict=given)
