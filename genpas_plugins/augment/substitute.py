"""Substitute: similar items in the place of some."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from genpas_plugins.augment.draws import Draws
from genpas_plugins.augment.histories import Histories
from genpas_plugins.augment.operator import Catalogue, Operator, choose


@dataclass(frozen=True)
class Substitute(Operator):
    """Put its nearest item in the place of each of max(1, ⌊rate · n⌋) of the n items (BASRec's Substitute).

    The places are chosen uniformly without replacement. Nearest is by ItemCF-IUF on the training view, see
    `genpas_plugins.augment.neighbours`; an item without any neighbour stays. Side columns stay.
    """

    operator: str = field(default="substitute", init=False)

    def apply(self, histories: Histories, draws: Draws, catalogue: Catalogue) -> Histories:
        """Return the histories, of the same lengths."""
        assert catalogue.neighbours is not None, "made where this operator is in the list"
        places = choose(histories, draws, self.affected(histories, draws))
        items = histories.items.copy()
        chosen = items[places]
        nearest = catalogue.neighbours[chosen]
        items[places] = np.where(nearest > 0, nearest, chosen)
        return histories._replace(items=items)
