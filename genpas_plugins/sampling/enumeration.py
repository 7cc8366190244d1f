"""The enumerated strategies: each of their pairs once a pass, in an order computed per index.

Pairs are numbered by length group, then sequence, then place in the sequence. So a search in a table of the distinct
lengths turns a number into an address. A keyed permutation of the numbers shuffles the pass; nothing is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from genpas_plugins.data.sequences import Pairs, SequenceView
from genpas_plugins.sampling import permutation
from genpas_plugins.sampling.backend import choose_backend, implementation
from genpas_plugins.sampling.policy import EXPONENTS
from genpas_plugins.sampling.protocol import PairStream
from genpas_plugins.sampling.random_stream import check_epoch, check_seed
from genpas_plugins.sampling.sampler import check_indices, check_pairs_per_epoch
from genpas_plugins.support.array_types import Int64, Integers, UInt32
from genpas_plugins.support.errors import InputError


@dataclass(frozen=True, eq=False)
class PairNumbering:
    """Tables that turn a pair number into an address, for a view of d distinct lengths.

    Attributes
    ----------
    strategy : "last_target", "multi_target" or "slide_window"
    ends : int64 [d], pairs of the length groups up to and including each
    per_sequence : int64 [d], pairs of one sequence of the group
    group_length, group_first : int64 [d], see `LengthGroups`
    order : int [n_sequences], rows of the sequences by length
    """

    strategy: str
    ends: Int64
    per_sequence: Int64
    group_length: Int64
    group_first: Int64
    order: Integers

    @classmethod
    def of(cls, view: SequenceView, strategy: str) -> PairNumbering:
        """Return the numbering of the pairs of `strategy` over `view`. Raises InputError beyond 2⁶¹ pairs."""
        # In Python's integers: the number of windows of a long sequence may not fit into 64 bits.
        per_sequence = [
            {"last_target": 1, "multi_target": n - 1, "slide_window": n * (n - 1) // 2}[strategy]
            for n in view.groups.length.tolist()
        ]
        return cls.with_counts(view, strategy, per_sequence)

    @classmethod
    def with_counts(cls, view: SequenceView, strategy: str, per_sequence: Sequence[int]) -> PairNumbering:
        """Return a numbering with `per_sequence` pairs in a sequence of each length group; otherwise as `of`."""
        groups = view.groups
        total = sum(m * count for m, count in zip(per_sequence, groups.size.tolist(), strict=True))
        if total > permutation.LARGEST:
            raise InputError(f"{strategy} has {total} pairs on this data; an enumerated epoch holds at most 2**61.")
        counts = np.array(per_sequence, np.int64)
        ends = np.cumsum(counts * groups.size)
        return cls(strategy, ends, counts, groups.length, groups.first, view.index.order)

    @property
    def total(self) -> int:
        """Number of pairs."""
        return int(self.ends[-1])


class PairEnumeration(PairStream):
    """An addressable stream of each pair of an enumerated strategy exactly once a pass.

    Parameters
    ----------
    view : the sequences
    strategy : "last_target", "multi_target" or "slide_window"
    seed, backend : see `PairSampler`, as for what is raised
    pairs_per_epoch : length of an epoch; None: one pass, `n_pairs`. Epochs cut the endless row of passes into pieces of
        this length, so each pass stays complete.
    """

    def __init__(
        self,
        view: SequenceView,
        strategy: str,
        seed: int,
        pairs_per_epoch: int | None = None,
        backend: str | None = None,
    ) -> None:
        if strategy not in EXPONENTS:
            raise InputError(f"Unknown enumerated strategy {strategy!r}. Use one of {', '.join(EXPONENTS)}.")
        view.require_pairs()
        self.view = view
        self.strategy = strategy
        self.seed = check_seed(seed)
        self.tables = PairNumbering.of(view, strategy)
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
        index = check_indices(indices, self.pairs_per_epoch)
        return pairs_in_passes(self.tables, self.seed, check_epoch(epoch) * self.pairs_per_epoch, index, self.backend)


def pairs_in_passes(numbering: PairNumbering, seed: int, first: int, indices: Int64, backend: str) -> Pairs:
    """Return pairs `first` + indices of the endless row of passes; `first` may exceed 64 bits."""
    enumerate_ = implementation(enumerate_pairs, backend)
    total = numbering.total
    passes_before, skipped = divmod(first, total)
    place = indices + skipped
    if not len(place) or place.max() < total:
        return enumerate_(numbering, permutation.round_keys(seed, passes_before), place)
    passes, place = np.divmod(place, total)
    pairs = Pairs(*(np.empty(len(place), np.int64) for _ in range(3)))
    for number in np.unique(passes):
        keys = permutation.round_keys(seed, passes_before + int(number))
        of_pass = np.flatnonzero(passes == number)
        for whole, part in zip(pairs, enumerate_(numbering, keys, place[of_pass]), strict=True):
            whole[of_pass] = part
    return pairs


def enumerate_pairs(numbering: PairNumbering, keys: UInt32, indices: Int64) -> Pairs:
    """Return the pairs at these places of the pass with these keys, int64 [n], each in [0, numbering.total)."""
    number = permutation.permute(indices, numbering.total, keys)
    group = np.searchsorted(numbering.ends, number, side="right")
    size = numbering.per_sequence[group]
    before = np.where(group > 0, numbering.ends[group - 1], 0)
    rank, place = np.divmod(number - before, size)
    sequence = numbering.order[numbering.group_first[group] + rank].astype(np.int64)
    if numbering.strategy == "last_target":
        return Pairs(sequence, np.zeros_like(place), numbering.group_length[group] - 1)
    if numbering.strategy == "multi_target":
        return Pairs(sequence, np.zeros_like(place), place + 1)
    # Windows are numbered by target, then start: target t has the places t (t - 1) / 2 … t (t + 1) / 2 - 1.
    target = ((1 + np.sqrt(1 + 8 * place.astype(np.float64))) / 2).astype(np.int64)
    # The square root is exact to half a unit, so the floor is off by one at most.
    target -= target * (target - 1) // 2 > place
    target += target * (target + 1) // 2 <= place
    return Pairs(sequence, place - target * (target - 1) // 2, target)
