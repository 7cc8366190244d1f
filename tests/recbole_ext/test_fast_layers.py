"""Less work in SASRec's layers; that outputs and gradients stay is held where they are used, in parallel and trim."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from recbole.utils import get_model
from torch.nn import functional

from genpas_plugins.support.override import override, recorded
from recbole_ext.fast_layers import fast_layers, last_position, reads_last_position


@pytest.mark.parametrize("name", ["SASRec", "CL4SRec"])
def test_sasrecs_last_block_is_fed_one_position_a_history(prepare: Callable[..., Any], name: str) -> None:
    prepared = prepare("multi_target", name, MAX_ITEM_LIST_LENGTH=9)
    model = get_model(name)(prepared.config, prepared.train._dataset).double().eval()
    batch = next(iter(prepared.train))
    given = batch[model.ITEM_SEQ], batch[model.ITEM_SEQ_LEN]
    assert reads_last_position(model) == (name == "SASRec")
    expected = model(*given)
    with last_position(model), recorded(model.trm_encoder.layer[-1].feed_forward, "forward") as calls:
        torch.testing.assert_close(model(*given), expected)
    assert {arguments[0].shape[1] == 1 for arguments, _ in calls} == {name == "SASRec"}
    torch.testing.assert_close(model(*given), expected)
    with override(model, get_attention_mask=lambda items: type(model).get_attention_mask(model, items, True)):
        expected = model(*given)
        with last_position(model):
            torch.testing.assert_close(model(*given), expected)


def test_torchs_gelu_takes_the_place_of_the_written_out_one_for_a_block(prepare: Callable[..., Any]) -> None:
    prepared = prepare("multi_target", "SASRec")
    model = get_model("SASRec")(prepared.config, prepared.train._dataset)
    layers = [block.feed_forward for block in model.trm_encoder.layer]
    values = torch.linspace(-9, 9, 99, dtype=torch.float64)
    own = layers[0].intermediate_act_fn
    with fast_layers(model):
        assert all(layer.intermediate_act_fn is functional.gelu for layer in layers)
        torch.testing.assert_close(functional.gelu(values), own(values))
    assert layers[0].intermediate_act_fn == own
    layers[0].intermediate_act_fn = functional.relu
    with fast_layers(model):
        assert layers[0].intermediate_act_fn is functional.relu
