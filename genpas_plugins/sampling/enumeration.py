"""The enumerated strategies: each of their pairs comes once a pass in an order computed per index.

Pairs are numbered by length group, then sequence and then place in the sequence. A search in a table of the
distinct lengths turns a number into an address. A keyed permutation of the numbers shuffles the pass. Nothing is
stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from genpas_plugins.data.sequences import Pairs, SequenceView
from genpas_plugins.sampling import permutation
from genpas_plugins.sampling.backend import choose_backend, implementation
from genpas_plugins.sampling.constructions import Construction, construction_of
from genpas_plugins.sampling.protocol import PairStream
from genpas_plugins.sampling.random_stream import check_epoch, check_seed
from genpas_plugins.sampling.sampler import check_indices, check_pairs_per_epoch
from genpas_plugins.support.array_types import Int64, Integers, UInt32
from genpas_plugins.support.errors import InputError

_GUIDE_BITS = 10


@dataclass(frozen=True, eq=False)
class PairNumbering:
    """Tables that turn a pair number into an address for a view of d distinct lengths.

    Attributes
    ----------
    construction : lists the pairs of a sequence
    ends : pairs of the length groups up to and including each, int64 [d]
    per_sequence : pairs of one sequence of the group, int64 [d]
    group_length, group_first : see `LengthGroups`, int64 [d]
    order : rows of the sequences by length, int [n_sequences]
    """

    construction: Construction
    ends: Int64
    per_sequence: Int64
    group_length: Int64
    group_first: Int64
    order: Integers

    @classmethod
    def of(cls, view: SequenceView, construction: Construction, per_sequence: Int64 | None = None) -> PairNumbering:
        """Return the numbering of the pairs of `construction` over `view`. Raises InputError beyond 2⁶¹ pairs.

        `per_sequence` int64 [d] replaces the number of pairs of a sequence.
        """
        groups = view.groups
        counts = construction.n_pairs(groups.length) if per_sequence is None else per_sequence
        # In Python's integers: the pairs of many long sequences may not fit into 64 bits.
        total = sum(m * count for m, count in zip(counts.tolist(), groups.size.tolist(), strict=True))
        if total > permutation.LARGEST:
            raise InputError(
                f"{construction.name} has {total} pairs on this data; an enumerated epoch holds at most 2**61."
            )
        return cls(construction, np.cumsum(counts * groups.size), counts, groups.length, groups.first, view.index.order)

    @property
    def total(self) -> int:
        """Number of pairs."""
        return int(self.ends[-1])

    @property
    def guide_shift(self) -> int:
        """The binary logarithm of how many numbers share an entry of the guide."""
        return max(0, (self.total - 1).bit_length() - _GUIDE_BITS)

    @cached_property
    def guide(self) -> Int64:
        """The first group with a number from i 2**guide_shift on: compiled code begins its search there."""
        first = np.arange(((self.total - 1) >> self.guide_shift) + 1) << self.guide_shift
        return np.searchsorted(self.ends, first, side="right").astype(np.int64)


class PairEnumeration(PairStream):
    """An addressable stream of each pair of a construction exactly once a pass.

    Parameters
    ----------
    view : the sequences
    strategy : name of a construction with its numbers; see `construction_of`
    seed, backend : see `PairSampler`
    pairs_per_epoch : length of an epoch; None: one pass of `n_pairs`. Epochs cut the endless row of passes into
        pieces of this length. Each pass stays complete.
    """

    def __init__(
        self,
        view: SequenceView,
        strategy: str,
        seed: int,
        pairs_per_epoch: int | None = None,
        backend: str | None = None,
    ) -> None:
        construction = construction_of(strategy)
        view.require_pairs()
        self.view = view
        self.strategy = strategy
        self.seed = check_seed(seed)
        self.tables = PairNumbering.of(view, construction)
        self.pairs_per_epoch = self.n_pairs if pairs_per_epoch is None else check_pairs_per_epoch(pairs_per_epoch)
        self.backend = choose_backend(backend)

    def __reduce__(self) -> Any:
        """Pickle the arguments: the tables are made again where the stream is opened."""
        return PairEnumeration, (self.view, self.strategy, self.seed, self.pairs_per_epoch, self.backend)

    @property
    def n_pairs(self) -> int:
        """Number of pairs of the strategy: the length of a pass."""
        return self.tables.total

    def pairs(self, epoch: int, indices: ArrayLike) -> Pairs:
        """Return the pairs with these indices of the epoch: int64 [n], each in [0, pairs_per_epoch)."""
        sequence, length, number, _ = self._numbers(epoch, indices)
        return Pairs(sequence, *self.tables.construction.pair(length, number))

    def addresses(self, epoch: int, indices: ArrayLike) -> tuple[Pairs, Pairs]:
        """Return the pairs with these indices and their histories; see `PairStream`."""
        if not self.tables.construction.ahead:
            return super().addresses(epoch, indices)
        sequence, length, number, _ = self._numbers(epoch, indices)
        start, stop, target = self.tables.construction.slice(length, number)
        return Pairs(sequence, start, target), Pairs(sequence, start, stop)

    def _numbers(self, epoch: int, indices: ArrayLike) -> PairNumbers:
        index = check_indices(indices, self.pairs_per_epoch)
        first = check_epoch(epoch) * self.pairs_per_epoch
        return numbers_in_passes(self.tables, self.seed, first, index, self.backend)


class PairNumbers(NamedTuple):
    """Numbers of pairs, int64 [n] each: pair `number` of a `sequence` of `length` items, of a length `group`."""

    sequence: Int64
    length: Int64
    number: Int64
    group: Int64


def numbers_in_passes(numbering: PairNumbering, seed: int, first: int, indices: Int64, backend: str) -> PairNumbers:
    """Return places `first` + indices of the endless row of passes; `first` may exceed 64 bits."""
    enumerate_ = implementation(enumerate_numbers, backend)
    total = numbering.total
    passes_before, skipped = divmod(first, total)
    place = indices + skipped
    if not len(place) or place.max() < total:
        return enumerate_(numbering, permutation.round_keys(seed, passes_before), place)
    passes, place = np.divmod(place, total)
    places = PairNumbers(*np.empty((len(PairNumbers._fields), len(place)), np.int64))
    order = np.argsort(passes, kind="stable")
    found, begins = np.unique(passes[order], return_index=True)
    for number, of_pass in zip(found.tolist(), np.split(order, begins[1:]), strict=True):
        keys = permutation.round_keys(seed, passes_before + number)
        for whole, part in zip(places, enumerate_(numbering, keys, place[of_pass]), strict=True):
            whole[of_pass] = part
    return places


def enumerate_numbers(numbering: PairNumbering, keys: UInt32, indices: Int64) -> PairNumbers:
    """Return the pairs at these places int64 [n] in [0, numbering.total) of the pass with these keys."""
    number = permutation.permute(indices, numbering.total, keys)
    group = np.searchsorted(numbering.ends, number, side="right")
    size = numbering.per_sequence[group]
    before = np.where(group > 0, numbering.ends[group - 1], 0)
    rank, place = np.divmod(number - before, size)
    sequence = numbering.order[numbering.group_first[group] + rank].astype(np.int64)
    return PairNumbers(sequence, numbering.group_length[group], place, group)
