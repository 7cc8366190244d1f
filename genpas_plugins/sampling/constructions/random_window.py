"""One random window a user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from genpas_plugins.data.lengths import LengthGroups
from genpas_plugins.sampling.constructions.construction import (
    Construction,
    Window,
    larger,
    select,
    smaller,
    sum_of_smaller,
)
from genpas_plugins.support.array_types import Float64

_SHORTEST = 5  # items of the shortest window


@dataclass(frozen=True)
class RandomWindow(Construction, name="random_window"):
    """RQ-VAE-Recommender's `subsample`: a start, then an end 5 … `length` + 1 items later that the sequence may cut.

    Parameters
    ----------
    length : whole number from 4 on, items of a history at most
    """

    lowest: ClassVar[int] = _SHORTEST - 1
    drawn: ClassVar[bool] = True

    length: int = 20

    @property
    def _ends(self) -> int:
        return self.length - _SHORTEST + 2

    def _starts(self, length: Any) -> Any:
        return larger(length - _SHORTEST + 1, 1)

    def n_pairs(self, length: Any) -> Any:
        """Return the number of choices of start and end."""
        return self._starts(length) * self._ends

    def pair(self, length: Any, number: Any) -> tuple[Any, Any]:
        """Return start and target."""
        start = number // self._ends
        return start, smaller(start + _SHORTEST + number % self._ends, length) - 1

    def up_to(self, length: Any, start: Any, target: Any) -> Any:
        """Return the number of choices."""
        last = smaller(start, self._starts(length) - 1)
        inside = smaller(last, target - _SHORTEST + 1) - larger(target - _SHORTEST + 2 - self._ends, 0) + 1
        # Of start a, n - 5 - a ends are inside a sequence of n items and all others are cut to its last item.
        room = length - _SHORTEST
        uncut = sum_of_smaller(room, self._ends) - sum_of_smaller(room - last - 1, self._ends)
        return select(target == length - 1, (last + 1) * self._ends - uncut, larger(inside, 0))

    def n_windows(self, length: Any, limit: int) -> Any:
        """Return the number of starts."""
        return self._starts(length)

    def window(self, length: Any, limit: int, number: Any) -> Window:
        """Return the window; a limit below the shortest history moves its start."""
        first = smaller(number + _SHORTEST - 1, length - 1)
        last = larger(smaller(number + min(self.length, limit), length - 1), first)
        return Window(number + larger(smaller(_SHORTEST, length) - 1 - limit, 0), first, last)

    def n_targets(self, length: Any, limit: int) -> Any:
        """Return the number of different windows."""
        ends = max(1, min(self.length, limit) - _SHORTEST + 2)
        return sum_of_smaller(self._starts(length), ends)

    def sequence_weight(self, groups: LengthGroups) -> Float64:
        """Return 1 of every sequence."""
        return np.ones(len(groups.length))
