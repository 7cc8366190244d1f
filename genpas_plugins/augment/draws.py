"""The random numbers of one operator: every pair has its own blocks and nothing depends on the batch.

An operator has BLOCKS blocks of the random stream (`genpas_plugins.sampling.random_stream`) from `first` on:

    0      two numbers of the pair: whether the operator is applied, and where
    1 …    one word for each item of the history, or for each chosen item; or two words for each chosen item, the
           second for its new item
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from genpas_plugins.augment.histories import ChangedHistories
from genpas_plugins.data.lengths import bounds
from genpas_plugins.sampling.backend import implementation
from genpas_plugins.sampling.jagged import spans
from genpas_plugins.sampling.random_stream import philox, uniform
from genpas_plugins.support.array_types import Float64, Int64, UInt32

FIRST = 2  # the first operator's first block: the draw of the pair itself uses 0 and 1

BLOCKS = 1 << 24
OPERATORS_AT_MOST = 64
MAX_LENGTH = 1 << 24  # an operator's blocks have room for two words for each of so many items

_WORDS = 4  # in a block
_MODULE = "genpas_plugins.augment.operator_kernels"


@dataclass(frozen=True, eq=False)
class Draws:
    """Random numbers for operator `number` of a list and the pairs `indices` `int64 [n]` of an epoch."""

    seed: int
    epoch: int
    number: int
    indices: Int64
    backend: str

    @property
    def first(self) -> int:
        """The operator's first block."""
        return FIRST + self.number * BLOCKS

    @cached_property
    def of_pairs(self) -> tuple[Float64, Float64]:
        """Two uniform numbers for every pair: `float64 [n]` each."""
        return implementation(pair_numbers, self.backend, _MODULE)(self.seed, self.epoch, self.first, self.indices)

    def of_items(self, counts: Int64) -> UInt32:
        """Return a random word for each of the `counts` `int64 [n]` items of every pair."""
        words = implementation(jagged_words, self.backend, _MODULE)
        return words(self.seed, self.epoch, self.first + 1, self.indices, counts)

    def place(self, sizes: Int64) -> Int64:
        """Return one of the equally likely numbers 0 … sizes[i] - 1 for every pair: int64 [n]."""
        return (self.of_pairs[1] * sizes).astype(np.int64)

    def choose(self, histories: ChangedHistories, counts: Int64) -> Int64:
        """Return the places int64 [Σ counts] of counts[i] items of history i drawn uniformly without replacement."""
        return self._choose(histories.offsets[:-1], histories.lengths, counts, 1)[0]

    def choose_with_new(self, histories: ChangedHistories, counts: Int64, n_items: int) -> tuple[Int64, Int64]:
        """Choose as `choose` does but by other words. Return a new uniform item for each with replacement.

        A new item takes one word: its chance differs from 1 / n_items by less than 2⁻³².
        """
        # From the same blocks: with blocks of their own, most histories would need twice as many.
        places, words = self._choose(histories.offsets[:-1], histories.lengths, counts, 2)
        return places, 1 + ((words * np.uint64(n_items)) >> np.uint64(32)).astype(np.int64)

    def shuffle(self, histories: ChangedHistories, first: Int64, lengths: Int64) -> Int64:
        """Return the places first[i] … first[i] + lengths[i] - 1 of each history in a random order: int64 [Σ lengths].

        A choice among l takes one word: chances differ from 1 / l by less than 2⁻³².
        """
        return self._choose(histories.offsets[:-1] + first, lengths, lengths, 1)[0]

    def _choose(self, first: Int64, lengths: Int64, counts: Int64, each: int) -> tuple[Int64, UInt32]:
        choose = implementation(drawn_numbers, self.backend, _MODULE)
        return choose(self.seed, self.epoch, self.first + 1, self.indices, first, lengths, counts, each)


def pair_numbers(seed: int, epoch: int, block: int, indices: Int64) -> tuple[Float64, Float64]:
    """Return two uniform numbers `float64 [n]` for every pair from the words of `block`."""
    words = philox(seed, epoch, block, indices)
    return uniform(words[0], words[1]), uniform(words[2], words[3])


def jagged_words(seed: int, epoch: int, block: int, indices: Int64, counts: Int64) -> UInt32:
    """Return the first counts[i] words of pair indices[i] from `block` on, pair by pair: `uint32 [Σ counts]`."""
    blocks = -(-counts // _WORDS)
    number = block + spans(np.zeros_like(blocks), blocks)
    # philox takes a block for each index as well as one for all.
    words = philox(seed, epoch, number, np.repeat(indices, blocks)).T.reshape(-1)  # type: ignore[arg-type]
    return words[spans(_WORDS * bounds(blocks)[:-1], counts)]


def drawn_numbers(  # noqa: PLR0917 – as its twin
    seed: int, epoch: int, block: int, indices: Int64, first: Int64, lengths: Int64, counts: Int64, each: int
) -> tuple[Int64, UInt32]:
    """Choose counts[i] distinct numbers of first[i] … first[i] + lengths[i] - 1 uniformly.

    Return them in random order with the second word of each number if it has two: `[Σ counts]` both.

    `each` is the number of words of a number: 1 or 2. They begin at `block`.
    """
    rows = np.flatnonzero(counts)
    counts = counts[rows]
    words = jagged_words(seed, epoch, block, indices[rows], each * counts)
    return choose_numbers(words[::each], first[rows], lengths[rows], counts), words[1::each]


def choose_numbers(words: UInt32, first: Int64, lengths: Int64, counts: Int64) -> Int64:
    """Choose counts[i] > 0 numbers of each row by the first steps of a Fisher–Yates shuffle. words are `[Σ counts]`.

    Step t swaps place t with one of the places from t on. All pairs make step t together.
    """
    chosen = np.empty(len(words), np.int64)
    begin, numbers = bounds(counts)[:-1], spans(first, lengths)
    place = bounds(lengths)[:-1]  # in `numbers`, of step t
    left, out = lengths, begin
    for step in range(int(counts.max(initial=0))):
        going = np.flatnonzero(counts > step)
        if len(going) < len(counts):
            counts, place, left, out = counts[going], place[going], left[going], out[going]
        other = place + ((words[out].astype(np.uint64) * left.astype(np.uint64)) >> np.uint64(32)).astype(np.int64)
        chosen[out] = numbers[other]
        numbers[other] = numbers[place]
        place, left, out = place + 1, left - 1, out + 1
    return chosen
