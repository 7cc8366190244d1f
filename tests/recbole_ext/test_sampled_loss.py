"""`loss` of the section in RecBole: the loss and gradient of the pairs one by one, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from recbole.quick_start import run_recbole
from recbole.utils import get_model, get_trainer
from torch import Tensor

from genpas_plugins import InputError, Pairs
from recbole_ext.dataloader import TARGET_WEIGHT
from recbole_ext.sampled_loss import SampledLoss, loss_of_epoch

SMALL = {
    **{"hidden_size": 8, "embedding_size": 8, "inner_size": 16, "train_batch_size": 32, "epochs": 1},
    **{
        "hidden_dropout_prob": 0.0,
        "attn_dropout_prob": 0.0,
        "dropout_prob": 0.0,
    },
}
LOSSES = [
    {"name": "sampled_softmax", "negatives": 7},
    {"name": "gbce", "negatives": 5, "calibration": 0.5},
    {"name": "bce", "negatives": 1},
]


def one_target(
    loss: dict[str, Any], state: Tensor, table: Tensor, target: int, *, drawn: list[int], q: Tensor
) -> Tensor:
    """Return the loss of one target, written out."""
    score, k, others = state @ table[target], len(drawn), [j for j in drawn if j != target]
    if loss["name"] == "sampled_softmax":
        return torch.log(score.exp() + sum((state @ table[j]).exp() / (k * q[j]) for j in others)) - score
    alpha, t = k / (len(table) - 1), loss.get("calibration", 0)
    beta = alpha * (t * (1 - 1 / alpha) + 1 / alpha)
    negative = sum(torch.log(1 - torch.sigmoid(state @ table[j])) for j in others)
    return -(beta * torch.log(torch.sigmoid(score)) + negative) / (k + 1)


@pytest.mark.parametrize("way", [{}, {"trim": True}, {"targets": "parallel"}], ids=["single", "trim", "parallel"])
@pytest.mark.parametrize(("name", "loss"), [*(("SASRec", loss) for loss in LOSSES), ("GRU4Rec", LOSSES[0])])
def test_the_gradient_is_that_of_pairs_one_by_one(
    prepare: Callable[..., Any], name: str, loss: dict[str, Any], way: dict[str, Any]
) -> None:
    genpas = {"strategy": "sampled", "alpha": 1, "beta": 0, "gamma": 0, "loss": loss, **way}
    prepared = prepare(genpas, name, **SMALL, MAX_ITEM_LIST_LENGTH=5)
    dataset, stream = prepared.train._dataset, prepared.train.stream
    torch.manual_seed(3)
    model = get_model(name)(prepared.config, dataset).double().train()
    trainer = get_trainer(prepared.config["MODEL_TYPE"], name)(prepared.config, model)
    sampled = loss_of_epoch(trainer, prepared.train, 2)
    assert sampled is loss_of_epoch(trainer, prepared.train, 2) and isinstance(sampled, SampledLoss)
    batch = prepared.train.interaction(stream.batch(0, range(16), 5))
    found = [sampled(batch), sampled(batch)][1]

    # The pairs that the batch trains, with their weights.
    drawn = stream.batch(0, range(16), 5)
    n, rows, offsets = len(drawn.histories.lengths), drawn.targets.rows, drawn.targets.offsets
    sequence = drawn.histories.sequence.repeat(np.diff(offsets))
    target = rows - dataset.store.offsets[sequence]
    pairs = Pairs(sequence, target - 1 - drawn.targets.place, target)
    weights = batch[TARGET_WEIGHT][batch[TARGET_WEIGHT] > 0] / n if "targets" in way else torch.full((n,), 1 / n)
    single = dataset.windows_of_pairs(pairs)
    states, table = model(single[model.ITEM_SEQ], single[model.ITEM_SEQ_LEN]), model.item_embedding.weight
    q = sampled.proposal.log_q.double().exp()
    negatives = sampled.proposal.draw(loss["negatives"], seed=stream.seed, epoch=2, step=1).tolist()
    expected = sum(
        weight * one_target(loss, state, table, item, drawn=negatives, q=q)
        for weight, state, item in zip(weights.double(), states, single[model.ITEM_ID].tolist(), strict=True)
    )
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    ours, theirs = (
        torch.cat([g.flatten() for g in torch.autograd.grad(value, list(model.parameters()))])
        for value in (found, expected)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


def test_a_run_reports_its_loss(settings: dict[str, Any]) -> None:
    genpas = {"strategy": "multi_target", "targets": "parallel", "loss": {"name": "gbce", "negatives": 4}}
    result = run_recbole("SASRec", "tiny", config_dict={**settings, **SMALL, "genpas": genpas}, saved=False)
    assert result["trained_on"]["loss"] == {"name": "gbce", "negatives": 4}
    assert math.isfinite(result["test_result"]["recall@10"])


@pytest.mark.parametrize(
    ("model", "loss", "more", "words"),
    [
        ("SASRec", {"name": "gbc", "negatives": 3}, {}, "Did you mean 'gbce'"),
        ("SASRec", {"name": "gbce"}, {}, "negatives"),
        ("SASRec", {"name": "bce", "negatives": 3, "calibration": 0.5}, {}, "calibration belongs to gbce"),
        ("SASRec", LOSSES[0], {"loss_type": "BPR"}, "Set loss_type: CE"),
        ("SASRec", LOSSES[0], {"mixing": "basrec", "epochs": 30}, "mixing has a loss of its own"),
        ("Caser", LOSSES[0], {}, "loss is not possible with Caser"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(
    prepare: Callable[..., Any], model: str, loss: dict[str, Any], more: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        prepared = prepare({"strategy": "multi_target", "loss": loss}, model, **{**SMALL, **more})
        network = get_model(model)(prepared.config, prepared.train._dataset)
        SampledLoss(prepared.config, network, prepared.train)
