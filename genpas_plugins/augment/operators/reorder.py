"""Reorder: a part in another order."""

from __future__ import annotations

from dataclasses import dataclass

from genpas_plugins.augment.draws import Draws
from genpas_plugins.augment.histories import ChangedHistories
from genpas_plugins.augment.operator import Catalogue, Operator


@dataclass(frozen=True)
class Reorder(Operator, name="reorder"):
    """Shuffle max(2, ⌊rate · n⌋) neighbouring items of the n items.

    Every beginning is equally likely and so is every order including the old order. Side columns move with their
    items. A history of one item does not change.
    """

    def apply(self, histories: ChangedHistories, draws: Draws, catalogue: Catalogue) -> ChangedHistories:
        """Return the histories with the same items."""
        counts, lengths = self.affected(histories, draws), histories.lengths
        sizes = (counts + (counts == 1)) * (lengths > 1)
        first = draws.place(lengths - sizes + 1)
        return histories.reordered(first, sizes, draws.shuffle(histories, first, sizes))
