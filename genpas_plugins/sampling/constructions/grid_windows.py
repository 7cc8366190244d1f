"""GRID's windows: sub-sequences drawn from the users of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from genpas_plugins.data.lengths import LengthGroups
from genpas_plugins.sampling.constructions.slide_window import SlideWindow
from genpas_plugins.support.array_types import Float64


@dataclass(frozen=True)
class GridWindows(SlideWindow, name="grid_windows"):
    """GRID (arXiv 2507.22224): of all sub-sequences of a batch of users some are drawn, all alike.

    A user with c sub-sequences has p(s) ∝ E[c / (c + S)] where the other users of a batch have S. Users are
    independent draws.

    Parameters
    ----------
    users : whole number from 1 on, users of a batch; 1 is a uniform choice of users, many are slide_window
    """

    exponents = None
    drawn: ClassVar[bool] = True

    users: int = 32

    def sequence_weight(self, groups: LengthGroups) -> Float64:
        """Return E[c / (c + S)] = ∫ c e^(-tc) E[e^(-tS)] dt float64 [d] of each length group."""
        count = self.n_pairs(groups.length).astype(np.float64)
        share = groups.size / groups.size.sum()
        # The integrand over ln t falls on both sides faster than any power, so equal steps are exact to rounding.
        log_t = np.arange(-40 - np.log(count.max() * self.users), 4 - np.log(count.min()), 1 / 16)
        weight = np.zeros(len(count))
        for t in np.exp(log_t).tolist():
            fall = np.exp(-t * count)
            weight += t * count * fall * (share @ fall) ** (self.users - 1)
        return weight / 16
