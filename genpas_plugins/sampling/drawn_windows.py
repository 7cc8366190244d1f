"""Windows drawn from the policy: a draw of a pair whose target is forgotten is a draw from the marginal."""

from __future__ import annotations

import numpy as np

from genpas_plugins.sampling.backend import implementation
from genpas_plugins.sampling.sampler import DrawTables, draw_pairs
from genpas_plugins.sampling.windows import WindowStream
from genpas_plugins.support.array_types import Float64, Int64

_SURVEYED = 2**14
"""Windows that are drawn to learn how many targets a drawn window has on average."""


class DrawnWindows(WindowStream):
    """Windows of a sampled policy: a window's weights are p(k | s, j') and sum to 1."""

    tables: DrawTables

    def _tabulate(self) -> tuple[int, float]:
        surveyed = self.weighted(*self._starts_of(_SURVEYED, 0, np.arange(_SURVEYED)))
        return self.view.n_pairs, np.count_nonzero(surveyed.weight) / _SURVEYED

    def _starts(self, epoch: int, indices: Int64) -> tuple[Int64, Int64]:
        return self._starts_of(self.size, epoch, indices)

    def _starts_of(self, size: int, epoch: int, indices: Int64) -> tuple[Int64, Int64]:
        if getattr(self, "tables", None) is None or self.tables.size != size:
            self.tables = DrawTables.of(self.view, self.policy, size)
        pairs = implementation(draw_pairs, self.backend)(self.tables, self.seed, epoch, indices)
        return pairs.sequence, np.maximum(pairs.start, pairs.target - self.max_length)

    def _normalised(self, log_weight: Float64) -> Float64:
        weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
        return np.asarray(weight / weight.sum(axis=1, keepdims=True))
