"""Crop: a contiguous part."""

from __future__ import annotations

from dataclasses import dataclass

from genpas_plugins.augment.draws import Draws
from genpas_plugins.augment.histories import ChangedHistories
from genpas_plugins.augment.operator import Catalogue, Operator


@dataclass(frozen=True)
class Crop(Operator, name="crop"):
    """Keep n - max(1, ⌊rate · n⌋) neighbouring items but at least one. Every beginning is equally likely.

    The rate is the share that is cut off. CL4SRec's η is the kept share 1 - rate. A history of one item does not
    change.
    """

    def apply(self, histories: ChangedHistories, draws: Draws, catalogue: Catalogue) -> ChangedHistories:
        """Return the parts."""
        lengths = histories.lengths
        removed = self.affected(histories, draws, at_most=lengths - 1)
        return histories.slices(draws.place(removed + 1), lengths - removed)
