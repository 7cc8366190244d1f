"""Replace: other items in the place of some."""

from __future__ import annotations

from dataclasses import dataclass

from genpas_plugins.augment.draws import Draws
from genpas_plugins.augment.histories import ChangedHistories
from genpas_plugins.augment.operator import Catalogue, Operator


@dataclass(frozen=True)
class Replace(Operator, name="replace"):
    """Replace max(1, ⌊rate · n⌋) of the n items by items drawn uniformly from the catalogue.

    The places are chosen uniformly without replacement. A new item may by chance be the old one. It has the side
    columns of the old item.
    """

    def apply(self, histories: ChangedHistories, draws: Draws, catalogue: Catalogue) -> ChangedHistories:
        """Return the histories with unchanged lengths."""
        counts = self.affected(histories, draws)
        return histories.with_items(*draws.choose_with_new(histories, counts, catalogue.n_items))
