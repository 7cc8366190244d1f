"""Dropout with cheap masks on a CPU. torch draws 64 random bits an element where 16 are enough."""

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
    """Set each value to zero with this probability or else divide it by the probability to stay.

    On a CPU the probability is rounded to a multiple of 2⁻¹⁶. The division uses the rounded probability and the
    mean is exact. On other devices this is torch's own dropout.
    """
    kept = round((1 - probability) * _WORDS)
    if values.device.type != "cpu" or kept in (0, _WORDS):
        return functional.dropout(values, probability)
    # Without both ends, torch leaves the highest bit of every number 0.
    numbers = torch.empty(-(-values.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    words = numbers.view(torch.int16)[: values.numel()].view(values.shape)
    # A factor at once: to convert booleans takes as long as to draw the bits.
    factor = torch.lt(words, kept - _WORDS // 2, out=torch.empty_like(values))
    return values * factor.mul_(_WORDS / kept)


@contextmanager
def cheap_dropout(model: nn.Module) -> Iterator[None]:
    """Let the `nn.Dropout` layers of a model in training use `dropout` inside the block.

    A layer with a `forward` of its own keeps it.
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
