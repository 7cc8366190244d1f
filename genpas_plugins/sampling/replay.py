"""Two streams of pairs as one: most examples come from new data, and a fixed share from old data."""

from __future__ import annotations

from numpy.typing import ArrayLike

from genpas_plugins.data.sequences import Pairs
from genpas_plugins.sampling.mixture import dealt_addresses, part_sizes
from genpas_plugins.sampling.protocol import PairStream
from genpas_plugins.sampling.sampler import check_indices


class ReplayStream(PairStream):
    """Example i is of `old` where ⌊(i + 1) · share⌋ exceeds ⌊i · share⌋, so any range of examples has the share.

    Both streams are read in their own order. An example is a pure function of (seed, epoch, index), as in each of them.

    Parameters
    ----------
    new, old : streams of the same store
    share : share of old examples, 0 to 1
    pairs_per_epoch : examples an epoch; each stream has at least its part of them
    """

    def __init__(self, new: PairStream, old: PairStream, share: float, pairs_per_epoch: int) -> None:
        self.new, self.old, self.share = new, old, share
        self.view, self.seed, self.backend = new.view, new.seed, new.backend
        self.pairs_per_epoch = pairs_per_epoch

    @property
    def old_share(self) -> float:
        """The share of old examples in an epoch, exactly."""
        return part_sizes(self.pairs_per_epoch, (self.share, 1 - self.share))[0] / self.pairs_per_epoch

    @property
    def draws(self) -> int:
        """How an epoch of both streams is drawn."""
        return self.new.draws

    def pairs(self, epoch: int, indices: ArrayLike) -> Pairs:
        """Return the pairs with these indices of the epoch."""
        return self.addresses(epoch, indices)[0]

    def addresses(self, epoch: int, indices: ArrayLike) -> tuple[Pairs, Pairs]:
        """Return the pairs with these indices and their histories; see `PairStream`."""
        index = check_indices(indices, self.pairs_per_epoch)
        return dealt_addresses((self.old, self.new), (self.share, 1 - self.share), epoch, index)
