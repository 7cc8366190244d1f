"""The drawn constructions: evenly spaced points choose sequences and each visit takes the pair at its quantile."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from genpas_plugins.data.sequences import Pairs
from genpas_plugins.sampling.backend import implementation
from genpas_plugins.sampling.constructions import Construction
from genpas_plugins.sampling.policy import SamplingPolicy
from genpas_plugins.sampling.random_stream import check_epoch
from genpas_plugins.sampling.sampler import DrawnPairs, DrawTables, check_indices, draw_visits

_UNUSED = SamplingPolicy(0, math.inf, -math.inf)
"""The tables of targets and starts are of one choice: a construction chooses the pair."""


class ConstructedPairs(DrawnPairs):
    """Pairs drawn from a `Construction` as the policy. See `DrawnPairs` for the arguments."""

    policy: Construction

    def _tabulate(self) -> DrawTables:
        weight = self.policy.sequence_weight(self.view.groups)
        return DrawTables.of(self.view, _UNUSED, self.pairs_per_epoch, weight)

    def pairs(self, epoch: int, indices: ArrayLike) -> Pairs:
        """Return the pairs with these indices of the epoch: int64 [n] in [0, pairs_per_epoch)."""
        index = check_indices(indices, self.pairs_per_epoch)
        visits = implementation(draw_visits, self.backend)(self.tables, self.seed, check_epoch(epoch), index)
        length = visits.length
        number = self.policy.number(length, visits.quantile / visits.visits)
        start, target = self.policy.pair(length, number)
        return Pairs(visits.sequence, np.asarray(start), target)
