"""Targets whose probability falls with their age by a constant factor."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from genpas_plugins.data.lengths import LengthGroups
from genpas_plugins.sampling.constructions.construction import Prefixes, larger
from genpas_plugins.support.array_types import Float64, Int64
from genpas_plugins.support.errors import InputError


@dataclass(frozen=True)
class ExponentialRecency(Prefixes, name="exponential_recency"):
    """Recency sampling of aprec (Petrov & Macdonald, RecSys'22): p(k | s) ∝ decay^(n - k), all users alike.

    A history is the prefix before its target; aprec's also keeps later items. β is the power law beside it.

    Parameters
    ----------
    decay : ratio in (0, 1) of a target's weight to the next target's. Weights below 2⁻⁶⁴ of the last are left out.
    """

    drawn: ClassVar[bool] = True
    in_torch: ClassVar[bool] = False

    decay: float = 0.8

    def __post_init__(self) -> None:
        if not 0 < self.decay < 1:
            raise InputError(f"{self.name}: decay must be a number between 0 and 1, not {self.decay!r}.")

    def targets(self, length: Any) -> tuple[Any, Any]:
        """Return the positions with a probability."""
        return larger(length - len(self._weights()), 1), length - 1

    def up_to(self, length: Any, start: Any, target: Any) -> Any:
        """Return the weight of a target."""
        inside = super().up_to(length, start, target)
        return inside * self._weights()[np.where(inside, length - 1 - target, 0)]

    def total(self, length: Int64) -> Any:
        """Return the weight of all targets."""
        return np.cumsum(self._weights())[self.n_pairs(length) - 1]

    def number(self, length: Int64, quantile: Float64) -> Int64:
        """Return the number of the pair at each quantile. The oldest target comes first."""
        count, sums = self.n_pairs(length), np.cumsum(self._weights())
        # The last target has the weight 1 and the highest quantiles.
        age = np.searchsorted(sums, (1 - quantile) * sums[count - 1], side="left")
        return np.asarray(np.maximum(count - 1 - age, 0))

    def sequence_weight(self, groups: LengthGroups) -> Float64:
        """Return 1 of every sequence."""
        return np.ones(len(groups.length))

    def _weights(self) -> Float64:
        """Return the weights of targets by their age from 1 down to 2⁻⁶⁴."""
        return np.asarray(self.decay ** np.arange(math.floor(-64 * math.log(2) / math.log(self.decay)) + 1))
