"""Reorder: a part in another order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from genpas_plugins.augment.draws import Draws
from genpas_plugins.augment.histories import ChangedHistories
from genpas_plugins.augment.operator import Catalogue, Operator
from genpas_plugins.sampling.jagged import spans


@dataclass(frozen=True)
class Reorder(Operator, name="reorder"):
    """Shuffle max(2, ⌊rate · n⌋) of the n items, in a row.

    Every beginning is equally likely, and so is every order, the old one included. Side columns move with their items.
    A history of one item does not change.
    """

    def apply(self, histories: ChangedHistories, draws: Draws, catalogue: Catalogue) -> ChangedHistories:
        """Return the histories, of the same items."""
        place = draws.of_pairs[1]
        counts, lengths = self.affected(histories, draws), histories.lengths
        sizes = np.where((counts > 0) & (lengths > 1), np.maximum(counts, 2), 0)
        first = histories.offsets[:-1] + (place * (lengths - sizes + 1)).astype(np.int64)
        places = np.arange(len(histories.items))
        places[spans(first, sizes)] = draws.choose(first, sizes, sizes)
        return histories.take(places, histories.offsets)
