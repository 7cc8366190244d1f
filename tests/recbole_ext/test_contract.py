"""The contract of models: each condition finds a model that breaks it, and the report says what can be used."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from recbole.model.sequential_recommender import SASRec
from torch import Tensor

from genpas_plugins import InputError
from recbole_ext import models
from recbole_ext.model_report import report
from recbole_ext.models.contract import CAPABILITIES, PARALLEL, TRIM, Offers, require, why_not

USABLE = {
    "SASRec": {*CAPABILITIES},
    "GRU4Rec": {*CAPABILITIES},
    "FMLPRec": {*CAPABILITIES} - {PARALLEL},
    "NARM": {*CAPABILITIES} - {PARALLEL},
    "STAMP": {"loss", "mixing", "personaliser"},
    "Caser": set(),
    "BERT4Rec": set(),
    "CL4SRec": set(),
    "DuoRec": set(),
    "InfAE": {TRIM},
    "MELT": set(),
    "BPR": set(),
}


class OtherArguments(SASRec):
    def forward(self, items: Tensor, lengths: Tensor) -> Tensor:
        return super().forward(items, lengths)


class TwiceTheLoss(SASRec):
    def calculate_loss(self, interaction: Any) -> Tensor:
        return 2 * super().calculate_loss(interaction)


class TwoPasses(SASRec):
    def calculate_loss(self, interaction: Any) -> Tensor:
        self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        return super().calculate_loss(interaction)


class LooksAhead(SASRec):
    def get_attention_mask(self, item_seq: Tensor, bidirectional: bool = False) -> Tensor:
        return super().get_attention_mask(item_seq, bidirectional=True)


class ReadsPadding(SASRec):
    def forward(self, item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
        return super().forward(item_seq, item_seq_len) + item_seq.shape[1]


class SumOfLosses(SASRec):
    def calculate_loss(self, interaction: Any) -> Tensor:
        return super().calculate_loss(interaction) * len(interaction)


class EmbedsCopies(SASRec):
    def forward(self, item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
        return super().forward(item_seq.clone(), item_seq_len)


class Raises(SASRec):
    def forward(self, item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
        raise RuntimeError("sizes differ\nand more")


BREAKS: dict[str, tuple[type[SASRec], str, str]] = {
    "reads_histories": (OtherArguments, "CE", "it has no forward(item_seq, item_seq_len)"),
    "has_item_loss": (TwiceTheLoss, "CE", "its loss is not CE of forward's output times item_embedding"),
    "has_softmax_loss": (SASRec, "BPR", "its loss_type is 'BPR', not CE"),
    "is_causal": (LooksAhead, "CE", "its output at a position depends on later items: it is not causal"),
    "ignores_padding": (ReadsPadding, "CE", "it computes something else for a history that is padded less far"),
    "has_mean_loss": (SumOfLosses, "CE", "its loss of a batch is not the mean of the losses of single histories"),
    "embeds_histories": (EmbedsCopies, "CE", "its forward does not embed item_seq with item_embedding as it is given"),
}


@pytest.fixture(scope="module")
def made(prepare: Callable[..., Any]) -> Callable[..., SASRec]:
    """Return `made(model_class, loss_type)`: a small untrained model."""

    def of(kind: type[SASRec], loss_type: str = "CE") -> SASRec:
        prepared = prepare("multi_target", loss_type=loss_type)
        torch.manual_seed(1)
        return kind(prepared.config, prepared.train._dataset)

    return of


CONDITIONS = [(feature, each.__name__) for feature, needed in CAPABILITIES.items() for each in needed.conditions]


@pytest.mark.parametrize(("feature", "condition"), CONDITIONS)
def test_a_model_that_breaks_one_condition_cannot_use_the_feature(
    made: Callable[..., SASRec], feature: str, condition: str
):
    if condition == "has_item_table":
        model, loss_type, reason = made(SASRec), "CE", "it has no nn.Embedding called item_embedding"
        model.item_embedding = torch.nn.Identity()
    else:
        kind, loss_type, reason = BREAKS[condition]
        model = made(kind, loss_type)
    assert why_not(model, feature, loss_type) == reason
    with pytest.raises(InputError) as refused:
        require(model, feature, loss_type)
    name = type(model).__name__
    assert str(refused.value) == f"{feature} is not possible with {name}: {reason}. {CAPABILITIES[feature].advice}"


@pytest.mark.parametrize("feature", CAPABILITIES)
def test_what_a_model_raises_is_a_reason(made: Callable[..., SASRec], feature: str):
    found = why_not(made(Raises), feature, "CE")
    assert found == "it does not take histories of any length (RuntimeError: sizes differ)"


@pytest.mark.parametrize("feature", ["mixing", "personaliser"])
def test_a_loss_of_two_passes_cannot_be_taken_apart(made: Callable[..., SASRec], feature: str):
    assert why_not(made(TwoPasses), feature, "CE") is not None
    assert why_not(made(TwoPasses), "trim: true", "CE") is None


@pytest.mark.parametrize("feature", CAPABILITIES)
def test_a_probed_model_is_left_as_it_was(made: Callable[..., SASRec], feature: str):
    model = made(SASRec).train()
    attributes = dict(vars(model))
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    assert why_not(model, feature, "CE") is None
    assert model.training and vars(model) == attributes
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in weights.items())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("model", USABLE)
def test_the_report_lists_what_a_model_can_use(model: str):
    reasons = report(model)
    assert {feature for feature, reason in reasons.items() if reason is None} == USABLE[model]
    assert {*reasons} == {*CAPABILITIES}


def test_the_report_is_a_command(capsys: pytest.CaptureFixture[str]):
    from typer.testing import CliRunner

    from genpas_plugins.cli import app

    shown = CliRunner().invoke(app, ["doctor", "--model", "NARM"])
    as_json = CliRunner().invoke(app, ["doctor", "--model", "NARM", "--json"])
    assert "sharding           yes\n" in shown.stdout and "targets: parallel  no: its forward does" in shown.stdout
    features = cast(dict[str, Any], json.loads(as_json.stdout))["features"]
    assert features["sharding"] == {"usable": True, "reason": None} and not features[PARALLEL]["usable"]
    wrong = CliRunner().invoke(app, ["doctor", "--model", "NARN"])
    assert wrong.exit_code == 2


def test_tiger_offers_all_that_generic_code_asks_for():
    tiger = models.MODELS["TIGER"].TIGER
    offered = {name for name in {*vars(Offers), *Offers.__annotations__} if not name.startswith("_")}
    assert len(offered) == 8
    assert all(hasattr(tiger, name) for name in offered)


def test_every_model_of_ours_is_a_file_and_a_yaml():
    for name, module in models.MODELS.items():
        assert getattr(module, name).__module__ == f"recbole_ext.models.{name.lower()}"
