"""All positions of the last items of a sequence that are read from one start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from genpas_plugins.sampling.constructions.construction import Construction, Window, larger, select, smaller


@dataclass(frozen=True)
class LastItems(Construction, name="last_items"):
    """SASRec's own code, HSTU, RecTools, RePlay: the last `length` + 1 items, and all but the first are targets.

    Parameters
    ----------
    length : whole number from 1 on, items of a history at most
    """

    length: int = 50

    def n_pairs(self, length: Any) -> Any:
        """Return the number of targets."""
        return smaller(length - 1, self.length)

    def pair(self, length: Any, number: Any) -> tuple[Any, Any]:
        """Return start and target."""
        start = larger(length - 1 - self.length, 0)
        return start, start + 1 + number

    def up_to(self, length: Any, start: Any, target: Any) -> Any:
        """Return whether the one start is included for the targets after it."""
        first = larger(length - 1 - self.length, 0)
        return 1 * ((target > first) & (start >= first))

    def n_windows(self, length: Any, limit: int) -> Any:
        """Return the number of starts: one and one of each cut history."""
        return larger(self.n_pairs(length) - limit, 0) + 1

    def window(self, length: Any, limit: int, number: Any) -> Window:
        """Return the window."""
        start = larger(length - 1 - self.length, 0) + number
        first = select(number > 0, start + limit, start + 1)
        return Window(start, first, smaller(start + limit, length - 1))

    def n_targets(self, length: Any, limit: int) -> Any:
        """Return the number of targets: their histories differ."""
        return self.n_pairs(length)
