"""Sample: a random sub-sequence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from genpas_plugins.augment.draws import Draws
from genpas_plugins.augment.histories import ChangedHistories
from genpas_plugins.augment.operator import Catalogue, Operator
from genpas_plugins.sampling.backend import implementation
from genpas_plugins.sampling.jagged import bounds, spans
from genpas_plugins.support.array_types import Int8, Int64, UInt32


@dataclass(frozen=True)
class Sample(Operator, name="sample"):
    """Keep each item with probability 1 - rate, independently and in order.

    The number of kept items is random, unlike Delete's. If no item would stay, one stays, each equally likely.
    """

    def apply(self, histories: ChangedHistories, draws: Draws, catalogue: Catalogue) -> ChangedHistories:
        """Return the sub-sequences."""
        lengths = histories.lengths * self.chosen(draws)
        below = np.uint32(min(round(self.rate * 2**32), 2**32 - 1))
        drop = implementation(kept, draws.backend, "genpas_plugins.augment.operator_kernels")
        return histories.repeat(drop(draws.of_items(lengths), histories.offsets, lengths, below))


def kept(words: UInt32, offsets: Int64, lengths: Int64, below: np.uint32) -> Int8:
    """Return which items stay, `int8 [N]`, 1 or 0.

    `words` are uint32 [Σ lengths] for the items of sampled histories, whose `lengths` are above 0. `offsets` are of all
    histories. An item with a word `below` goes, except the item with the largest word of its history.
    """
    copies = np.ones(offsets[-1], np.int8)
    rows = np.flatnonzero(lengths)
    if len(rows):
        # The item with the largest word is kept whenever any item is, so keeping it always leaves no history empty.
        largest = np.maximum.reduceat(words, bounds(lengths[rows])[:-1])
        stays = (words >= below) | (words == np.repeat(largest, lengths[rows]))
        copies[spans(offsets[rows], lengths[rows])] = stays
    return copies
