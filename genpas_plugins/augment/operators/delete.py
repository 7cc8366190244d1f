"""Delete: a fixed number of items missing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from genpas_plugins.augment.draws import Draws
from genpas_plugins.augment.histories import ChangedHistories
from genpas_plugins.augment.operator import Catalogue, Operator, choose


@dataclass(frozen=True)
class Delete(Operator, name="delete"):
    """Remove max(1, ⌊rate · n⌋) of the n items, and n - 1 at most, chosen uniformly without replacement.

    A history of one item does not change.
    """

    def apply(self, histories: ChangedHistories, draws: Draws, catalogue: Catalogue) -> ChangedHistories:
        """Return the shorter histories, the rest of their items in order."""
        counts = np.minimum(self.affected(histories, draws), histories.lengths - 1)
        copies = np.ones(len(histories.items), np.int8)
        copies[choose(histories, draws, counts)] = 0
        return histories.repeat(copies)
