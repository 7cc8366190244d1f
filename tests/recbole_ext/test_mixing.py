"""BASRec around RecBole's models: their own loss stays, mixtures come beside it, and nothing else changes."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from recbole.config import Config
from recbole.model.sequential_recommender import SASRec
from recbole.quick_start import load_data_and_model, run_recbole
from recbole.trainer import Trainer
from recbole.utils import get_model

from genpas_plugins import InputError
from genpas_plugins.neural.basrec import losses
from genpas_plugins.neural.basrec.step_draws import Cross, View
from genpas_plugins.settings.mixing import MixingConfig
from recbole_ext import mixing
from recbole_ext.mixing import BASRecLoss
from recbole_ext.trimming import TrimmedLoss

MODELS = ("SASRec", "GRU4Rec", "FMLPRec")
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0, "dropout_prob": 0.0}
BASREC = {"method": "basrec", "warmup_epochs": 1}
AT_ONCE = {"method": "basrec", "warmup_epochs": 0}
STRATEGIES: dict[str, Any] = {
    "stock": None,
    "last_target": "last_target",
    "multi_target": "multi_target",
    "slide_window": "slide_window",
    "sampled": {"strategy": "sampled", "alpha": 1, "beta": 0, "gamma": 1, "pairs_per_epoch": 64},
}


@pytest.fixture
def made(prepare: Callable[..., Any]) -> Callable[..., tuple[BASRecLoss, Any]]:
    """Return `made(model, genpas, **settings)`: the loss around an untrained model in training mode, and a batch."""

    def of(name: str, genpas: Any = "multi_target", **changes: Any) -> tuple[BASRecLoss, Any]:
        prepared = prepare(genpas, name, mixing=AT_ONCE, **{**NO_DROPOUT, **changes})
        data = prepared.train._dataset
        model = get_model(name)(prepared.config, data).train()
        section = MixingConfig.from_mapping(prepared.config["mixing"])
        return BASRecLoss(prepared.config, section, model, data), next(iter(prepared.train))

    return of


def shares_of(value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every λ be `value`, and every r one half."""
    view, cross = losses.draw_view, losses.draw_cross

    def draw_view(*given: Any) -> View:
        drawn = view(*given)
        return drawn._replace(share=torch.full_like(drawn.share, value), rate=torch.full_like(drawn.rate, 0.5))

    def draw_cross(*given: Any) -> Cross:
        drawn = cross(*given)
        return drawn._replace(share=torch.full_like(drawn.share, value))

    monkeypatch.setattr(losses, "draw_view", draw_view)
    monkeypatch.setattr(losses, "draw_cross", draw_cross)


@pytest.mark.parametrize("loss", ["CE", "BPR"])
@pytest.mark.parametrize("name", MODELS)
def test_with_shares_of_one_every_part_is_the_plain_loss(
    name: str, loss: str, made: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    shares_of(1.0, monkeypatch)
    basrec_loss, batch = made(name, loss_type=loss)
    plain = basrec_loss.model.calculate_loss(batch)
    own, views, cross = basrec_loss(batch)
    assert torch.equal(own, plain)
    torch.testing.assert_close(views, 2 * plain, rtol=1e-6, atol=0)
    torch.testing.assert_close(cross, 3 * plain, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", MODELS)
def test_with_shares_of_zero_a_view_is_the_changed_history(
    name: str, made: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    shares_of(0.0, monkeypatch)
    changed = []
    original = losses.changed_histories
    monkeypatch.setattr(losses, "changed_histories", lambda *given: changed.append(original(*given)) or changed[-1])
    basrec_loss, batch = made(name)
    views = basrec_loss(batch)[1]
    assert len(changed) == 2 and not torch.equal(changed[0], batch["item_id_list"])
    expected = torch.zeros(())
    for histories in changed:
        batch.interaction["item_id_list"] = histories
        expected = expected + basrec_loss.model.calculate_loss(batch)
    torch.testing.assert_close(views, expected)


@pytest.mark.parametrize("name", MODELS)
def test_gradients_of_every_part_reach_every_parameter_that_the_plain_loss_reaches(name: str, made: Callable[..., Any]):
    basrec_loss, batch = made(name)
    names = [key for key, value in basrec_loss.model.named_parameters() if value.requires_grad]
    for part in basrec_loss(batch):
        basrec_loss.model.zero_grad()
        part.backward(retain_graph=True)
        grads = dict(basrec_loss.model.named_parameters())
        assert all(
            torch.isfinite(grads[key].grad).all() and grads[key].grad.any() for key in names if "bias" not in key
        )


@pytest.mark.parametrize("loss", ["CE", "BPR"])
@pytest.mark.parametrize("name", ["SASRec", "GRU4Rec"])
def test_trimmed_histories_have_the_losses_and_gradients_of_padded_ones(name: str, loss: str, made: Callable[..., Any]):
    negatives = {} if loss == "CE" else {"train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}}
    settings = {"loss_type": loss, "MAX_ITEM_LIST_LENGTH": 50, "train_batch_size": 64, **negatives}
    mixing, batch = made(name, {"strategy": "slide_window", "trim": True}, **settings)
    lengths = batch["item_length"]
    assert 8 < lengths.max() == batch["item_id_list"].shape[1] and lengths.min() < 8, "groups of several lengths"

    def measured(*, trim: bool) -> tuple[list[float], list[torch.Tensor]]:
        mixing.plain.trim = trim
        mixing.start_epoch(0)
        mixing.model.zero_grad()
        parts = mixing(batch)
        sum(parts).backward()
        return [part.item() for part in parts], [p.grad.clone() for p in mixing.model.parameters()]

    (parts, slopes), (expected, expected_slopes) = measured(trim=True), measured(trim=False)
    assert parts == pytest.approx(expected, rel=1e-5)
    for slope, wanted in zip(slopes, expected_slopes, strict=True):
        torch.testing.assert_close(slope, wanted, rtol=1e-3, atol=1e-6)


def test_with_trim_the_first_stage_is_trimmed_and_the_second_mixes(
    prepare: Callable[..., Any], calls: Callable[..., list[str]]
):
    prepared = prepare({"strategy": "multi_target", "trim": True}, mixing=BASREC, epochs=2)
    called = calls(TrimmedLoss, BASRecLoss)
    trainer = Trainer(prepared.config, get_model("SASRec")(prepared.config, prepared.train._dataset))
    for epoch in range(2):
        trainer._train_epoch(prepared.train, epoch)
    assert [*dict.fromkeys(called)] == ["TrimmedLoss", "BASRecLoss"]
    assert called.count("BASRecLoss") == len(prepared.train)


def test_nothing_stays_on_the_model(made: Callable[..., Any]):
    basrec_loss, batch = made("SASRec")
    model = basrec_loss.model
    attributes, state = set(vars(model)), set(model.state_dict())
    basrec_loss(batch)
    assert set(vars(model)) == attributes and set(model.state_dict()) == state
    assert not model.item_embedding._forward_hooks


def test_a_step_repeats_whatever_was_drawn_before(made: Callable[..., Any]):
    basrec_loss, batch = made("SASRec")
    basrec_loss.start_epoch(4)
    first, second = basrec_loss(batch), basrec_loss(batch)
    torch.rand(3)
    basrec_loss.start_epoch(4)
    again = basrec_loss(batch)
    assert [part.item() for part in again] == [part.item() for part in first]
    assert second[1].item() != first[1].item() and second[2].item() != first[2].item()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_it_trains_under_every_strategy(strategy: str, settings: dict[str, Any]):
    genpas = {"genpas": STRATEGIES[strategy]} if STRATEGIES[strategy] else {}
    changes = {**genpas, "mixing": AT_ONCE}
    result = run_recbole("SASRec", "tiny", config_dict={**settings, **changes})
    assert all(math.isfinite(value) for value in result["test_result"].values())


@pytest.mark.parametrize("name", MODELS)
def test_the_first_stage_is_plain_training(name: str, prepare: Callable[..., Any]):
    def trained(**changes: Any) -> tuple[dict[str, Any], Any, Any]:
        prepared = prepare("multi_target", name, epochs=2, **changes)
        torch.manual_seed(0)
        trainer = Trainer(prepared.config, get_model(name)(prepared.config, prepared.train._dataset))
        first = trainer._train_epoch(prepared.train, 0)
        state = {key: value.clone() for key, value in trainer.model.state_dict().items()}
        return state, first, trainer._train_epoch(prepared.train, 1)

    stock, stock_first, stock_second = trained()
    ours, first, second = trained(mixing=BASREC)
    assert first == stock_first and all(torch.equal(stock[key], ours[key]) for key in stock)
    assert isinstance(stock_second, float)
    assert len(second) == 3 and second[2] > 2 * second[0]  # the plain loss, two views, three cross losses


def test_early_stopping_counts_from_the_second_stage_on(prepare: Callable[..., Any], monkeypatch: pytest.MonkeyPatch):
    two_stages = {"method": "basrec", "warmup_epochs": 4}
    prepared = prepare("multi_target", "SASRec", stopping_step=1, epochs=20, mixing=two_stages)
    trainer = Trainer(prepared.config, SASRec(prepared.config, prepared.train._dataset))
    epochs: list[int] = []
    monkeypatch.setattr(trainer, "_valid_epoch", lambda *_, **__: (-len(epochs), {}))  # each worse than the last
    trainer.fit(
        prepared.train, prepared.valid, saved=False, verbose=False, callback_fn=lambda epoch, _: epochs.append(epoch)
    )
    assert epochs[-1] == 5  # the second without progress, counted from epoch 4


def test_a_checkpoint_loads_and_evaluates_as_the_model_did(prepare: Callable[..., Any], tmp_path: Path):
    prepared = prepare("multi_target", "SASRec", mixing=BASREC, epochs=2, checkpoint_dir=str(tmp_path))
    trainer = Trainer(prepared.config, SASRec(prepared.config, prepared.train._dataset))
    trainer.fit(prepared.train, prepared.valid, verbose=False)
    expected = trainer.evaluate(prepared.test)
    config, model, *_, test = load_data_and_model(trainer.saved_model_file)
    assert config["mixing"] == prepared.config["mixing"]
    assert Trainer(config, model).evaluate(test, load_best_model=False) == expected


def test_without_the_key_a_trainer_gets_no_loss_of_ours(prepare: Callable[..., Any], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mixing, "BASRecLoss", lambda *_: pytest.fail("mixing without the key"))
    prepared = prepare("multi_target")
    Trainer(prepared.config, SASRec(prepared.config, prepared.train._dataset)).fit(prepared.train, saved=False)


@pytest.mark.parametrize(
    ("model", "changes", "message"),
    [
        ("SASRec", {"mixing": {"method": "basrec", "crosss": 1}}, "config_dict: mixing has no key 'crosss'.*'cross'"),
        ("SASRec", {"mixng": "basrec"}, "config_dict: there is no key 'mixng'. Did you mean 'mixing'"),
        ("SASRec", {"mixing": None}, "mixing must hold keys such as"),
        ("SASRec", {"mixing": "basrec", "mixing_vews": 1}, "config_dict: mixing has no key 'vews'.*'views'"),
        ("SASRec", {"mixing_views": 1}, "config_dict: mixing: method is missing"),
        ("SASRec", {"mixng_views": 1}, "config_dict: there is no key 'mixng_views'. Did you mean 'mixing'"),
        ("SASRec", {"mixing": "basrec"}, "mixing would never begin: warmup_epochs is 20, epochs 1"),
        ("BPR", {"mixing": "basrec"}, "not possible with BPR: it is not a sequential model"),
        ("Caser", {"mixing": "basrec"}, "not possible with Caser: it has no forward.item_seq, item_seq_len."),
        ("BERT4Rec", {"mixing": "basrec"}, "not possible with BERT4Rec: it has no forward.item_seq, item_seq_len."),
    ],
)
def test_what_cannot_be_mixed_is_refused_before_data_are_read(
    model: str, changes: dict[str, Any], message: str, settings: dict[str, Any]
):
    with pytest.raises(InputError, match=message):
        Config(model, "tiny", config_dict={**settings, **changes})


def test_flat_keys_win_over_the_section(settings: dict[str, Any]):
    flat = {"mixing": {"method": "basrec", "views": 1}, "mixing_warmup_epochs": 0, "mixing_views": 3}
    section = Config("SASRec", "tiny", config_dict={**settings, **flat})["mixing"]
    assert section == MixingConfig(method="basrec", warmup_epochs=0, views=3)


def test_a_model_without_the_table_is_refused(made: Callable[..., Any]):
    with pytest.raises(InputError, match=r"RepeatNet: it has no nn\.Embedding called item_embedding"):
        made("RepeatNet")


def test_a_model_with_another_loss_is_refused(made: Callable[..., Any], monkeypatch: pytest.MonkeyPatch):
    original = SASRec.calculate_loss
    monkeypatch.setattr(SASRec, "calculate_loss", lambda self, batch: original(self, batch) + 1)
    with pytest.raises(InputError, match="SASRec: its loss is not CE of forward's output times item_embedding"):
        made("SASRec")


def test_a_model_that_embeds_something_else_is_refused(made: Callable[..., Any], monkeypatch: pytest.MonkeyPatch):
    original = SASRec.forward

    def forward(self: SASRec, item_seq: torch.Tensor, item_seq_len: torch.Tensor) -> torch.Tensor:
        return original(self, item_seq.clone(), item_seq_len)

    monkeypatch.setattr(SASRec, "forward", forward)
    with pytest.raises(InputError, match="SASRec: its forward does not embed item_seq with item_embedding"):
        made("SASRec")
