"""The base of all operators: how often an operator is applied and to how many items."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from genpas_plugins.augment.draws import Draws
from genpas_plugins.augment.histories import ChangedHistories
from genpas_plugins.support.array_types import Int64, Integers
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
        cls.name = name
        OPERATORS[name] = cls

    def __post_init__(self) -> None:
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
        """Return the changed histories. `rate` and `probability` are above 0.

        Histories and draws are arrays or tensors on a device. An operator calls their methods and never numpy's
        functions.
        """

    def if_chosen(self, counts: Int64, draws: Draws) -> Int64:
        """Return counts int64 [n] with 0 for the pairs that the operator is not applied to."""
        return counts if self.probability == 1 else counts * (draws.of_pairs[0] < self.probability)

    def affected(self, histories: ChangedHistories, draws: Draws, at_most: Int64 | None = None) -> Int64:
        """Return how many items of each history change int64 [n]: its `share` or 0 of a pair not chosen."""
        return self.if_chosen(histories.share(float(self.rate), at_most), draws)


OPERATORS: dict[str, type[Operator]] = {}  # every operator by its name
