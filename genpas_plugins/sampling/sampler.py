"""The sampled stream: pair i of epoch e is one draw from the policy, made from the pair's own random words.

Sequences of one length are equally likely, so step 1 draws a length, then a sequence of this length. Steps 2 and 3
search one cumulative table each, shared by all sequences and as long as the longest sequence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from genpas_plugins.data.sequences import Pairs, SequenceView
from genpas_plugins.sampling.backend import choose_backend, implementation
from genpas_plugins.sampling.policy import PowerTable, SamplingPolicy
from genpas_plugins.sampling.protocol import PairStream
from genpas_plugins.sampling.random_stream import check_epoch, check_seed, philox, uniform
from genpas_plugins.support.array_types import Float64, Int64, Integers
from genpas_plugins.support.errors import InputError, whole_number

GUIDE = 1024


@dataclass(frozen=True, eq=False)
class DrawTables:
    """Tables that a draw reads, for a view of d distinct lengths up to n + 1.

    Attributes
    ----------
    group_cumulative : float64 [d], cumulative probability of the length groups
    group_length, group_first, group_count : int64 [d], see `LengthGroups`
    order : int [n_sequences], rows of the sequences by length
    group_guide : int64 [GUIDE], the first group whose cumulative probability is above i / GUIDE. The compiled twin
        begins the search for u in [i, i + 1) / GUIDE there (Chen & Asau 1974).
    target, start : powers i^β and i^γ of 1 … n
    """

    group_cumulative: Float64
    group_length: Int64
    group_first: Int64
    group_count: Int64
    order: Integers
    group_guide: Int64
    target: PowerTable
    start: PowerTable

    @classmethod
    def of(cls, view: SequenceView, policy: SamplingPolicy) -> DrawTables:
        """Tabulate `policy` for `view`."""
        groups = view.groups
        cumulative = np.cumsum(policy.sequence_mass(view))
        # Rounding may leave the sum a bit below 1; the last group with mass must catch every number below 1.
        cumulative[cumulative == cumulative[-1]] = 1.0
        return cls(
            cumulative,
            groups.length,
            groups.first,
            groups.size,
            view.index.order,
            np.searchsorted(cumulative, np.arange(GUIDE) / GUIDE, side="right").astype(np.int64),
            PowerTable.of(policy.beta, view.max_length - 1),
            PowerTable.of(policy.gamma, view.max_length - 1),
        )


class PairSampler(PairStream):
    """An endless, addressable stream of pairs drawn from a policy.

    Parameters
    ----------
    view : the sequences
    policy : the distribution
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
        policy: SamplingPolicy,
        seed: int,
        pairs_per_epoch: int | None = None,
        backend: str | None = None,
    ) -> None:
        view.require_pairs()
        if policy.strategy == "slide_window":
            raise InputError("PairSampler draws from exponents; use PairEnumeration for the enumerated slide_window.")
        self.view = view
        self.policy = policy
        self.seed = check_seed(seed)
        self.pairs_per_epoch = view.n_pairs if pairs_per_epoch is None else check_pairs_per_epoch(pairs_per_epoch)
        self.backend = choose_backend(backend)
        self.tables = DrawTables.of(view, policy)

    def __reduce__(self) -> Any:
        """Pickle the arguments: the tables are made again where the stream is opened."""
        return PairSampler, (self.view, self.policy, self.seed, self.pairs_per_epoch, self.backend)

    def pairs(self, epoch: int, indices: ArrayLike) -> Pairs:
        """Return the pairs with these indices of the epoch: int64 [n], each in [0, pairs_per_epoch)."""
        index = check_indices(indices, self.pairs_per_epoch)
        draw = implementation(draw_pairs, self.backend)
        return draw(self.tables, self.seed, check_epoch(epoch), index)


def draw_pairs(tables: DrawTables, seed: int, epoch: int, indices: Int64) -> Pairs:
    """Draw the pairs with these indices (steps 1 to 3 of the paper), int64 [n]."""
    first, second = philox(seed, epoch, 0, indices), philox(seed, epoch, 1, indices)
    group = np.searchsorted(tables.group_cumulative, uniform(first[0], first[1]), side="right")
    rank = (uniform(first[2], first[3]) * tables.group_count[group]).astype(np.int64)
    sequence = tables.order[tables.group_first[group] + rank].astype(np.int64)
    size = tables.group_length[group] - 1
    target = _choose(tables.target, size, uniform(second[0], second[1]))
    start = _choose(tables.start, target, uniform(second[2], second[3])) - 1
    return Pairs(sequence, start, target)


def check_indices(indices: ArrayLike, pairs_per_epoch: int) -> Int64:
    """Return pair indices as int64 [n]. Raises InputError if one lies outside [0, pairs_per_epoch)."""
    index = np.asarray(indices)
    if index.ndim != 1 or not (np.issubdtype(index.dtype, np.integer) or index.size == 0):
        raise InputError(f"Pair indices must be one row of whole numbers; got {index.dtype} of shape {index.shape}.")
    index = index.astype(np.int64, copy=False)
    if index.size and (index.min() < 0 or index.max() >= pairs_per_epoch):
        raise InputError(f"Pair indices run from 0 to {pairs_per_epoch - 1}, the epoch's last pair.")
    return index


def check_pairs_per_epoch(value: Any) -> int:
    """Return `pairs_per_epoch` as an int from 1 to 2⁶¹. Raises InputError for anything else."""
    return whole_number("pairs_per_epoch", value, 1, 2**61)


def _choose(table: PowerTable, size: Int64, u: Float64) -> Int64:
    """Choose from {1 … size} with the table's weights, by inversion of u in [0, 1)."""
    if table.last:
        return size
    if table.even:
        # The cumulative weights are 0 … n, so the search is a rounding down.
        return (u * size).astype(np.int64) + 1
    # u * total is below total because u ≤ 1 - 2⁻⁵³, so the search ends at or before `size`.
    return np.searchsorted(table.cumulative, u * table.cumulative[size], side="right").astype(np.int64)
