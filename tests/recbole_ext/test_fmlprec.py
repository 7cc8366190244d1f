"""FMLP-Rec in RecBole: where a history stands in the window, what its filters are, and that it learns."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from recbole.config import Config
from recbole.model.loss import BPRLoss
from recbole.quick_start import run_recbole
from recbole.utils import get_model

from genpas_plugins import InputError
from recbole_ext.models.fmlprec import FilterLayer, FMLPRec, align_right

LENGTH = 5


@pytest.fixture
def made(prepare: Callable[..., Any]) -> Callable[..., tuple[Any, FMLPRec]]:
    """Return `made(**settings)`: what RecBole prepares, and an untrained FMLPRec in evaluation mode."""

    def of(**changes: Any) -> tuple[Any, FMLPRec]:
        prepared = prepare("multi_target", "FMLPRec", **changes)
        return prepared, FMLPRec(prepared.config, prepared.train._dataset).eval()

    return of


def test_recbole_finds_it_with_its_defaults(settings: dict[str, Any]):
    assert get_model("FMLPRec") is FMLPRec
    changes = {name: value for name, value in settings.items() if name not in {"n_layers", "hidden_size", "inner_size"}}
    config = Config("FMLPRec", "tiny", config_dict=changes)
    assert [config[name] for name in ("n_layers", "hidden_size", "inner_size")] == [2, 64, 256]


def test_a_history_ends_at_the_last_position():
    vectors = torch.arange(1.0, 7).reshape(2, 3, 1)
    moved = align_right(vectors, torch.tensor([1, 3]), 4)
    assert moved[..., 0].tolist() == [[0, 0, 0, 1], [0, 4, 5, 6]]


@pytest.mark.parametrize("length", [4, 5])
def test_a_filter_is_a_circular_convolution(length: int):
    layer = FilterLayer(length, 2, dropout=0.0, epsilon=1e-12, deviation=0.5)
    layer.norm = torch.nn.Identity()
    states = torch.randn(3, length, 2, generator=torch.Generator().manual_seed(1))
    # The kernel is what the filter alone is in time; both transforms are orthonormal, so there is no factor.
    kernel = torch.fft.irfft(torch.view_as_complex(layer.filter), n=length, dim=1, norm="backward")[0]
    expected = states.clone()
    for t in range(length):
        for s in range(length):
            expected[:, t] += kernel[(t - s) % length] * states[:, s]
    torch.testing.assert_close(layer(states), expected, rtol=1e-4, atol=1e-5)


def test_what_stands_in_the_padding_does_not_matter(made: Callable[..., Any]):
    prepared, model = made()
    batch = next(iter(prepared.train))
    items, lengths = batch["item_id_list"], batch["item_length"]
    padding = torch.arange(LENGTH) >= lengths[:, None]
    assert padding.any()
    torch.testing.assert_close(model(items.masked_fill(padding, 3), lengths), model(items, lengths))
    longest = int(lengths.max())
    torch.testing.assert_close(model(items[:, :longest], lengths), model(items, lengths))


def test_the_order_of_a_history_matters(made: Callable[..., Any]):
    _, model = made()
    states = model(torch.tensor([[1, 2, 3, 0, 0], [2, 1, 3, 0, 0], [1, 2, 3, 0, 0]]), torch.tensor([3, 3, 3]))
    assert torch.equal(states[0], states[2]) and not torch.allclose(states[0], states[1])


@pytest.mark.parametrize("loss", ["CE", "BPR"])
def test_loss_and_scores_are_those_of_the_state(loss: str, made: Callable[..., Any]):
    prepared, model = made(loss_type=loss)
    batch = next(iter(prepared.train))
    scores = model.full_sort_predict(batch)
    assert scores.shape == (len(batch), prepared.dataset.item_num)
    rows = torch.arange(len(batch))
    torch.testing.assert_close(model.predict(batch), scores[rows, batch["item_id"]])
    expected = (
        torch.nn.functional.cross_entropy(scores, batch["item_id"])
        if loss == "CE"
        else BPRLoss()(scores[rows, batch["item_id"]], scores[rows, batch["neg_item_id"]])
    )
    torch.testing.assert_close(model.calculate_loss(batch), expected)


@pytest.mark.parametrize("genpas", [None, "slide_window"])
@pytest.mark.parametrize("loss", ["CE", "BPR"])
def test_it_trains_and_evaluates(loss: str, genpas: str | None, settings: dict[str, Any]):
    changes = {"loss_type": loss, **({"genpas": genpas} if genpas else {})}
    changes |= {"train_neg_sample_args": {"distribution": "uniform"}} if loss == "BPR" else {}
    result = run_recbole("FMLPRec", "tiny", config_dict={**settings, **changes})
    assert all(math.isfinite(value) for value in result["test_result"].values())


def test_a_wrong_loss_is_refused(made: Callable[..., Any]):
    with pytest.raises(InputError, match=r"FMLPRec's loss_type is 'BRP'. Did you mean 'BPR'"):
        made(loss_type="BRP")
