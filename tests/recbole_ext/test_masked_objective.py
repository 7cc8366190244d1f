"""BERT4Rec under the `genpas` key: masked places, their targets, the rate in the report, and training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from recbole.utils import get_model

from genpas_plugins import InputError
from recbole_ext.dataloader import Step
from recbole_ext.trained_on import trained_on

MASK = {"operator": "mask", "rate": 0.4}


@pytest.mark.parametrize("length", [4, 20])
def test_masked_places_have_their_items_as_targets(prepare: Callable[..., Any], length: int) -> None:
    genpas = {"strategy": "multi_target", "augment": MASK}
    prepared = prepare(genpas, "BERT4Rec", MAX_ITEM_LIST_LENGTH=length)
    train, dataset = prepared.train, prepared.train._dataset
    plain = prepare("multi_target", "SASRec", MAX_ITEM_LIST_LENGTH=length).train
    token, masked_histories = dataset.item_num, 0
    for batch, unmasked in zip(train, plain, strict=True):
        for row in range(len(batch)):
            n, items = int(unmasked["item_length"][row]), unmasked["item_id_list"][row].tolist()
            history = items[:n][-(length - 1) :] if n == length else items[:n]
            whole = [*history, int(unmasked["item_id"][row])]
            found = batch["Mask_item_id_list"][row].tolist()
            assert found[len(whole) :] == [0] * (length - len(whole))
            places = [place for place in range(len(whole)) if found[place] == token]
            assert places[-1] == len(whole) - 1
            assert all(found[place] == whole[place] for place in range(len(whole)) if place not in places)
            masked_histories += len(places) > 1
            trained = batch["MASK_INDEX"][row] > 0
            assert batch["MASK_INDEX"][row][trained].tolist() == [place for place in places if place]
            assert batch["Pos_item_id"][row][trained].tolist() == [whole[place] for place in places if place]
    assert masked_histories


def test_the_rate_is_recboles_own_without_the_operator_and_is_reported(prepare: Callable[..., Any]) -> None:
    prepared = prepare("multi_target", "BERT4Rec", mask_ratio=0.3, ft_ratio=0.25)
    report = trained_on(prepared.train)
    assert report["augment"] == [{"operator": "mask", "rate": 0.3, "probability": 0.75}]
    once, again = next(iter(prepared.train)), prepared.train.collate_fn(Step(0, 0))
    assert torch.equal(once["Mask_item_id_list"], again["Mask_item_id_list"])
    model = get_model("BERT4Rec")(prepared.config, prepared.train._dataset)
    loss = model.calculate_loss(once)
    loss.backward()
    assert torch.isfinite(loss) and model.item_embedding.weight.grad.abs().sum() > 0


def test_a_loss_with_negatives_is_refused(prepare: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match="loss_type: CE alone"):
        prepare("multi_target", "BERT4Rec", loss_type="BPR")
