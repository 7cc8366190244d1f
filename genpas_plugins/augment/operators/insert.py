"""Insert: items that the user never met between the items of the history."""

from __future__ import annotations

from dataclasses import dataclass

from genpas_plugins.augment.draws import Draws
from genpas_plugins.augment.histories import ChangedHistories
from genpas_plugins.augment.operator import Catalogue, Operator


@dataclass(frozen=True)
class Insert(Operator, name="insert"):
    """Put a new item before each of max(1, ⌊rate · n⌋) of the n items.

    The places are chosen uniformly without replacement. The new items are drawn uniformly from the catalogue.
    Nothing comes after the last item: the most recent item stays. A history that grows beyond the maximum length
    loses its oldest items. A new item has the side columns of the item after it.
    """

    def apply(self, histories: ChangedHistories, draws: Draws, catalogue: Catalogue) -> ChangedHistories:
        """Return the longer uncut histories."""
        counts = self.affected(histories, draws)
        return histories.insert(*draws.choose_with_new(histories, counts, catalogue.n_items))
