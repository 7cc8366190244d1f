"""Sample: a random sub-sequence."""

from __future__ import annotations

from dataclasses import dataclass

from genpas_plugins.augment.draws import Draws
from genpas_plugins.augment.histories import ChangedHistories
from genpas_plugins.augment.operator import Catalogue, Operator


@dataclass(frozen=True)
class Sample(Operator, name="sample"):
    """Keep each item independently with probability 1 - rate.

    The number of kept items is random in contrast to Delete. If no item would stay one uniform item stays.
    """

    def apply(self, histories: ChangedHistories, draws: Draws, catalogue: Catalogue) -> ChangedHistories:
        """Return the sub-sequences."""
        lengths = self.if_chosen(histories.lengths, draws)
        below = min(round(self.rate * 2**32), 2**32 - 1)
        return histories.thinned(draws.of_items(lengths), lengths, below)
