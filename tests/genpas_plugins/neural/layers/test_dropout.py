"""Dropout from sixteen bits an element: its shares, its gradient, and where it is lent to a model."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from genpas_plugins.neural.layers.dropout import cheap_dropout, dropout

SIZE = 2**18


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_every_place_of_a_word_is_dropped_as_often_and_the_mean_stays(probability: float) -> None:
    torch.manual_seed(1)
    result = dropout(torch.ones(SIZE), probability)
    # Four elements share a number of 64 bits, and their bits are not to be told from one another.
    lanes = (result == 0).view(-1, 4).float()
    sigma = (probability * (1 - probability) / len(lanes)) ** 0.5
    assert ((lanes.mean(0) - probability).abs() < 5 * sigma).all()
    together = torch.corrcoef(lanes.T) - torch.eye(4)
    assert (together.abs() < 5 / len(lanes) ** 0.5).all()
    assert sorted(set(result.tolist())) == pytest.approx([0, 1 / (1 - probability)], rel=2**-12)
    assert abs(result.mean() - 1) < 5 * (probability / (1 - probability) / SIZE) ** 0.5


def test_in_half_precision_it_is_torchs_dropout_but_for_the_draws() -> None:
    ones = torch.ones(SIZE, dtype=torch.bfloat16)
    assert set(dropout(ones, 0.1).tolist()) == set(functional.dropout(ones, 0.1).tolist())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(3, 5, 7), (1,), (0, 4)])
def test_the_gradient_is_the_factor(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    torch.manual_seed(2)
    values = torch.rand(shape).add(1).to(dtype).requires_grad_()
    result = dropout(values, 0.5)
    assert (result.dtype, result.shape) == (dtype, values.shape)
    (gradient,) = torch.autograd.grad(result.sum(), values)
    assert set(gradient.flatten().tolist()) <= {0.0, 2.0}
    torch.testing.assert_close(result, values * gradient)


def test_a_transposed_tensor_is_dropped_element_by_element() -> None:
    torch.manual_seed(3)
    result = dropout(torch.arange(1.0, 41).view(8, 5).T, 0.5)
    expected = torch.arange(1.0, 41).view(8, 5).T
    assert ((result == 0) | (result == 2 * expected)).all() and (result == 0).any() and (result != 0).any()


def test_nothing_and_everything() -> None:
    values = torch.ones(9)
    assert torch.equal(dropout(values, 0.0), values)
    assert not dropout(values, 1.0).any()


def test_the_mask_comes_from_torchs_generator() -> None:
    torch.manual_seed(4)
    state = torch.get_rng_state()
    first, second = dropout(torch.ones(99), 0.5), dropout(torch.ones(99), 0.5)
    torch.set_rng_state(state)
    assert torch.equal(dropout(torch.ones(99), 0.5), first) and not torch.equal(first, second)


def test_it_is_lent_to_layers_in_training_and_taken_back() -> None:
    class Own(nn.Dropout):
        pass

    model = nn.ModuleDict({"a": nn.Dropout(0.5), "b": nn.Dropout(0.5), "c": Own(0.5), "d": nn.Dropout(0.5, True)})
    model["b"].eval()
    with pytest.raises(ZeroDivisionError), cheap_dropout(model):
        assert [name for name, layer in model.items() if "forward" in vars(layer)] == ["a"]
        torch.manual_seed(5)
        lent = model["a"](torch.ones(99))
        torch.manual_seed(5)
        assert torch.equal(lent, dropout(torch.ones(99), 0.5))
        raise ZeroDivisionError
    assert not any("forward" in vars(layer) for layer in model.values())


def test_a_layer_with_a_forward_of_its_own_keeps_it() -> None:
    layer = nn.Dropout(0.5)
    with cheap_dropout(layer):
        with cheap_dropout(layer):
            lent = layer.forward
        assert layer.forward is lent
    assert "forward" not in vars(layer)
