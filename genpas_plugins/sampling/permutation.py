"""A keyed pseudo-random order of n numbers that is computed per index and never stored.

A Feistel network over Z_a x Z_b with a * b just above n (Black & Rogaway, "Ciphers with arbitrary finite domains",
CT-RSA 2002). Each round adds a keyed function of one half to the other half. This is a bijection for any function.
Results from n on go through again until they are below n.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from genpas_plugins.sampling.random_stream import PERMUTATION, philox
from genpas_plugins.support.array_types import Int64, UInt32

ROUNDS = 6
LARGEST = 1 << 61


@lru_cache(maxsize=256)
def round_keys(seed: int, number: int) -> UInt32:
    """Return the keys uint32 [ROUNDS] of order `number` < 2⁶²."""
    keys = philox(seed, 0, PERMUTATION, 2 * number + np.arange(2)).T.reshape(-1)[:ROUNDS]
    keys.flags.writeable = False
    return keys


def halves(n: int) -> tuple[int, int]:
    """Return the sides (a, b) of the smallest near-square with a * b ≥ n ≥ 1."""
    a = math.isqrt(n - 1) + 1
    return a, -(-n // a)


def binary_halves(n: int) -> tuple[int, int]:
    """Return sides (a, b) with a * b ≥ n ≥ 1. b is a power of two near √n and so needs no division."""
    b = 1 << ((n - 1).bit_length() // 2)
    return -(-n // b), b


def permute(indices: Int64, n: int, keys: UInt32, sides: tuple[int, int] | None = None) -> Int64:
    """Send each index int64 [m] in [0, n) to its place in the keyed order of 0 … n - 1. n is at most 2⁶¹.

    A key is a round. `sides` of the network are `halves(n)` by default.
    """
    a, b = sides or halves(n)
    places = _network(indices, a, b, keys)
    outside = np.flatnonzero(places >= n)
    while len(outside):
        places[outside] = _network(places[outside], a, b, keys)
        outside = outside[places[outside] >= n]
    return places


def _network(x: Int64, a: int, b: int, keys: UInt32) -> Int64:
    binary = b & (b - 1) == 0  # then a division is a shift
    left, right = (x >> (b.bit_length() - 1), x & (b - 1)) if binary else np.divmod(x, b)
    for number, key in enumerate(keys):
        if number % 2 == 0:
            left += _scaled_hash(right, key, a)
            left = _below(left, a)
        elif binary:
            right += _scaled_hash(left, key, b)
            right &= b - 1
        else:
            right += _scaled_hash(left, key, b)
            right = _below(right, b)
    left *= b
    left += right
    return left


def _below(x: Int64, size: int) -> Int64:
    """Subtract `size` from each x in [0, 2 size) that is not below it. Unsigned, a negative difference is large."""
    unsigned = x.view(np.uint64)
    lower: Int64 = np.minimum(unsigned, unsigned - np.uint64(size)).view(np.int64)
    return lower


def _scaled_hash(x: Int64, key: np.uint32, size: int) -> Int64:
    """Hash x with the finalizer of MurmurHash3 and scale it to `[0, size)`."""
    h = x.astype(np.uint32) ^ key
    h ^= h >> np.uint32(16)
    h *= np.uint32(0x85EBCA6B)
    h ^= h >> np.uint32(13)
    h *= np.uint32(0xC2B2AE35)
    h ^= h >> np.uint32(16)
    scaled = h.astype(np.uint64)
    scaled *= np.uint64(size)
    scaled >>= np.uint64(32)
    return scaled.view(np.int64)
