"""Substitute: similar items in the place of some."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from genpas_plugins.augment.draws import Draws
from genpas_plugins.augment.histories import ChangedHistories
from genpas_plugins.augment.operator import Catalogue, Operator


@dataclass(frozen=True)
class Substitute(Operator, name="substitute"):
    """Replace each of max(1, ⌊rate · n⌋) of the n items by its nearest item (BASRec's Substitute).

    The places are chosen uniformly without replacement. Nearest is by ItemCF-IUF on the training view
    (`genpas_plugins.augment.neighbours`). An item without a neighbour stays. Side columns do not change.
    """

    needs_neighbours: ClassVar[bool] = True

    def apply(self, histories: ChangedHistories, draws: Draws, catalogue: Catalogue) -> ChangedHistories:
        """Return the histories with unchanged lengths."""
        assert catalogue.neighbours is not None, "made where this operator is in the list"
        places = draws.choose(histories, self.affected(histories, draws))
        chosen = histories.at(places)
        nearest = catalogue.neighbours[chosen]
        return histories.with_items(places, nearest + chosen * (nearest == 0))
