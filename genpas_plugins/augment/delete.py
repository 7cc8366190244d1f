"""Delete: a fixed number of items missing."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from genpas_plugins.augment.draws import Draws
from genpas_plugins.augment.histories import ChangedHistories
from genpas_plugins.augment.operator import Catalogue, Operator, choose


@dataclass(frozen=True)
class Delete(Operator):
    """Remove max(1, ⌊rate · n⌋) of the n items, chosen uniformly without replacement; n - 1 at most.

    A history of one item stays as it is.
    """

    operator: str = field(default="delete", init=False)

    def apply(self, histories: ChangedHistories, draws: Draws, catalogue: Catalogue) -> ChangedHistories:
        """Return the shorter histories, the rest of their items in order."""
        counts = np.minimum(self.affected(histories, draws), histories.lengths - 1)
        copies = np.ones(len(histories.items), np.int8)
        copies[choose(histories, draws, counts)] = 0
        return histories.repeat(copies)
