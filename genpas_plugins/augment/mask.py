"""Mask: places without an item."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from genpas_plugins.augment.draws import Draws
from genpas_plugins.augment.histories import ChangedHistories
from genpas_plugins.augment.operator import Catalogue, Operator, choose


@dataclass(frozen=True)
class Mask(Operator):
    """Write 0, padding, in the place of max(1, ⌊rate · n⌋) of the n items; of n - 1 at most.

    The places are chosen uniformly without replacement. **Not** CL4SRec's mask: there a masked item has an embedding of
    its own, which models here do not have. A 0 takes away what the model knows of the item and keeps its place: the
    other items stand where they stood and the length is the same. Models with attention (SASRec, TIGER) leave the place
    out, recurrent ones (GRU4Rec) read zeros there. Side columns stay. A history of one item stays as it is.
    """

    operator: str = field(default="mask", init=False)

    def apply(self, histories: ChangedHistories, draws: Draws, catalogue: Catalogue) -> ChangedHistories:
        """Return the histories, of the same lengths."""
        # After another mask some are 0 already, and after a crop of that perhaps all: of items, one must be left.
        known = np.add.reduceat(histories.items != 0, histories.offsets[:-1]) if len(histories.items) else 0
        counts = np.minimum(self.affected(histories, draws), np.maximum(known - 1, 0))
        return histories.with_items(choose(histories, draws, counts), 0)
