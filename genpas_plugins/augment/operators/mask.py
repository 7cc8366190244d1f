"""Mask: places without an item."""

from __future__ import annotations

from dataclasses import dataclass

from genpas_plugins.augment.draws import Draws
from genpas_plugins.augment.histories import ChangedHistories
from genpas_plugins.augment.operator import Catalogue, Operator


@dataclass(frozen=True)
class Mask(Operator, name="mask"):
    """Write padding 0 at max(1, ⌊rate · n⌋) but at most n - 1 of the n places.

    The places are chosen uniformly without replacement. CL4SRec's mask gives a masked item its own embedding. The
    models here have none. A 0 hides the item and keeps its place: length, the other places and side columns do not
    change. Attention (SASRec, TIGER) ignores the place and a recurrent model (GRU4Rec) reads zeros. A history of
    one item does not change.
    """

    def apply(self, histories: ChangedHistories, draws: Draws, catalogue: Catalogue) -> ChangedHistories:
        """Return the histories with unchanged lengths."""
        # After another mask some are 0 already, and after a crop of that perhaps all: of items, one must be left.
        counts = self.affected(histories, draws, at_most=histories.known - 1)
        return histories.with_items(draws.choose(histories, counts), 0)
