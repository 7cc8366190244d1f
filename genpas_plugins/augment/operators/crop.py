"""Crop: a contiguous part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from genpas_plugins.augment.draws import Draws
from genpas_plugins.augment.histories import ChangedHistories
from genpas_plugins.augment.operator import Catalogue, Operator
from genpas_plugins.sampling.jagged import bounds, spans


@dataclass(frozen=True)
class Crop(Operator, name="crop"):
    """Keep n - max(1, ⌊rate · n⌋) of the n items, in a row, and at least one; every beginning is equally likely.

    The rate is the share that is cut off; CL4SRec's η, the share that is kept, is 1 - rate. A history of one item does
    not change.
    """

    def apply(self, histories: ChangedHistories, draws: Draws, catalogue: Catalogue) -> ChangedHistories:
        """Return the parts."""
        place = draws.of_pairs[1]
        removed = np.minimum(self.affected(histories, draws), histories.lengths - 1)
        kept = histories.lengths - removed
        first = histories.offsets[:-1] + (place * (removed + 1)).astype(np.int64)
        return histories.take(spans(first, kept), bounds(kept))
