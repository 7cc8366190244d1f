"""Insert: items that the user never met, between those of the history."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from genpas_plugins.augment.draws import Draws
from genpas_plugins.augment.histories import ChangedHistories
from genpas_plugins.augment.operator import Catalogue, Operator, choose_with_new_items


@dataclass(frozen=True)
class Insert(Operator):
    """Put a new item before each of max(1, ⌊rate · n⌋) of the n items.

    The items are chosen uniformly without replacement, new ones are uniform over the catalogue. Nothing comes after
    the last item, so the most recent one stays so. Of a history that grows beyond the maximum length the oldest items
    go. A new item has the side columns of the item that it was put before.
    """

    operator: str = field(default="insert", init=False)

    def apply(self, histories: ChangedHistories, draws: Draws, catalogue: Catalogue) -> ChangedHistories:
        """Return the longer histories, not yet cut."""
        places, drawn = choose_with_new_items(histories, draws, self.affected(histories, draws), catalogue)
        new = np.zeros_like(histories.items)
        new[places] = drawn
        return histories.insert(new)
