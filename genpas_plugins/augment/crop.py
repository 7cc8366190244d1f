"""Crop: a contiguous part."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from genpas_plugins.augment.draws import Draws
from genpas_plugins.augment.histories import ChangedHistories
from genpas_plugins.augment.operator import Catalogue, Operator
from genpas_plugins.sampling.jagged import bounds, spans


@dataclass(frozen=True)
class Crop(Operator):
    """Keep n - max(1, ⌊rate · n⌋) items in a row of the n, at least one; every beginning is equally likely.

    So `rate` is what is cut off; the η of CL4SRec's crop, what is kept, is 1 - rate. A history of one item stays as it
    is.
    """

    operator: str = field(default="crop", init=False)

    def apply(self, histories: ChangedHistories, draws: Draws, catalogue: Catalogue) -> ChangedHistories:
        """Return the parts."""
        place = draws.of_pairs[1]
        removed = np.minimum(self.affected(histories, draws), histories.lengths - 1)
        kept = histories.lengths - removed
        first = histories.offsets[:-1] + (place * (removed + 1)).astype(np.int64)
        return histories.take(spans(first, kept), bounds(kept))
