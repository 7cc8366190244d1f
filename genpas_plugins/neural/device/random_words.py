"""Twins of the random words and keyed orders of `genpas_plugins.sampling` for tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from genpas_plugins.sampling import permutation
from genpas_plugins.sampling.random_stream import MIXERS, MULTIPLIERS, PERMUTATION, ROUNDS, WEYL

_MASK = 0xFFFFFFFF
_RARE = 1e-3
"""How many of a batch are left outside on average when `Ahead` stops."""


def philox(seed: int, epoch: int, block: int | Tensor, index: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Twin of `genpas_plugins.sampling.random_stream.philox`: four words of 32 bits, int64 [n] each."""
    c0, c1 = index & _MASK, index >> 32
    c2, c3 = torch.full_like(index, epoch), torch.zeros_like(index) + block
    k0, k1 = seed & _MASK, seed >> 32
    for _ in range(ROUNDS):
        p0, p1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1 = (p1 >> 32).bitwise_and_(_MASK).bitwise_xor_(c1).bitwise_xor_(k0), p1.bitwise_and_(_MASK)
        c2, c3 = (p0 >> 32).bitwise_and_(_MASK).bitwise_xor_(c3).bitwise_xor_(k1), p0.bitwise_and_(_MASK)
        k0, k1 = (k0 + WEYL[0]) & _MASK, (k1 + WEYL[1]) & _MASK
    return c0, c1, c2, c3


def uniform(high: Tensor, low: Tensor) -> Tensor:
    """Turn two random words into one float64 in `[0, 1)` with 53 random bits."""
    return ((high << 21) | (low >> 11)).to(torch.float64) * 2.0**-53


def keyed_uniform(numbers: Tensor, key: int) -> Tensor:
    """Twin of `genpas_plugins.sampling.random_stream.keyed_uniform`."""
    first, second, third = (_signed(mixer) for mixer in MIXERS)
    z = numbers * first + _signed(key)
    z = (z ^ ((z >> 30) & (1 << 34) - 1)) * second
    z = (z ^ ((z >> 27) & (1 << 37) - 1)) * third
    return (((z ^ ((z >> 31) & (1 << 33) - 1)) >> 11) & (1 << 53) - 1).to(torch.float64) * 2.0**-53


def _signed(word: int) -> int:
    """Return the int64 with the bits of a word of 64 bits."""
    return word - (1 << 64) if word >= 1 << 63 else word


def round_keys(seed: int, number: Tensor) -> list[Tensor]:
    """Twin of `permutation.round_keys` for an order of its own for each element, int64 [n] each."""
    words = [*philox(seed, 0, PERMUTATION, 2 * number), *philox(seed, 0, PERMUTATION, 2 * number + 1)]
    return words[: permutation.ROUNDS]


def permute(index: Tensor, n: int, keys: Sequence[int | Tensor], sides: tuple[int, int] | None = None) -> Tensor:
    """Twin of `genpas_plugins.sampling.permutation.permute`; keys are numbers, or one tensor [n] a round."""
    a, b = sides or permutation.halves(n)
    places = _network(index, a, b, keys)
    if a * b == n:
        return places
    outside = torch.nonzero(places >= n).squeeze(1)
    while len(outside):
        own = [key if isinstance(key, int) else key[outside] for key in keys]
        places[outside] = _network(places[outside], a, b, own)
        outside = outside[places[outside] >= n]
    return places


class Ahead:
    """Draws in as many steps as are almost always enough, without a wait for the device.

    Attributes
    ----------
    unfinished : bool [], whether more steps are needed, one a part of the draw; where one is, draw again without this
    """

    def __init__(self) -> None:
        self.unfinished: list[Tensor] = []

    def permute(
        self, index: Tensor, n: int, keys: Sequence[int | Tensor], sides: tuple[int, int] | None = None
    ) -> Tensor:
        """Return the places as `permute` does; unfinished places are n - 1."""
        a, b = sides or permutation.halves(n)
        places = _network(index, a, b, keys)
        left = len(index) * (1 - n / (a * b))
        while left > _RARE:
            places = torch.where(places < n, places, _network(places, a, b, keys))
            left *= 1 - n / (a * b)
        if a * b > n:
            self.unfinished.append((places >= n).any())
        return places.clamp(max=n - 1)


def _network(x: Tensor, a: int, b: int, keys: Sequence[int | Tensor]) -> Tensor:
    left = x // b
    right = x - left * b
    for number, key in enumerate(keys):
        if number % 2 == 0:
            left = (left + _scaled_hash(right, key, a)) % a
        else:
            right = (right + _scaled_hash(left, key, b)) % b
    return left * b + right


def _scaled_hash(x: Tensor, key: int | Tensor, size: int) -> Tensor:
    h = (x & _MASK) ^ key
    h = ((h ^ (h >> 16)) * 0x85EBCA6B) & _MASK
    h = ((h ^ (h >> 13)) * 0xC2B2AE35) & _MASK
    # A hash below 2³² times a side of at most 2³⁰·⁵ + 1 stays below 2⁶³.
    return ((h ^ (h >> 16)) * size) >> 32
