"""Dropout whose masks cost a fraction on a CPU, where torch draws 64 random bits for every element: 16 are enough."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from genpas_plugins.support.override import override

_WORDS = 2**16


def dropout(values: Tensor, probability: float) -> Tensor:
    """Return values, each zero with this probability and otherwise divided by the chance to stay.

    values : float, any shape. On a device other than the CPU this is torch's own dropout.

    On a CPU the probability is rounded to a multiple of 2⁻¹⁶, and the division is by what it is then, so the mean is
    exact up to the rounding of the type. The bits are from torch's generator, four elements from each 64.
    """
    kept = round((1 - probability) * _WORDS)
    if values.device.type != "cpu" or kept in (0, _WORDS):
        return functional.dropout(values, probability)
    # With both ends given: without them, the highest bit of every number is 0.
    numbers = torch.empty(-(-values.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    words = numbers.view(torch.int16)[: values.numel()].view(values.shape)
    # Written as a factor at once: booleans would have to be converted, which takes as long as the bits.
    factor = torch.lt(words, kept - _WORDS // 2, out=torch.empty_like(values))
    return values * factor.mul_(_WORDS / kept)


@contextmanager
def cheap_dropout(model: nn.Module) -> Iterator[None]:
    """Let the `nn.Dropout` layers of a model that is being trained draw as `dropout` does, for a while.

    Layers that somebody has given a `forward` of their own, as this does, keep it.
    """
    layers = [
        layer
        for layer in model.modules()
        if type(layer) is nn.Dropout and layer.training and not layer.inplace and "forward" not in vars(layer)
    ]
    with ExitStack() as stack:
        for layer in layers:
            stack.enter_context(override(layer, forward=partial(dropout, probability=layer.p)))
        yield
