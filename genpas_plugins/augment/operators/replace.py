"""Replace: other items in the place of some."""

from __future__ import annotations

from dataclasses import dataclass

from genpas_plugins.augment.draws import Draws
from genpas_plugins.augment.histories import ChangedHistories
from genpas_plugins.augment.operator import Catalogue, Operator, choose_with_new_items


@dataclass(frozen=True)
class Replace(Operator, name="replace"):
    """Replace max(1, ⌊rate · n⌋) of the n items by items drawn uniformly from the catalogue.

    The places are chosen uniformly without replacement. A new item may by chance be the old one. It has the side
    columns of the old item.
    """

    def apply(self, histories: ChangedHistories, draws: Draws, catalogue: Catalogue) -> ChangedHistories:
        """Return the histories, of the same lengths."""
        places, new = choose_with_new_items(histories, draws, self.affected(histories, draws), catalogue)
        return histories.with_items(places, new)
