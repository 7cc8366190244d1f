"""Delete: a fixed number of items missing."""

from __future__ import annotations

from dataclasses import dataclass

from genpas_plugins.augment.draws import Draws
from genpas_plugins.augment.histories import ChangedHistories
from genpas_plugins.augment.operator import Catalogue, Operator


@dataclass(frozen=True)
class Delete(Operator, name="delete"):
    """Remove max(1, ⌊rate · n⌋) but at most n - 1 of the n items. They are chosen uniformly without replacement.

    A history of one item does not change.
    """

    def apply(self, histories: ChangedHistories, draws: Draws, catalogue: Catalogue) -> ChangedHistories:
        """Return the shorter histories with the rest of their items in order."""
        counts = self.affected(histories, draws, at_most=histories.lengths - 1)
        return histories.without(draws.choose(histories, counts))
