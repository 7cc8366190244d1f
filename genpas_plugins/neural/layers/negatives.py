"""Negatives that all pairs of a step share: a pure function of (seed, epoch, step)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from genpas_plugins.neural.device.random_words import philox, uniform
from genpas_plugins.support.array_types import Float64

BLOCK = 0xFFFFFFFE  # the block of the random stream for negatives. Pairs use 0 and 1.


class Proposal(NamedTuple):
    """The distribution that negatives are drawn from."""

    log_q: Tensor  # float32 [n_items + 1], log-probabilities by item number, -inf for padding.
    cumulative: Tensor  # float64 [n_items + 1], cumulative probabilities, which `draw` searches.

    @classmethod
    def of(cls, targets: Float64, uniform: float) -> Proposal:
        """Mix the target distribution `float64 [n_items + 1]` with the uniform distribution over items.

        `uniform` is the uniform share in (0, 1]. It gives every item a positive probability.
        """
        q = torch.from_numpy(targets) * (1 - uniform)
        q[1:] += uniform / max(len(q) - 1, 1)
        q[0] = 0
        cumulative = torch.cumsum(q, 0)
        return cls((q / cumulative[-1]).log().float(), cumulative / cumulative[-1])

    def to(self, device: torch.device) -> Proposal:
        """Return the proposal on a device."""
        return Proposal(self.log_q.to(device), self.cumulative.to(device))

    def draw(self, count: int, *, seed: int, epoch: int, step: int) -> Tensor:
        """Draw the negatives `int64 [count]` of a step with replacement. All ranks and devices draw the same."""
        index = torch.arange(step * count, (step + 1) * count, device=self.cumulative.device)
        high, low, _, _ = philox(seed, epoch, BLOCK, index)
        return torch.searchsorted(self.cumulative, uniform(high, low), right=True)
