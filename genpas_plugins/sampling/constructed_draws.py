"""The drawn constructions: sequences by evenly spaced points, and of each visit the pair at its quantile."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from genpas_plugins.data.sequences import Pairs, SequenceView
from genpas_plugins.sampling.backend import choose_backend, implementation
from genpas_plugins.sampling.constructions import Construction
from genpas_plugins.sampling.policy import SamplingPolicy
from genpas_plugins.sampling.protocol import DRAWS, PairStream
from genpas_plugins.sampling.random_stream import check_epoch, check_seed
from genpas_plugins.sampling.sampler import DrawTables, check_indices, check_pairs_per_epoch, draw_visits

_UNUSED = SamplingPolicy(0, math.inf, -math.inf)
"""The tables of targets and starts are of one choice: a construction chooses the pair."""


class ConstructedPairs(PairStream):
    """An endless, addressable stream of pairs drawn from a construction.

    Parameters
    ----------
    view : the sequences
    construction : the distribution
    seed : int in [0, 2⁶⁴)
    pairs_per_epoch : length of an epoch; None: as many as multi-target has, `view.n_pairs`
    backend : "numpy" or "numba"; None: see `choose_backend`

    Raises
    ------
    InputError
        If no sequence has two items, or an argument is out of range.
    """

    def __init__(
        self,
        view: SequenceView,
        construction: Construction,
        seed: int,
        pairs_per_epoch: int | None = None,
        backend: str | None = None,
    ) -> None:
        view.require_pairs()
        self.view = view
        self.construction = construction
        self.seed = check_seed(seed)
        self.pairs_per_epoch = view.n_pairs if pairs_per_epoch is None else check_pairs_per_epoch(pairs_per_epoch)
        self.backend = choose_backend(backend)
        weight = construction.sequence_weight(view.groups)
        self.tables = DrawTables.of(view, _UNUSED, self.pairs_per_epoch, weight)

    def __reduce__(self) -> Any:
        """Pickle the arguments: the tables are made again where the stream is opened."""
        return ConstructedPairs, (self.view, self.construction, self.seed, self.pairs_per_epoch, self.backend)

    @property
    def draws(self) -> int:
        """How an epoch is drawn: by evenly spaced points."""
        return DRAWS

    def pairs(self, epoch: int, indices: ArrayLike) -> Pairs:
        """Return the pairs with these indices of the epoch: int64 [n], each in [0, pairs_per_epoch)."""
        index = check_indices(indices, self.pairs_per_epoch)
        visits = implementation(draw_visits, self.backend)(self.tables, self.seed, check_epoch(epoch), index)
        length = visits.length
        number = self.construction.number(length, visits.quantile / visits.visits)
        start, target = self.construction.pair(length, number)
        return Pairs(visits.sequence, np.asarray(start), target)
