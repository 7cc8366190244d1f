"""The base of all operators: how often one is applied, to how many items, and to which."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cache
from typing import ClassVar, NamedTuple

import numpy as np

from genpas_plugins.augment.draws import Draws
from genpas_plugins.augment.histories import ChangedHistories
from genpas_plugins.support.array_types import Bools, Int64, Integers
from genpas_plugins.support.errors import InputError


class Catalogue(NamedTuple):
    """Where new items come from."""

    n_items: int  # items are 1 … n_items
    # [n_items + 1], the nearest item of each, 0 for none; None if no operator needs them.
    neighbours: Integers | None = None


@dataclass(frozen=True)
class Operator(ABC):
    """One way to change histories; a subclass gives its name as `class Insert(Operator, name="insert")`.

    Parameters
    ----------
    rate : float in [0, 1], the share of a history that changes; see the subclass. With 0 nothing changes.
    probability : float in [0, 1], the share of pairs whose history changes; each pair is decided on its own

    Raises
    ------
    InputError
        For other values.
    """

    name: ClassVar[str]
    needs_neighbours: ClassVar[bool] = False

    rate: float
    probability: float = 1.0
    operator: str = field(init=False)

    def __init_subclass__(cls, *, name: str) -> None:
        """Register the operator under its name."""
        cls.name = name
        OPERATORS[name] = cls

    def __post_init__(self) -> None:
        """Check both numbers."""
        for name in ("rate", "probability"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise InputError(f"{name} must be a number from 0 to 1, not {value!r}.")
        object.__setattr__(self, "operator", self.name)

    @property
    def identity(self) -> bool:
        """Whether nothing ever changes."""
        return self.rate == 0 or self.probability == 0

    @abstractmethod
    def apply(self, histories: ChangedHistories, draws: Draws, catalogue: Catalogue) -> ChangedHistories:
        """Return the changed histories; `rate` and `probability` are above 0."""

    def chosen(self, draws: Draws) -> Bools:
        """Return which pairs the operator is applied to, `bool [n]`."""
        if self.probability == 1:
            return np.ones(len(draws.indices), bool)
        return draws.of_pairs[0] < self.probability

    def affected(self, histories: ChangedHistories, draws: Draws) -> Int64:
        """Return how many items of each history change, int64 [n]: max(1, ⌊rate · length⌋), 0 of a pair not chosen."""
        lengths = histories.lengths
        counts = numbers_of_items(float(self.rate), int(lengths.max(initial=0)).bit_length())[lengths]
        return counts if self.probability == 1 else counts * self.chosen(draws)


OPERATORS: dict[str, type[Operator]] = {}  # every operator by its name


@cache
def numbers_of_items(rate: float, bits: int) -> Int64:
    """Return max(1, ⌊rate · n⌋) for n from 1 to 2**bits - 1, and 0 for n = 0; rate is above 0.

    The product is rounded to nine decimals first, so that 0.29 · 100 is 29.
    """
    counts = [max(1, math.floor(round(rate * n, 9))) for n in range(1 << bits)]
    return np.array([0, *counts[1:]], np.int64)


def choose(histories: ChangedHistories, draws: Draws, counts: Int64) -> Int64:
    """Choose counts[i] items of history i, uniformly without replacement; return their places in `items`, int64."""
    return draws.choose(histories.offsets[:-1], histories.lengths, counts)


def choose_with_new_items(
    histories: ChangedHistories, draws: Draws, counts: Int64, catalogue: Catalogue
) -> tuple[Int64, Int64]:
    """Choose items as `choose` does, and a new item for each, uniformly from the catalogue with replacement.

    The places of the chosen items in `items`, and the new items, `int64 [Σ counts]` each. A new item takes one word, so
    its chance differs from 1 / n_items by less than 2⁻³².
    """
    places, words = draws.choose_with_words(histories.offsets[:-1], histories.lengths, counts)
    return places, 1 + ((words * np.uint64(catalogue.n_items)) >> np.uint64(32)).astype(np.int64)
