"""Counter-based random numbers: any process reaches any word of the stream in O(1) and in any order.

Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11). The key is the seed. The
counter is

    word 0, 1   index of the pair in its epoch (low, high)
    word 2      epoch
    word 3      block: 0 and 1 are the pair's own eight words, operators use later blocks, PERMUTATION keys the order
                of an enumerated pass, and EPOCH has the words that all examples of an epoch share

A pair's words depend on (seed, epoch, index) alone. Every backend gives the same bits because all operations are on
integers or are correctly rounded.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from genpas_plugins.support.array_types import Float64, Int64, UInt32
from genpas_plugins.support.errors import whole_number

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
PERMUTATION = 0xFFFFFFFF
EPOCH = 0xFFFFFFFE
MIXERS = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_MASK = 0xFFFFFFFF


def check_seed(seed: Any) -> int:
    """Return `seed` as an int in `[0, 2⁶⁴)`. Raises InputError for anything else."""
    return whole_number("seed", seed, 0, 2**64 - 1)


def check_epoch(epoch: Any) -> int:
    """Return `epoch` as an int in `[0, 2³²)`. Raises InputError for anything else."""
    return whole_number("epoch", epoch, 0, 2**32 - 1)


def philox(seed: int, epoch: int, block: int, indices: ArrayLike) -> UInt32:
    """Return the four random words uint32 [4, n] of block `block` for every pair index.

    seed < 2⁶⁴. epoch and block < 2³². indices are nonnegative int64 [n].
    """
    index = np.asarray(indices).astype(np.uint64)
    half, mask = np.uint64(32), np.uint64(_MASK)
    c0, c1 = index & mask, index >> half
    c2, c3 = np.full_like(index, epoch), np.full_like(index, block)
    k0, k1 = seed & _MASK, seed >> 32
    m0, m1 = np.uint64(MULTIPLIERS[0]), np.uint64(MULTIPLIERS[1])
    next0, next2 = np.empty_like(index), np.empty_like(index)
    for _ in range(ROUNDS):
        # All words are below 2³², so the products fit into uint64: the high half mixes, the low half is kept. In place,
        # because fresh arrays take longer than the arithmetic.
        c0 *= m0
        c2 *= m1
        np.right_shift(c2, half, out=next0)
        np.right_shift(c0, half, out=next2)
        next0 ^= c1
        next2 ^= c3
        next0 ^= np.uint64(k0)
        next2 ^= np.uint64(k1)
        c2 &= mask
        c0 &= mask
        c0, c1, c2, c3, next0, next2 = next0, c2, next2, c0, c1, c3
        k0, k1 = (k0 + WEYL[0]) & _MASK, (k1 + WEYL[1]) & _MASK
    words = np.empty((4, *index.shape), np.uint32)
    for row, word in zip(words, (c0, c1, c2, c3), strict=True):
        row[...] = word
    return words


def uniform(high: UInt32, low: UInt32) -> Float64:
    """Turn two random words into one float64 in `[0, 1)` with 53 random bits."""
    word = (high.astype(np.uint64) << np.uint64(32)) | low
    return (word >> np.uint64(11)).astype(np.float64) * 2.0**-53


class EpochWords(NamedTuple):
    """What all examples of an epoch share.

    Attributes
    ----------
    order : uint32 [4], keys of the order of the examples
    offset : where the epoch's points begin, in [0, 1)
    key : int in [0, 2⁶⁴), for `keyed_uniform`
    """

    order: UInt32
    offset: float
    key: int


@lru_cache(maxsize=256)
def epoch_words(seed: int, epoch: int, bits: int) -> EpochWords:
    """Return the words of an epoch; the offset is a multiple of 2**-bits."""
    (a, b, c, d), order = philox(seed, epoch, EPOCH, np.arange(2)).T
    order.flags.writeable = False
    offset = math.floor(float(uniform(a, b)) * 2.0**bits) / 2.0**bits
    return EpochWords(order, offset, int(c) << 32 | int(d))


def keyed_uniform(numbers: Int64, key: int) -> Float64:
    """Return a number in `[0, 1)` with 53 random bits for each of `numbers`: the mixer of SplitMix64 (Steele 2014)."""
    z = numbers.astype(np.uint64) * np.uint64(MIXERS[0]) + np.uint64(key)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(MIXERS[1])
    z = (z ^ (z >> np.uint64(27))) * np.uint64(MIXERS[2])
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) * 2.0**-53
