"""Substitute: similar items in the place of some."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from genpas_plugins.augment.draws import Draws
from genpas_plugins.augment.histories import ChangedHistories
from genpas_plugins.augment.operator import Catalogue, Operator, choose


@dataclass(frozen=True)
class Substitute(Operator):
    """Put its nearest item in the place of each of max(1, ⌊rate · n⌋) of the n items (BASRec's Substitute).

    The places are chosen uniformly without replacement. Nearest is by ItemCF-IUF on the training view, see
    `genpas_plugins.augment.neighbours`; an item without any neighbour stays. Side columns stay.
    """

    needs_neighbours: ClassVar[bool] = True
    operator: str = field(default="substitute", init=False)

    def apply(self, histories: ChangedHistories, draws: Draws, catalogue: Catalogue) -> ChangedHistories:
        """Return the histories, of the same lengths."""
        assert catalogue.neighbours is not None, "made where this operator is in the list"
        places = choose(histories, draws, self.affected(histories, draws))
        chosen = histories.items[places]
        nearest = catalogue.neighbours[chosen]
        return histories.with_items(places, np.where(nearest > 0, nearest, chosen))
