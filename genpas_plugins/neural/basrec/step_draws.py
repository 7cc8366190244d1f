"""The random numbers of a training step: a function of (seed, epoch, step, process) alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from genpas_plugins.settings.mixing import MixingConfig

_STREAM = 0x8A5  # separates these numbers from others of the same seed


class View(NamedTuple):
    """What makes one view of a batch."""

    share: Tensor  # λ ~ Beta(β, β) of each history, float64 [B]
    rate: Tensor
    reordered: Tensor  # bool [B], the histories to reorder, with probability ½; the others have items substituted
    start: Tensor  # uniform numbers for the operators, float64 [B] and [B, L]
    positions: Tensor


class Cross(NamedTuple):
    """A permutation int64 [B] of the batch and λ ~ Beta(β, β).

    λ is float64: `[B, 1]` item-wise or `[B, D]` feature-wise.
    """

    partner: Tensor
    share: Tensor


def generator(seed: int, epoch: int, step: int, process: int = 0) -> np.random.Generator:
    """Return the generator of one step; the same address always gives the same numbers."""
    return np.random.default_rng((_STREAM, seed, epoch, step, process))


def draw_view(random: np.random.Generator, config: MixingConfig, histories: Tensor) -> View:
    """Draw one view of histories `[B, L]` on their device."""
    rows, length = histories.shape
    return View(
        *_on(
            histories.device,
            random.beta(config.beta, config.beta, rows),
            random.uniform(config.rate_low, config.rate_high, rows),
            random.random(rows) < 0.5,  # noqa: PLR2004 – a fair coin
            random.random(rows),
            random.random((rows, length)),
        )
    )


def draw_cross(random: np.random.Generator, config: MixingConfig, hidden: Tensor) -> Cross:
    """Draw one mixture across the batch of encoder outputs `[B, D]`; item-wise or feature-wise with probability ½."""
    rows, width = hidden.shape
    columns = 1 if random.random() < 0.5 else width  # noqa: PLR2004 – a fair coin
    share = random.beta(config.beta, config.beta, (rows, columns))
    return Cross(*_on(hidden.device, random.permutation(rows), share))


def _on(device: torch.device, *arrays: np.ndarray) -> list[Tensor]:
    return [torch.from_numpy(array).to(device) for array in arrays]
