"""TIGER in RecBole: it trains and evaluates as RecBole's own models do, and its scores are one distribution."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers", reason="TIGER's blocks are those of transformers")
pytest.importorskip("faiss", reason="TIGER's own semantic IDs are made with faiss")

import torch
from recbole.config import Config
from recbole.data.interaction import Interaction
from recbole.quick_start import load_data_and_model, run_recbole
from recbole.utils import get_model, get_trainer

from genpas_plugins import InputError
from genpas_plugins.semantic_ids.codebook import SemanticIds
from recbole_ext.models.tiger import TIGER
from recbole_ext.models.tiger_ids import training_sequences
from recbole_ext.models.tiger_trainer import TIGERTrainer
from recbole_ext.training_settings import subset_loader

N_ITEMS = 25
SMALL = {
    "levels": 2,
    "codes": 4,
    "d_model": 8,
    "num_heads": 2,
    "head_size": 4,
    "d_ff": 8,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "beams": 20,
}
SPLIT = {"split": {"LS": "valid_and_test"}, "order": "TO"}
STRATEGIES: dict[str, Any] = {
    "stock": None,
    "last_target": {"strategy": "last_target"},
    "multi_target": {"strategy": "multi_target"},
    "slide_window": {"strategy": "slide_window"},
    "sampled": {"strategy": "sampled", "alpha": 1, "beta": 0, "gamma": 1, "pairs_per_epoch": 64},
}


@pytest.fixture(scope="session")
def tiger(settings: dict[str, Any]) -> dict[str, Any]:
    """Small settings of TIGER on the data set `tiny`."""
    return {**settings, **SMALL}


@pytest.fixture(scope="session")
def made(prepare: Callable[..., Any]) -> Callable[..., tuple[Any, TIGER]]:
    """Return `made(**settings)`: what RecBole prepares, and an untrained TIGER in evaluation mode."""

    def of(genpas: Any = None, **changes: Any) -> tuple[Any, TIGER]:
        prepared = prepare(genpas or STRATEGIES["multi_target"], "TIGER", **{**SMALL, **changes})
        return prepared, TIGER(prepared.config, prepared.train._dataset).eval()

    return of


@pytest.fixture
def saved_ids(tmp_path: Path) -> Callable[..., Path]:
    """Return `saved_ids(without)`: a folder of semantic IDs of the items i24 to i00, in this order, some left out."""

    def of(without: tuple[str, ...] = ()) -> Path:
        items = [f"i{item:02}" for item in reversed(range(N_ITEMS)) if f"i{item:02}" not in without]
        codes = list(product(range(5), range(5)))[: len(items)]
        SemanticIds.of(codes, (5, 5), item_ids=items).save(tmp_path / "ids")
        return tmp_path / "ids"

    return of


def batch_of(loader: Any) -> Interaction:
    return next(iter(loader))[0]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_it_trains_and_evaluates_under_every_strategy(strategy: str, tiger: dict[str, Any]):
    section = STRATEGIES[strategy]
    result = run_recbole("TIGER", "tiny", config_dict={**tiger, **({"genpas": section} if section else {})})
    assert all(math.isfinite(value) for value in result["test_result"].values())
    if section:
        assert result["trained_on"]["strategy"] == strategy and result["trained_on"]["loss"] == "CE"


def test_sampled_evaluation_and_exact_ranking(tiger: dict[str, Any]):
    changes = {"eval_args": {**SPLIT, "mode": "uni20"}, "exact_ranking": True, "user_buckets": 3}
    result = run_recbole("TIGER", "tiny", config_dict={**tiger, **changes, "genpas": STRATEGIES["sampled"]})
    assert 0 <= result["test_result"]["ndcg@10"] <= 1


def test_it_learns_what_always_follows(prepare: Callable[..., Any], tmp_path: Path):
    """Each item is followed by the next one, so a model that reads histories ranks it first."""
    folder = tmp_path / "cycle"
    folder.mkdir()
    rows = [f"u{u}\ti{(u + t) % 12}\t{t}" for u in range(60) for t in range(8)]
    (folder / "cycle.inter").write_text("\n".join(["user_id:token\titem_id:token\ttimestamp:float", *rows]) + "\n")
    result = run_recbole(
        "TIGER",
        "cycle",
        config_dict={
            **SMALL,
            "d_model": 16,
            "dropout": 0.0,
            "beams": 10,
            "data_path": str(tmp_path),
            "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
            "genpas": "multi_target",
            "MAX_ITEM_LIST_LENGTH": 3,  # held-out histories are no longer than those trained on
            "epochs": 20,
            "learning_rate": 0.01,
            "train_batch_size": 60,
            "metrics": ["Recall"],
            "topk": [1],
            "valid_metric": "Recall@1",
            "state": "ERROR",
        },
    )
    assert result["test_result"]["recall@1"] > 0.95


def test_scores_of_all_items_are_one_distribution(made: Callable[..., Any]):
    prepared, model = made(exact_ranking=True)
    scores = model.full_sort_predict(batch_of(prepared.test))
    assert scores.shape == (len(batch_of(prepared.test)), N_ITEMS + 1)
    assert torch.all(scores[:, 0] == -torch.inf)
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(len(scores)))


@pytest.mark.parametrize("user_buckets", [0, 3])
def test_one_score_by_prediction_exact_ranking_and_beams(made: Callable[..., Any], user_buckets: int):
    prepared, model = made(exact_ranking=True, user_buckets=user_buckets)
    batch = batch_of(prepared.test)
    exact = model.full_sort_predict(batch)
    again = batch.repeat_interleave(N_ITEMS + 1)
    again.update(Interaction({"item_id": torch.arange(N_ITEMS + 1).repeat(len(batch))}))
    torch.testing.assert_close(model.predict(again).view_as(exact), exact, atol=1e-5, rtol=0)

    for exact_ranking in (True, False):
        model.settings = model.settings.replaced(exact_ranking=exact_ranking)
        items, scores = model.best_items(batch, N_ITEMS)  # as many beams as items: nothing is missed
        assert torch.equal(items.sort(1).values, torch.arange(1, N_ITEMS + 1).expand(len(batch), -1))
        torch.testing.assert_close(scores, exact.gather(1, items), atol=1e-5, rtol=0)


def test_few_beams_rank_few_items_and_the_rest_not_at_all(made: Callable[..., Any]):
    prepared, model = made(beams=12, topk=[6])
    scores = model.full_sort_predict(batch_of(prepared.test))
    assert torch.all((scores > -torch.inf).sum(1) == 12)


def test_masked_items_take_up_no_beams(made: Callable[..., Any]):
    prepared, model = made(beams=12, topk=[6], mask_history=True)
    model.rows_at_once = 3 * model.settings.beams  # each part of the batch has its own masked items
    trainer = TIGERTrainer(prepared.config, model)
    trainer.tot_item_num = N_ITEMS + 1
    batch = next(iter(prepared.test))
    rows, items = batch[1]
    masked = torch.zeros(len(batch[0]), N_ITEMS + 1, dtype=torch.bool)
    masked[rows, items] = True
    assert masked.any()
    found = trainer._full_sort_batch_eval(batch)[1] > -torch.inf
    assert not (found & masked).any()
    assert torch.equal(found.sum(1), (N_ITEMS - masked.sum(1)).clamp(max=12))
    unmasked = model.full_sort_predict(batch[0]) > -torch.inf
    assert (unmasked & masked).any()  # they would have taken some


def test_trimmed_it_is_refused_before_it_ranks(made: Callable[..., Any]):
    prepared, model = made({"strategy": "multi_target", "trim": True}, mask_history=True)
    with pytest.raises(InputError, match="trim: true is not possible with TIGER"):
        TIGERTrainer(prepared.config, model).evaluate(prepared.test, load_best_model=False)


def test_a_batch_searched_in_parts_is_the_same(made: Callable[..., Any]):
    prepared, model = made()
    batch = batch_of(prepared.test)
    whole = model.full_sort_predict(batch)
    model.rows_at_once = 3 * model.settings.beams
    torch.testing.assert_close(model.full_sort_predict(batch), whole, atol=1e-5, rtol=0)


def test_a_catalogue_smaller_than_the_beams_has_no_dead_beams(made: Callable[..., Any]):
    prepared, model = made(beams=100)
    scores = model.full_sort_predict(batch_of(prepared.test))
    assert torch.all(scores[:, 1:] > -torch.inf) and torch.all(scores[:, 0] == -torch.inf)


def test_ids_of_its_own_are_made_from_training_sequences_alone(made: Callable[..., Any], prepare: Callable[..., Any]):
    prepared, _ = made({"strategy": "multi_target", "time_order": "stock"})
    drawn = training_sequences(prepared.train._dataset)
    store, lengths, whole = drawn.store, drawn.lengths(), np.diff(drawn.store.offsets)
    long = np.flatnonzero(whole > 4)  # RecBole holds out fewer of the shorter ones
    assert len(long) and np.array_equal(lengths[long], whole[long] - 2)

    stock = training_sequences(prepare(None, "TIGER", **SMALL).train._dataset).store
    for user in long:
        kept = store.values[store.offsets[user] : store.offsets[user] + lengths[user]]
        assert stock.values[stock.offsets[user] : stock.offsets[user + 1]].tolist() == kept.tolist()


def test_ids_of_a_file_find_the_items_by_their_source_id(saved_ids: Callable[..., Path], made: Callable[..., Any]):
    prepared, model = made(semantic_ids=str(saved_ids()))
    names = prepared.dataset.field2id_token["item_id"]
    for number in range(1, N_ITEMS + 1):
        place = N_ITEMS - 1 - int(names[number][1:])
        assert model.network.codes[number].tolist() == [place // 5, place % 5]


def test_it_says_which_ids_it_trains_on(saved_ids: Callable[..., Path], made: Callable[..., Any]):
    path = str(saved_ids())
    assert made(semantic_ids=path)[1].trained_on == {"semantic_ids": path, "codes_a_level": [5, 5]}
    _, model = made()
    assert model.trained_on == {"semantic_ids": "training sequences", "codes_a_level": model.sizes.tolist()}


def test_an_index_of_another_tool(made: Callable[..., Any], tmp_path: Path):
    index = {f"i{item:02}": [f"<a_{item % 3}>", f"<b_{item % 4}>"] for item in range(N_ITEMS)}
    (tmp_path / "index.json").write_text(json.dumps(index))
    _, model = made(semantic_ids=str(tmp_path / "index.json"))
    assert model.sizes.tolist()[:2] == [3, 4] and len(model.sizes) == 3
    assert len(torch.unique(model.network.codes[1:], dim=0)) == N_ITEMS


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # RecBole leaves its log open
@pytest.mark.parametrize("source", ["file", "training sequences"])
def test_a_checkpoint_brings_its_ids_along(
    source: str, tiger: dict[str, Any], saved_ids: Callable[..., Path], tmp_path: Path
):
    changes = {"checkpoint_dir": str(tmp_path / "saved"), "genpas": STRATEGIES["sampled"]}
    if source == "file":
        changes["semantic_ids"] = str(saved_ids())
    trained = run_recbole("TIGER", "tiny", config_dict={**tiger, **changes})
    if source == "file":
        (tmp_path / "ids").rename(tmp_path / "elsewhere")
    file = next((tmp_path / "saved").glob("TIGER-*.pth"))
    content = torch.load(file, weights_only=True)
    config, model, _, train_data, _, test_data = load_data_and_model(str(file))
    assert torch.equal(model.network.codes, content["state_dict"]["network.codes"])
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    trainer.eval_collector.data_collect(train_data)
    assert trainer.evaluate(test_data, load_best_model=False) == trained["test_result"]


def test_weights_for_ids_of_another_shape_are_refused(made: Callable[..., Any]):
    _, model = made()
    _, other = made(codes=3)
    with pytest.raises(InputError, match=r"codes a level, this model's.*semantic_ids it was trained with"):
        model.load_state_dict(other.state_dict())


def test_loading_weights_renews_the_tree(made: Callable[..., Any]):
    prepared, model = made(exact_ranking=True)
    batch = batch_of(prepared.test)
    model.full_sort_predict(batch)
    state = model.state_dict()
    shuffled = {**state, "network.codes": torch.cat([state["network.codes"][:1], state["network.codes"][1:].flip(0)])}
    model.load_state_dict(shuffled)
    fresh = TIGER.of_state(prepared.config, prepared.train._dataset, shuffled)
    fresh.load_state_dict(shuffled)
    torch.testing.assert_close(model.full_sort_predict(batch), fresh.eval().full_sort_predict(batch))


def test_validation_is_on_some_users_and_the_test_on_all(
    made: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    prepared, model = made(validation_users=7, epochs=2)
    assert get_trainer(prepared.config["MODEL_TYPE"], "TIGER") is TIGERTrainer
    trainer = TIGERTrainer(prepared.config, model)
    seen: list[list[int]] = []
    rank = model.full_sort_predict
    monkeypatch.setattr(model, "full_sort_predict", lambda batch: seen.append(batch["user_id"].tolist()) or rank(batch))
    with caplog.at_level(logging.INFO):
        trainer.fit(prepared.train, prepared.valid, saved=False)
    assert len(seen) == 2 and seen[0] == seen[1] and len(set(seen[0])) == 7
    assert f"on 7 of {len(prepared.valid._dataset)} users" in caplog.text
    seen.clear()
    trainer.evaluate(prepared.test, load_best_model=False)
    assert sum(map(len, seen)) == len(prepared.test._dataset)


@pytest.mark.parametrize(("decay", "factors"), [(None, [1, 1, 1, 1]), ("linear", [1, 0.75, 0.5, 0.25])])
def test_the_learning_rate_falls_over_the_epochs(made: Callable[..., Any], decay: str | None, factors: list[float]):
    prepared, model = made(learning_rate_decay=decay, learning_rate=0.02, epochs=4, stopping_step=9)
    trainer = TIGERTrainer(prepared.config, model)
    rates: list[float] = []
    record = lambda *_: rates.append(trainer.optimizer.param_groups[0]["lr"])  # noqa: E731
    trainer.fit(prepared.train, prepared.valid, saved=False, callback_fn=record)
    np.testing.assert_allclose(rates, 0.02 * np.array(factors))


@pytest.mark.parametrize("mode", ["full", "uni20"])
@pytest.mark.parametrize("section", [None, "multi_target"])
def test_a_subset_of_a_loader_is_the_loader_for_these_users(mode: str, section: Any, prepare: Callable[..., Any]):
    loader = prepare(section, "TIGER", **SMALL, eval_args={**SPLIT, "mode": mode}).valid
    subset = subset_loader(loader, 5, seed=3)
    whole = {int(row["user_id"]): row for row in (loader._dataset[[i]] for i in range(len(loader._dataset)))}
    rows = [subset._dataset[[i]] for i in range(len(subset._dataset))]
    assert len(rows) == 5 == len({int(row["user_id"]) for row in rows})
    for row in rows:
        same = whole[int(row["user_id"])]
        assert torch.equal(row["item_id_list"], same["item_id_list"]) and torch.equal(row["item_id"], same["item_id"])
    assert len(list(subset)) >= 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"topk": [10, 30]}, r"topk is 30.*20 items of its beams: set beams to 60"),
        ({"beams": 0}, "TIGER's settings: beams must be a whole number from 1 on, not 0"),
        ({"d_model": 0}, "TIGER's settings: d_model must be a whole number from 1 on"),
        ({"levels": 1.5}, "TIGER's settings: levels must be a whole number"),
        ({"user_buckets": -1}, "TIGER's settings: user_buckets must be a whole number from 0 on"),
        ({"validation_users": 0}, "TIGER's settings: validation_users must be a whole number from 1 on"),
        ({"dropout": 1}, "TIGER's settings: dropout must be a number from 0 and below 1, not 1"),
        ({"exact_ranking": "maybe"}, "TIGER's settings: exact_ranking must be true or false, not 'maybe'"),
        ({"semantic_ids": "nowhere"}, "semantic_ids is nowhere, which does not exist"),
        ({"semantic_ids": 3}, "TIGER's settings: semantic_ids must be text, or null, not 3"),
        ({"learning_rate_decay": "cosin"}, "Did you mean 'cosine'"),
        ({"loss_type": "BPR"}, r"loss_type is 'BPR'\. Valid: CE"),
    ],
)
def test_wrong_settings_are_one_sentence_before_any_data_is_read(
    changes: dict[str, Any], message: str, tiger: dict[str, Any]
):
    with pytest.raises(InputError, match=message):
        Config("TIGER", "no-such-data", config_dict={**tiger, **changes})


def test_ids_that_lack_items_name_them(made: Callable[..., Any], saved_ids: Callable[..., Path]):
    with pytest.raises(InputError, match=r"2 of 25 items are missing.*'i0[37]'"):
        made(semantic_ids=str(saved_ids(without=("i03", "i07"))))


def test_a_file_that_holds_no_ids_is_one_sentence(made: Callable[..., Any], tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty holds no semantic IDs"):
        made(semantic_ids=str(tmp_path / "empty"))


def test_recbole_finds_the_model_and_its_defaults(settings: dict[str, Any]):
    assert get_model("TIGER") is TIGER
    config = Config("TIGER", "tiny", config_dict={"data_path": settings["data_path"]})
    assert (config["beams"], config["MAX_ITEM_LIST_LENGTH"], config["loss_type"]) == (50, 20, "CE")
    assert config["train_neg_sample_args"]["distribution"] == "none"


def test_the_configuration_to_copy_is_valid(settings: dict[str, Any]):
    file = Path(__file__).parents[2] / "configs/model/TIGER.yaml"
    config = Config(dataset="tiny", config_file_list=[str(file)], config_dict={"data_path": settings["data_path"]})
    assert config["model"] == "TIGER" and config["beams"] >= 2 * max(config["topk"])


def test_users_of_like_lengths_are_searched_together_and_keep_their_own_answers(made: Callable[..., Any]):
    prepared, model = made(beams=12, topk=[6], eval_batch_size=3 * 12)  # three users a search
    batch = batch_of(prepared.test)
    lengths = batch[model.ITEM_SEQ_LEN]
    assert len(batch) > 6 and not torch.equal(lengths, lengths.sort().values)
    row = torch.arange(len(batch)).repeat_interleave(2)
    without = row, torch.stack([batch["item_id_list"][:, 0], torch.arange(len(batch)) % N_ITEMS + 1], 1).flatten()
    items, scores = model.best_items(batch, 6, without)
    for user in range(len(batch)):
        left_out = without[1][row == user]
        alone = model.best_items(batch[user : user + 1], 6, (torch.zeros_like(left_out), left_out))
        torch.testing.assert_close(scores[user : user + 1], alone[1], rtol=0, atol=1e-5)
        assert torch.equal(items[user : user + 1], alone[0])
        assert not torch.isin(items[user], left_out).any()


def test_it_trains_on_windows_with_a_causal_encoder_alone(tiger: dict[str, Any]):
    section = {"strategy": "sampled", "alpha": 1, "beta": 0, "gamma": 1, "targets": "parallel"}
    result = run_recbole("TIGER", "tiny", config_dict={**tiger, "encoder": "causal", "genpas": section})
    assert result["trained_on"]["targets"] == "parallel" and math.isfinite(result["test_result"]["ndcg@10"])
    with pytest.raises(InputError, match=r"TIGER: its encoder reads later items too\. Set encoder: causal"):
        run_recbole("TIGER", "tiny", config_dict={**tiger, "genpas": section})
