"""Targets from a window of future items instead of the next item alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from genpas_plugins.sampling.constructions.construction import (
    Construction,
    Window,
    larger,
    smaller,
    sum_of_smaller,
    triangular,
)
from genpas_plugins.support.array_types import Int64


@dataclass(frozen=True)
class FutureWindow(Construction, name="future_window"):
    """Dense all-action targets (PinnerFormer, KDD'22; eSASRec, RecSys'25): each prefix has the next items as targets.

    One of a prefix's targets is one pair: the history ends before the item ahead of its target. The sources count the
    window in days; here it is items.

    Parameters
    ----------
    items : whole number from 1 on, targets of a history at most
    """

    ahead: ClassVar[bool] = True

    items: int = 10

    def n_pairs(self, length: Any) -> Any:
        """Return the targets of all prefixes."""
        return sum_of_smaller(length - 1, self.items)

    def pair(self, length: Any, number: Any) -> tuple[Any, Any]:
        """Return start and target."""
        start, _, target = self.slice(length, number)
        return start, target

    def slice(self, length: Any, number: Any) -> tuple[Any, Any, Any]:
        """Return start, position after the history, and target."""
        left, which = self._left(length, number)
        return 0 * number, length - left, length - left + which

    def _left(self, length: Any, number: Any) -> tuple[Any, Any]:
        """Return how many items follow the history and which of them is the target."""
        full = smaller(length - 1, self.items)
        before = full * (full + 1) // 2
        row, column = triangular(smaller(number, before - 1))
        after = number - before
        late = 1 * (after >= 0)
        return row + late * (after // self.items + 1), column + late * (after % self.items - column)

    def up_to(self, length: Any, start: Any, target: Any) -> Any:
        """Return the number of prefixes with this target; all start at 0."""
        return smaller(target, self.items) * (start >= 0)

    def longer(self, length: Int64, least: int, target: Int64) -> Any:
        """Return the number of prefixes of at least `least` items with this target."""
        return target - larger(target - self.items + 1, least) + 1

    def n_windows(self, length: Any, limit: int) -> Any:
        """Return 0: a window trains the next item of each place only."""
        return 0 * length

    def window(self, length: Any, limit: int, number: Any) -> Window:
        """Return no window."""
        return Window(number, number, number)

    def n_targets(self, length: Any, limit: int) -> Any:
        """Return 0."""
        return self.n_windows(length, limit)
