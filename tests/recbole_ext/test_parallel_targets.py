"""`targets: parallel` and `trim`: the expected gradient is that of single targets; wrong models are refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction
from recbole.model.sequential_recommender import SASRec
from recbole.quick_start import run_recbole
from recbole.utils import get_model, get_trainer
from torch import Tensor

from genpas_plugins import InputError, Pairs, SamplingPolicy
from genpas_plugins.sampling.chained_windows import ChainedWindows, Segments, cut_segments
from genpas_plugins.sampling.gather import gather_padded
from genpas_plugins.sampling.windows import TargetWindows, WindowStream
from recbole_ext.dataloader import TARGET_WEIGHT, TARGETS
from recbole_ext.models.contract import TRIM, require
from recbole_ext.parallel_targets import OwnWindowLoss, WindowLoss
from recbole_ext.trimming import TrimmedLoss
from tests.chain_law import dense_weights, segments

POLICIES = [
    *map(SamplingPolicy.named, ("last_target", "multi_target", "slide_window")),
    SamplingPolicy(1, 0, 0),
    SamplingPolicy(2, 1, 0),
    SamplingPolicy(-0.7, 0.4, -1.3),
    SamplingPolicy(0.3, -1.1, 2.2),
    SamplingPolicy(0, 0, math.inf),
    SamplingPolicy(1, -math.inf, 0),
]
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0, "dropout_prob": 0.0}
SMALL = {"hidden_size": 8, "embedding_size": 8, "inner_size": 16, "train_batch_size": 32}


def section(policy: SamplingPolicy, **more: Any) -> dict[str, Any]:
    if policy.strategy != "sampled":
        return {"strategy": policy.strategy, **more}
    return {"strategy": "sampled", "alpha": policy.alpha, "beta": policy.beta, "gamma": policy.gamma, **more}


def pairs_with_probability(prepared: Any, policy: SamplingPolicy) -> tuple[Pairs, np.ndarray]:
    """Every pair of the training view and its probability, by enumeration."""
    view = prepared.train._dataset.training_view()
    every = [(s, j, k) for s, n in enumerate(view.lengths().tolist()) for k in range(1, n) for j in range(k)]
    pairs = Pairs(*np.array(every, np.int64).T)
    return pairs, np.exp(policy.log_prob(view, pairs))


def windows_with_probability(prepared: Any, policy: SamplingPolicy) -> tuple[TargetWindows, np.ndarray]:
    """Every window that the stream can draw and how many of them an example has on average."""
    stream = prepared.train.stream
    assert isinstance(stream, WindowStream)
    if policy.strategy != "sampled":
        n = stream.size
        return stream.windows(0, np.arange(n)), np.full(n, 1 / n)
    assert isinstance(stream, ChainedWindows)
    law = segments(stream.view, policy, stream.max_length)
    sequence, start, first, last = np.array(list(law), np.int64).T
    cut = cut_segments(Segments(np.arange(len(law)), sequence, start, first, last), stream.max_length)
    windows = stream.target_windows(cut)
    return windows._replace(example=np.arange(len(windows.example))), np.array(list(law.values()))[windows.example]


def gradient(model: Any, loss: Tensor) -> Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])


@pytest.mark.parametrize("max_length", [3, 50])
@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.label)
@pytest.mark.parametrize(("name", "loss_type"), [("SASRec", "CE"), ("GRU4Rec", "CE"), ("SASRec", "BPR")])
def test_the_expected_gradient_is_that_of_single_targets(
    prepare: Callable[..., Any], name: str, loss_type: str, policy: SamplingPolicy, max_length: int
) -> None:
    changes = {**NO_DROPOUT, **SMALL, "loss_type": loss_type, "MAX_ITEM_LIST_LENGTH": max_length}
    prepared = prepare(section(policy, targets="parallel"), name, **changes)
    dataset = prepared.train._dataset
    torch.manual_seed(3)
    model = get_model(name)(prepared.config, dataset).double().train()

    def negative_of(items: Tensor) -> Tensor:
        return items % (model.n_items - 1) + 1

    pairs, probability = pairs_with_probability(prepared, policy)
    drawn = probability > 0
    single = dataset.windows_of_pairs(Pairs(*(part[drawn] for part in pairs)))
    hidden, table = model(single[model.ITEM_SEQ], single[model.ITEM_SEQ_LEN]), model.item_embedding.weight
    items = single[model.ITEM_ID]
    if loss_type == "CE":
        losses = torch.nn.functional.cross_entropy(hidden @ table.T, items, reduction="none")
    else:
        margin = (hidden * (table[items] - table[negative_of(items)])).sum(1)
        losses = -torch.log(1e-10 + torch.sigmoid(margin))
    expected = torch.from_numpy(probability[drawn]) @ losses

    windows, chance = windows_with_probability(prepared, policy)
    batch = prepared.train.interaction(prepared.train.stream.batch_of(windows))
    # A batch is a mean over its windows; here each counts as often as it is drawn.
    weight = batch[TARGET_WEIGHT].double() * torch.from_numpy(chance * len(chance))[:, None]
    batch.update(Interaction({TARGET_WEIGHT: weight, model.NEG_ITEM_ID: negative_of(batch[TARGETS])}))
    found = WindowLoss(prepared.config, model)(batch)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(gradient(model, found), gradient(model, expected), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["SASRec", "GRU4Rec", "NARM"])
def test_a_trimmed_and_grouped_batch_has_the_loss_of_the_padded_one(prepare: Callable[..., Any], name: str) -> None:
    changes = {**NO_DROPOUT, "dropout_probs": [0.0, 0.0], "MAX_ITEM_LIST_LENGTH": 40}
    padded, trimmed = (
        next(iter(prepare({"strategy": "multi_target", "trim": trim}, name, **changes).train)) for trim in (False, True)
    )
    prepared = prepare("multi_target", name, **changes)
    torch.manual_seed(3)
    model = get_model(name)(prepared.config, prepared.train._dataset).double().train()
    assert padded[model.ITEM_SEQ].shape[1] == 40
    assert trimmed[model.ITEM_SEQ].shape[1] == trimmed[model.ITEM_SEQ_LEN].max()
    expected, found = model.calculate_loss(padded), TrimmedLoss(model)(trimmed)
    torch.testing.assert_close(gradient(model, found), gradient(model, expected), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("genpas", [{"trim": True}, {"targets": "parallel"}], ids=["trim", "parallel"])
@pytest.mark.parametrize("name", ["SASRec", "GRU4Rec"])
def test_full_ranking_in_groups_gives_the_scores_of_the_padded_batch(
    prepare: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, name: str, genpas: dict[str, Any]
) -> None:
    changes = {**NO_DROPOUT, "MAX_ITEM_LIST_LENGTH": 40, "mask_history": True}
    widths: list[int] = []

    def scores(section: dict[str, Any]) -> tuple[Tensor, Tensor]:
        prepared = prepare({"strategy": "multi_target", **section}, name, **changes)
        torch.manual_seed(3)
        model = get_model(name)(prepared.config, prepared.train._dataset).double().eval()
        own = model.forward
        monkeypatch.setattr(model, "forward", lambda seq, n: [widths.append(seq.shape[1]), own(seq, n)][1])
        trainer = get_trainer(prepared.config["MODEL_TYPE"], name)(prepared.config, model)
        trainer.tot_item_num = prepared.valid._dataset.item_num
        with torch.no_grad():
            trainer._full_sort_batch_eval(next(iter(prepared.valid)))  # before the first batch the model is checked
            widths.clear()
            interaction, found, _, _ = trainer._full_sort_batch_eval(next(iter(prepared.valid)))
        assert "full_sort_predict" not in vars(model)
        return interaction[model.ITEM_SEQ_LEN], found

    lengths, padded = scores({})
    assert widths == [40]
    _, grouped = scores(genpas)
    assert len(widths) > 1 and max(widths) == lengths.max() < 40
    torch.testing.assert_close(grouped, padded, rtol=1e-12, atol=1e-12)


def test_a_model_that_ranks_by_more_than_its_histories_is_not_trimmed(prepare: Callable[..., Any]) -> None:
    class RanksByPadding(SASRec):  # type: ignore[misc]
        def full_sort_predict(self, interaction: Interaction) -> Tensor:
            return super().full_sort_predict(interaction) + interaction[self.ITEM_SEQ].shape[1]

    prepared = prepare("multi_target")
    for model_class in (SASRec, RanksByPadding):
        model = model_class(prepared.config, prepared.train._dataset)
        with nullcontext() if model_class is SASRec else pytest.raises(InputError, match="padded less far"):
            require(model, TRIM, "CE")


def test_a_batch_of_windows_has_the_targets_of_a_batch_of_pairs(prepare: Callable[..., Any]) -> None:
    prepared = prepare({"strategy": "sampled", "alpha": 1, "beta": 0, "gamma": 0, "targets": "parallel"}, **SMALL)
    loader = prepared.train
    counts = [int((batch[TARGET_WEIGHT] > 0).sum()) for _ in range(20) for batch in loader]
    assert np.mean(counts) == pytest.approx(32, rel=0.15)
    batch = next(iter(loader))
    store, limit = loader._dataset.store, loader._dataset.max_item_list_len
    windows = loader.stream.windows(20, loader.indices(0))
    expected = gather_padded(store.values, store.offsets, windows.pairs, limit, trim=True)
    assert np.array_equal(batch["item_id_list"], expected.history)
    # The target at a place is the item one step on.
    following = np.zeros_like(expected.history)
    following[:, :-1] = expected.history[:, 1:]
    following[np.arange(len(following)), expected.length - 1] = expected.target
    trained = dense_weights(windows) > 0
    assert np.array_equal(batch[TARGETS], np.where(trained, following, 0))
    # The mean over the windows of a batch is the mean over its examples.
    examples = len(loader.indices(0))
    assert len(np.unique(windows.example)) == examples <= len(trained)
    weight = len(trained) / examples / loader.stream.targets_per_example
    assert batch[TARGET_WEIGHT].numpy() == pytest.approx(trained * weight)


def test_negatives_are_drawn_for_every_target(prepare: Callable[..., Any]) -> None:
    batch = next(iter(prepare({"strategy": "multi_target", "targets": "parallel"}, loss_type="BPR").train))
    chosen = batch[TARGET_WEIGHT] > 0
    negatives = batch["neg_item_id"]
    assert negatives.shape == chosen.shape
    assert (negatives[chosen] > 0).all() and (negatives[chosen] != batch[TARGETS][chosen]).all()


@pytest.mark.parametrize("name", ["SASRec", "GRU4Rec"])
def test_a_model_learns_in_parallel_and_its_report_says_so(settings: dict[str, Any], name: str) -> None:
    result = run_recbole(
        name,
        "tiny",
        config_dict={
            **settings,
            "genpas": {"strategy": "multi_target", "targets": "parallel"},
            "epochs": 2,
        },
    )
    assert result["trained_on"]["targets"] == "parallel"
    assert result["trained_on"]["pairs_per_epoch"] > result["trained_on"]["windows_per_epoch"] > 0


@pytest.mark.parametrize(
    ("name", "targets", "words"),
    [
        ("FMLPRec", "parallel", "FMLPRec"),
        ("STAMP", "parallel", "STAMP"),
        (
            "NARM",
            "parallel",
            "NARM: its forward does not give every position of a history a vector of its own. Set targets: single",
        ),
        ("BERT4Rec", "parallel", "BERT4Rec"),
        ("Caser", "parallel", "Caser"),
        ("Caser", "single", "Caser"),
    ],
)
def test_a_model_that_cannot_is_refused_before_it_trains(
    settings: dict[str, Any], name: str, targets: str, words: str
) -> None:
    changed = {
        **settings,
        "genpas": {"strategy": "multi_target", "targets": targets, "trim": True},
    }
    with pytest.raises(InputError, match=words):
        run_recbole(name, "tiny", config_dict=changed)


@pytest.mark.parametrize("max_length", [3, 50])
@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.label)
def test_the_expected_gradient_of_tiger_is_that_of_single_targets(
    prepare: Callable[..., Any], policy: SamplingPolicy, max_length: int
) -> None:
    pytest.importorskip("transformers", reason="TIGER's blocks are those of transformers")
    size = {"d_model": 8, "num_heads": 2, "head_size": 4, "d_ff": 8, "encoder_layers": 2, "decoder_layers": 1}
    changes = {**size, "levels": 2, "codes": 4, "dropout": 0.0, "encoder": "causal", "user_buckets": 3}
    changes |= {"train_batch_size": 32, "MAX_ITEM_LIST_LENGTH": max_length}
    prepared = prepare(section(policy, targets="parallel"), "TIGER", **changes)
    dataset = prepared.train._dataset
    torch.manual_seed(3)
    model = get_model("TIGER")(prepared.config, dataset).double().train()

    pairs, probability = pairs_with_probability(prepared, policy)
    drawn = probability > 0
    single = dataset.windows_of_pairs(Pairs(*(part[drawn] for part in pairs)))
    fields = (model.ITEM_SEQ, model.ITEM_SEQ_LEN, model.ITEM_ID, model.USER_ID)
    losses = model.network(*(single[field] for field in fields))  # padded, through transformers' own blocks
    expected = torch.from_numpy(probability[drawn]) @ losses.double()

    windows, chance = windows_with_probability(prepared, policy)
    batch = prepared.train.interaction(prepared.train.stream.batch_of(windows))
    weight = batch[TARGET_WEIGHT].double() * torch.from_numpy(chance * len(chance))[:, None]
    batch.update(Interaction({TARGET_WEIGHT: weight}))
    batch.kept[TARGET_WEIGHT] = weight
    found = OwnWindowLoss(prepared.config, model)(batch)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(gradient(model, found), gradient(model, expected), rtol=1e-6, atol=1e-6)
