"""Counter-based random numbers: any process reaches any word of the stream in O(1), in any order.

Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11). The key is the seed; the counter is

    word 0, 1   index of the pair in its epoch (low, high)
    word 2      epoch
    word 3      block: 0 and 1 are the pair's own eight words, operators use later blocks, and PERMUTATION keys the
                order of an enumerated epoch

So a pair's words depend on (seed, epoch, index) alone. All operations are on integers, or correctly rounded ones on
floating-point numbers, so every backend gives the same bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from genpas_plugins.support.array_types import Float64, UInt32
from genpas_plugins.support.errors import whole_number

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
PERMUTATION = 0xFFFFFFFF
_MASK = 0xFFFFFFFF


def check_seed(seed: Any) -> int:
    """Return `seed` as an int in [0, 2⁶⁴). Raises InputError for anything else."""
    return whole_number("seed", seed, 0, 2**64 - 1)


def check_epoch(epoch: Any) -> int:
    """Return `epoch` as an int in [0, 2³²). Raises InputError for anything else."""
    return whole_number("epoch", epoch, 0, 2**32 - 1)


def philox(seed: int, epoch: int, block: int, indices: ArrayLike) -> UInt32:
    """Return the four random words of block `block` for every pair index, uint32 [4, n].

    seed < 2⁶⁴, epoch and block < 2³²; indices are int64 [n], not negative.
    """
    index = np.asarray(indices).astype(np.uint64)
    half, mask = np.uint64(32), np.uint64(_MASK)
    c0, c1 = index & mask, index >> half
    c2, c3 = np.full_like(index, epoch), np.full_like(index, block)
    k0, k1 = seed & _MASK, seed >> 32
    m0, m1 = np.uint64(MULTIPLIERS[0]), np.uint64(MULTIPLIERS[1])
    for _ in range(ROUNDS):
        # All words are below 2³², so the products fit into uint64: the high half mixes, the low half is kept.
        p0, p1 = c0 * m0, c2 * m1
        c0, c1 = (p1 >> half) ^ c1 ^ np.uint64(k0), p1 & mask
        c2, c3 = (p0 >> half) ^ c3 ^ np.uint64(k1), p0 & mask
        k0, k1 = (k0 + WEYL[0]) & _MASK, (k1 + WEYL[1]) & _MASK
    return np.stack([c0, c1, c2, c3]).astype(np.uint32)


def uniform(high: UInt32, low: UInt32) -> Float64:
    """Turn two random words each into one float64 in [0, 1) with 53 random bits."""
    word = (high.astype(np.uint64) << np.uint64(32)) | low
    return (word >> np.uint64(11)).astype(np.float64) * 2.0**-53
