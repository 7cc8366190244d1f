"""How much is measured: the full run, and the smoke test."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """How large a synthetic data set is."""

    users: int
    items: int
    interactions: int

    def __str__(self) -> str:
        """Show the counts."""
        return f"{self.users:,} users, {self.items:,} items, {self.interactions:,} interactions"


@dataclass(frozen=True)
class Sizes:
    """Data sets, and how often each measurement is repeated."""

    recbole: Shape
    """The .inter file that RecBole prepares and iterates over."""
    preparation_repeats: int
    """Processes for each kind of preparation."""
    iteration_batches: int
    """Batches of 2048 in one repeat of a loader's iteration."""
    iteration_repeats: int
    ml_20m: Shape
    """The store shaped like MovieLens-20M."""
    sampler_batches: int
    """Batches of 4096 in one repeat of the core sampler."""
    sampler_repeats: int
    small: Shape
    """The store that the large one is compared with: same generator, same mean length."""
    large: Shape
    """The store of 100 million interactions."""


FULL = Sizes(
    recbole=Shape(10_000, 20_000, 1_000_000),
    preparation_repeats=3,
    iteration_batches=300,
    iteration_repeats=5,
    ml_20m=Shape(138_493, 26_744, 20_000_000),
    sampler_batches=100,
    sampler_repeats=9,
    small=Shape(10_000, 20_000, 1_000_000),
    large=Shape(1_000_000, 1_000_000, 100_000_000),
)

QUICK = Sizes(
    recbole=Shape(200, 300, 8_000),
    preparation_repeats=1,
    iteration_batches=2,
    iteration_repeats=1,
    ml_20m=Shape(400, 200, 20_000),
    sampler_batches=2,
    sampler_repeats=1,
    small=Shape(200, 300, 10_000),
    large=Shape(2_000, 300, 100_000),
)
