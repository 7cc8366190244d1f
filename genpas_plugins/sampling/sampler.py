"""The sampled stream: the pairs of an epoch come from one row of evenly spaced points.

The sequences lie end to end on a line of length m. m is the number of examples. Each is as long as its expectation
m p(s). Example i is the point π(i) + u where π is a keyed order of the epoch and u its offset: systematic sampling.

1. A sequence of expectation v holds floor(v) or ceil(v) points: its visits.
2. Visit q of n takes the target at the quantile (q + u_s) / n of p(k | s). The count of each target is within one of
   what n visits expect. The offset u_s is a number of the sequence and the epoch.
3. The pair's own random words draw the start independently from p(j | k).

All offsets are uniform. The expected count of every pair is m p(s, k, j).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from genpas_plugins.data.sequences import Pairs, SequenceView
from genpas_plugins.sampling.backend import choose_backend, implementation
from genpas_plugins.sampling.permutation import binary_halves, permute
from genpas_plugins.sampling.policy import BELOW_ONE, PowerTable, SamplingPolicy
from genpas_plugins.sampling.protocol import DRAWS, PairStream
from genpas_plugins.sampling.random_stream import (
    EpochWords,
    check_epoch,
    check_seed,
    epoch_words,
    keyed_uniform,
    philox,
    uniform,
)
from genpas_plugins.support.array_types import Float64, Int64, Integers
from genpas_plugins.support.errors import InputError, whole_number

GUIDE = 1024
_STEPS = 3


@dataclass(frozen=True, eq=False)
class DrawTables:
    """Tables that a draw reads for a view of d distinct lengths up to n + 1 and an epoch of m examples.

    Attributes
    ----------
    size : m
    group_begin, group_end : where the length groups begin and end on the line of length m, float64 [d]
    group_weight, group_inverse : expected visits of a sequence of the group and their inverse, float64 [d]
    group_length, group_first, group_count : see `LengthGroups`, int64 [d]
    order : rows of the sequences by length, int [n_sequences]
    group_guide : int64 [GUIDE], a group that ends no earlier than the first group with points from i m / GUIDE on. The
        search for a point begins there (Chen & Asau 1974).
    target, start : powers i^β and i^γ of 1 … n
    """

    size: int
    group_begin: Float64
    group_end: Float64
    group_weight: Float64
    group_inverse: Float64
    group_length: Int64
    group_first: Int64
    group_count: Int64
    order: Integers
    group_guide: Int64
    target: PowerTable
    start: PowerTable

    @classmethod
    def of(cls, view: SequenceView, policy: SamplingPolicy, size: int, weight: Float64 | None = None) -> DrawTables:
        """Tabulate `policy` for epochs of `size` examples of `view`. `weight` float64 [d] replaces p(s)."""
        groups = view.groups
        weight = policy.sequence_weight(groups.length) if weight is None else weight
        cumulative = np.cumsum(weight * groups.size)
        scale = size / cumulative[-1]
        end = cumulative * scale
        # Rounding may end the line a bit before m; the last group with mass must catch every point.
        end[cumulative == cumulative[-1]] = size
        # One step early, because the rounded place of a point in the guide may be one too high.
        guide = np.searchsorted(end, np.arange(-1, GUIDE - 1) * (size / GUIDE), side="right")
        expected = np.maximum(weight * scale, np.finfo(np.float64).tiny)
        return cls(
            size,
            np.concatenate([[0.0], end[:-1]]),
            end,
            expected,
            1 / expected,
            groups.length,
            groups.first,
            groups.size,
            view.index.order,
            guide.astype(np.int64),
            PowerTable.of(policy.beta, view.max_length - 1),
            PowerTable.of(policy.gamma, view.max_length - 1),
        )

    def words(self, seed: int, epoch: int) -> EpochWords:
        """Return the words of an epoch. Adding the offset to the number of an example is exact for m < 2⁵³."""
        return epoch_words(seed, epoch, max(0, 53 - self.size.bit_length()))

    @property
    def last_point(self) -> float:
        """The largest number below m."""
        return math.nextafter(self.size, 0)


class DrawnPairs(PairStream):
    """An endless addressable stream of pairs drawn by evenly spaced points. A subclass has the tables and the pairs.

    Parameters
    ----------
    view : the sequences
    policy : the distribution
    seed : int in [0, 2⁶⁴)
    pairs_per_epoch : length of an epoch; None: `view.n_pairs` as for multi-target
    backend : "numpy" or "numba"; None: see `choose_backend`

    Raises
    ------
    InputError
        If no sequence has two items or an argument is out of range.
    """

    def __init__(
        self,
        view: SequenceView,
        policy: Any,
        seed: int,
        pairs_per_epoch: int | None = None,
        backend: str | None = None,
    ) -> None:
        view.require_pairs()
        self.view = view
        self.policy = policy
        self.seed = check_seed(seed)
        self.pairs_per_epoch = view.n_pairs if pairs_per_epoch is None else check_pairs_per_epoch(pairs_per_epoch)
        self.backend = choose_backend(backend)
        self.tables = self._tabulate()

    def __reduce__(self) -> Any:
        """Pickle the arguments: the tables are made again where the stream is opened."""
        return type(self), (self.view, self.policy, self.seed, self.pairs_per_epoch, self.backend)

    @property
    def draws(self) -> int:
        """How an epoch is drawn: by evenly spaced points."""
        return DRAWS

    @abstractmethod
    def _tabulate(self) -> DrawTables:
        """Return the tables of an epoch."""


class PairSampler(DrawnPairs):
    """Pairs drawn from the exponents of a `SamplingPolicy`; see `DrawnPairs` for the arguments."""

    policy: SamplingPolicy

    def _tabulate(self) -> DrawTables:
        if self.policy.strategy == "slide_window":
            raise InputError("PairSampler draws from exponents; use PairEnumeration for the enumerated slide_window.")
        return DrawTables.of(self.view, self.policy, self.pairs_per_epoch)

    def pairs(self, epoch: int, indices: ArrayLike) -> Pairs:
        """Return the pairs with these indices of the epoch: int64 [n] in [0, pairs_per_epoch)."""
        index = check_indices(indices, self.pairs_per_epoch)
        draw = implementation(draw_pairs, self.backend)
        return draw(self.tables, self.seed, check_epoch(epoch), index)


def draw_pairs(tables: DrawTables, seed: int, epoch: int, indices: Int64) -> Pairs:
    """Draw the pairs with these indices int64 [n]."""
    visits = draw_visits(tables, seed, epoch, indices)
    target = choose(tables.target, visits.length - 1, visits.quantile, visits.visits)
    return Pairs(visits.sequence, choose(tables.start, target, visits.word, 1) - 1, target)


class Visits(NamedTuple):
    """Visits of sequences [n] from which pairs are chosen.

    Attributes
    ----------
    sequence, length : the sequence and its length, int64
    quantile : the visit's part of the sequence's law, float64 in [0, visits); evenly spaced in an epoch
    visits : visits of the sequence in the epoch, int64
    word : a random number of the visit, float64 in [0, 1)
    """

    sequence: Int64
    length: Int64
    quantile: Float64
    visits: Int64
    word: Float64


def draw_visits(tables: DrawTables, seed: int, epoch: int, indices: Int64) -> Visits:
    """Draw the visits with these indices int64 [n]."""
    words = tables.words(seed, epoch)
    group, rank, place, low, high = located(tables, words, indices)
    visit, visits = counted(place, low, high, words.offset)
    number = tables.group_first.take(group) + rank
    sequence = tables.order[number].astype(np.int64)
    quantile = visit + keyed_uniform(number, words.key)
    quantile = np.where(quantile < visit + 1, quantile, visit)  # the sum may be rounded up into the next visit
    word = philox(seed, epoch, 0, indices)
    return Visits(sequence, tables.group_length.take(group), quantile, visits, uniform(word[0], word[1]))


class Places(NamedTuple):
    """Places of examples on the line: `place` is in `[low, high)` of sequence `rank` of a length group."""

    group: Int64
    rank: Int64
    place: Int64
    low: Float64
    high: Float64


def located(tables: DrawTables, words: EpochWords, indices: Int64) -> Places:
    """Return where the examples with these indices lie."""
    place = permute(indices, tables.size, words.order, binary_halves(tables.size))
    point = np.minimum(place + words.offset, tables.last_point)
    group = _groups(tables, point)
    begin, end = tables.group_begin.take(group), tables.group_end.take(group)
    weight, count = tables.group_weight.take(group), tables.group_count.take(group).astype(np.float64)
    rank = np.floor(np.minimum((point - begin) * tables.group_inverse.take(group), count - 1))
    # A rounded rank is off by one at most. What counts is between which bounds the point lies.
    rank -= begin + rank * weight > point
    following = rank + 1
    high = begin + following * weight
    early = np.flatnonzero((following < count) & (high <= point))
    rank[early] += 1
    following[early] += 1
    high[early] = begin[early] + following[early] * weight[early]
    high = np.where(following < count, np.minimum(high, end), end)
    return Places(group, rank.astype(np.int64), place, begin + rank * weight, high)


def _groups(tables: DrawTables, point: Float64) -> Int64:
    """Return the length group of each point by a few steps from the guide and a search for the rest."""
    cell = (point * (len(tables.group_guide) / tables.size)).astype(np.int64)
    group = tables.group_guide[np.minimum(cell, len(tables.group_guide) - 1)]
    left = np.flatnonzero(tables.group_end[group] <= point)
    for _ in range(_STEPS):
        if not len(left):
            return group
        group[left] += 1
        left = left[tables.group_end[group[left]] <= point[left]]
    group[left] = np.searchsorted(tables.group_end, point[left], side="right")
    return group


def counted(place: Int64, low: Float64, high: Float64, offset: float) -> tuple[Int64, Int64]:
    """Return the number of each place among the epoch's points in `[low, high)` from 0 and the number of points."""
    first = _first_place(low, offset)
    count = np.maximum(_first_place(high, offset) - first, 1)
    return np.minimum(np.maximum(place - first, 0), count - 1), count


def _first_place(bound: Float64, offset: float) -> Int64:
    """Return the first whole number that is at or above `bound` with the offset added."""
    place = np.ceil(bound - offset)
    return (place + (place + offset < bound)).astype(np.int64)


def check_indices(indices: ArrayLike, pairs_per_epoch: int) -> Int64:
    """Return pair indices as int64 [n]. Raises InputError if an index lies outside [0, pairs_per_epoch)."""
    index = np.asarray(indices)
    if index.ndim != 1 or not (np.issubdtype(index.dtype, np.integer) or index.size == 0):
        raise InputError(f"Pair indices must be one row of whole numbers; got {index.dtype} of shape {index.shape}.")
    index = index.astype(np.int64, copy=False)
    # Read without a sign, a negative index is the largest of all.
    if index.size and index.view(np.uint64).max() >= pairs_per_epoch:
        raise InputError(f"Pair indices run from 0 to {pairs_per_epoch - 1}, the epoch's last pair.")
    return index


def check_pairs_per_epoch(value: Any) -> int:
    """Return `pairs_per_epoch` as an int from 1 to 2⁶¹. Raises InputError for anything else."""
    return whole_number("pairs_per_epoch", value, 1, 2**61)


def choose(table: PowerTable, size: Int64, u: Float64, n: Int64 | int) -> Int64:
    """Choose from {1 … size} with the table's weights by inversion of u / n in `[0, 1)`."""
    if table.last:
        return size
    if table.even:
        # The cumulative weights are 0 … n, so the search is a rounding down.
        return np.minimum((u * (size / n)).astype(np.int64) + 1, size)
    total = table.cumulative[size]
    point = np.minimum(u * (total / n), total * BELOW_ONE)  # a rounded product may reach the total
    return np.searchsorted(table.cumulative, point, side="right").astype(np.int64)
