"""The base of all constructions: the pairs of a sequence as formulas of its length n.

Positions count from 0. A construction says

    n_pairs        how many pairs a sequence has, equal ones counted
    pair           which pair has a number, in plain operators: numpy arrays and torch tensors alike
    up_to          how many of the pairs have a target and begin at or before a start: the closed form
    n_windows …    which windows read all of the pairs once histories are cut to L items

Of a drawn construction the pairs may have any weights: `up_to` sums them and `number` inverts their sum. The
probability of a pair is p(s) (up_to(j, k) - up_to(j - 1, k)) / total(n), with p(s) in proportion to `sequence_weight`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple

import numpy as np

from genpas_plugins.data.lengths import LengthGroups
from genpas_plugins.data.sequences import Pairs, SequenceView
from genpas_plugins.support.array_types import Float64, Int64
from genpas_plugins.support.errors import InputError, whole_number

CONSTRUCTIONS: dict[str, type[Construction]] = {}
"""Every construction by its name."""


class Window(NamedTuple):
    """Targets `first` … `last` after one start: int64 [n] each. No history exceeds the limit."""

    start: Int64
    first: Int64
    last: Int64


@dataclass(frozen=True)
class Construction(ABC):
    """One way to make pairs; a subclass gives its name as `class Suffix(Construction, name="suffix")`.

    Attributes
    ----------
    name : its name, the value of the `strategy` key
    exponents : α, β, γ of a sampled policy with the same distribution, or near to it; None: no policy is near
    drawn : whether an epoch is drawn by evenly spaced points; else each pair comes once a pass
    ahead : whether a history may end before the item ahead of its target
    in_torch : whether tensors may take the place of arrays in `window` and `up_to`

    Raises
    ------
    InputError
        For a number out of range.
    """

    name: ClassVar[str]
    exponents: ClassVar[tuple[float, float, float] | None] = None
    drawn: ClassVar[bool] = False
    ahead: ClassVar[bool] = False
    in_torch: ClassVar[bool] = True
    lowest: ClassVar[int] = 1
    alpha: ClassVar[None] = None
    beta: ClassVar[None] = None
    gamma: ClassVar[None] = None

    def __init_subclass__(cls, *, name: str | None = None) -> None:
        """Register the construction under its name; a base for others has none."""
        if name is not None:
            cls.name = name
            CONSTRUCTIONS[name] = cls

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.type == "int":
                whole_number(f"{self.name}: {field.name}", getattr(self, field.name), self.lowest, 2**31)

    @classmethod
    def numbers(cls) -> tuple[str, ...]:
        """Return the names of the construction's numbers."""
        return tuple(field.name for field in fields(cls))

    @property
    def label(self) -> str:
        """The text that `construction_of` reads such as "last_items:length=50"."""
        return ":".join([self.name, *(f"{key}={getattr(self, key)}" for key in self.numbers())])

    @property
    def strategy(self) -> str:
        """The label as value of the `strategy` key."""
        return self.label

    @property
    def construction(self) -> Construction:
        """The construction itself."""
        return self

    @abstractmethod
    def n_pairs(self, length: Any) -> Any:
        """Return how many pairs a sequence of each length ≥ 2 has."""

    @abstractmethod
    def pair(self, length: Any, number: Any) -> tuple[Any, Any]:
        """Return start and target of the pairs with these numbers in [0, n_pairs)."""

    @abstractmethod
    def up_to(self, length: Any, start: Any, target: Any) -> Any:
        """Return the number (weight) of pairs with this target and a start ≤ `start` < target. Start -1 gives 0."""

    @abstractmethod
    def n_windows(self, length: Any, limit: int) -> Any:
        """Return how many windows read all pairs once after histories are cut to their last `limit` items."""

    @abstractmethod
    def window(self, length: Any, limit: int, number: Any) -> Window:
        """Return the windows with these numbers in [0, n_windows)."""

    @abstractmethod
    def n_targets(self, length: Any, limit: int) -> Any:
        """Return how many of the pairs differ after the cut."""

    def total(self, length: Int64) -> Any:
        """Return the weight of all pairs of a sequence."""
        return self.n_pairs(length)

    def number(self, length: Int64, quantile: Float64) -> Any:
        """Return the number of the pair at each quantile in [0, 1) of the pairs of a sequence."""
        count = self.n_pairs(length)
        return np.minimum((quantile * count).astype(np.int64), count - 1)

    def slice(self, length: Any, number: Any) -> tuple[Any, Any, Any]:
        """Return start, position after the history, and target of the pairs with these numbers."""
        start, target = self.pair(length, number)
        return start, target, target

    def sequence_weight(self, groups: LengthGroups) -> Float64:
        """Return unnormalised p(s) float64 [d] of the sequences of each length group."""
        return np.asarray(self.total(groups.length), np.float64)

    def sequence_mass(self, view: SequenceView) -> Float64:
        """Return the probability float64 [d] of the sequences of each length group."""
        mass = self.sequence_weight(view.groups) * view.groups.size
        return np.asarray(mass / mass.sum())

    def target_probability(self, length: Int64, target: Int64) -> Float64:
        """Return p(k | s) float64 [n] of target positions of sequences of these lengths."""
        return np.asarray(self.up_to(length, target, target) / self.total(length), np.float64)

    def longer(self, length: Int64, least: int, target: Int64) -> Any:
        """Return the number (weight) of pairs with this target ≥ `least` and a history of at least `least` items."""
        return self.up_to(length, target - least, target)

    def log_prob(self, view: SequenceView, pairs: Pairs) -> Float64:
        """Return ln p(s, k, j) float64 [n] of each pair: -inf for a pair that is never drawn."""
        groups, length = view.groups, view.lengths(np.asarray(pairs.sequence))
        weight = self.sequence_weight(groups)
        p_sequence = (weight / (weight @ groups.size))[np.searchsorted(groups.length, length)]
        before = self.up_to(length, pairs.start - 1, pairs.target)
        count = np.where(pairs.start <= pairs.target, self.up_to(length, pairs.start, pairs.target) - before, 0)
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(p_sequence * count / self.total(length)))

    def length_distribution(self, view: SequenceView, max_length: int | None = None) -> Float64:
        """Return the exact P(a history has m items) for every m up to `max_length`: float64 [longest + 1].

        The time is in proportion to the sum of length times `max_length` over the different lengths.
        """
        before = view.max_length - 1
        longest = before if max_length is None else min(whole_number("max_length", max_length, 1), before)
        least = np.zeros(longest + 2)
        per_group = self.sequence_mass(view)
        for n, mass in zip(view.groups.length.tolist(), per_group, strict=True):
            share = mass / float(self.total(np.array([n]))[0])
            for m in range(1, min(longest, n - 1) + 1):
                target = np.arange(m, n)
                least[m] += share * float(np.sum(self.longer(np.full(len(target), n), m, target)))
        least[0] = 1.0
        return np.asarray(least[:-1] - least[1:])

    def expected_history_length(self, view: SequenceView, max_length: int | None = None) -> float:
        """Return the exact mean number of items in a history after a cut to `max_length`."""
        view.require_pairs()
        lengths = self.length_distribution(view, max_length)
        return float(lengths @ np.arange(len(lengths)))

    def require_windows(self) -> None:
        """Raise InputError if the pairs cannot be trained several in one pass."""
        if self.ahead:
            raise InputError(f"{self.name} has pairs that no window of next items trains. Set targets: single.")


class Prefixes(Construction):
    """Constructions of whole prefixes: every pair starts at 0 and the targets are one range."""

    @abstractmethod
    def targets(self, length: Any) -> tuple[Any, Any]:
        """Return the first and the last target of sequences of these lengths."""

    def n_pairs(self, length: Any) -> Any:
        """Return the number of targets."""
        first, last = self.targets(length)
        return last - first + 1

    def pair(self, length: Any, number: Any) -> tuple[Any, Any]:
        """Return start and target."""
        return 0 * number, self.targets(length)[0] + number

    def up_to(self, length: Any, start: Any, target: Any) -> Any:
        """Return whether the target is in the range."""
        first, last = self.targets(length)
        return 1 * ((first <= target) & (target <= last) & (start >= 0))

    def n_windows(self, length: Any, limit: int) -> Any:
        """Return the number of windows: one of all short histories and one of each cut history."""
        first, last = self.targets(length)
        return larger(last - limit, 0) - larger(first - limit, 0) + 1

    def window(self, length: Any, limit: int, number: Any) -> Window:
        """Return the window."""
        first, last = self.targets(length)
        start = larger(first - limit, 0) + number
        return Window(start, select(number > 0, start + limit, first), smaller(start + limit, last))

    def n_targets(self, length: Any, limit: int) -> Any:
        """Return the number of targets: their histories differ."""
        return self.n_pairs(length)


def larger(a: Any, b: Any) -> Any:
    """Return the elementwise maximum of integer numpy arrays or torch tensors."""
    return np.maximum(a, b) if _in_numpy(a, b) else a + (b - a) * (b > a)


def smaller(a: Any, b: Any) -> Any:
    """Return the elementwise minimum of integer numpy arrays or torch tensors."""
    return np.minimum(a, b) if _in_numpy(a, b) else a + (b - a) * (b < a)


def select(condition: Any, a: Any, b: Any) -> Any:
    """Return a where the condition is true and else b from integer numpy arrays or torch tensors."""
    return np.where(condition, a, b) if _in_numpy(condition, a, b) else b + (a - b) * condition


def triangular(number: Any) -> tuple[Any, Any]:
    """Return row r ≥ 1 and column in [0, r) of numbers that fill a triangle row by row; exact below 2⁶²."""
    if _in_numpy(number):
        row = ((1 + np.sqrt(1 + 8 * number.astype(np.float64))) / 2).astype(np.int64)
    else:
        row = ((1 + (1 + 8 * number.double()).sqrt()) / 2).long()
    # The square root is exact to half a unit, so the row is off by one at most.
    row = row - 1 * (row * (row - 1) // 2 > number)
    row = row + 1 * (row * (row + 1) // 2 <= number)
    return row, number - row * (row - 1) // 2


def sum_of_smaller(count: Any, limit: Any) -> Any:
    """Return Σ_{i = 1 … count} min(i, limit) of whole numbers; 0 for count ≤ 0."""
    count = larger(count, 0)
    part = smaller(count, limit)
    return part * (part + 1) // 2 + (count - part) * limit


def _in_numpy(*values: Any) -> bool:
    return all(isinstance(value, np.ndarray | np.generic | int) for value in values)
