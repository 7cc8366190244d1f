"""Windows of a fixed width and the whole sequence once more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from genpas_plugins.sampling.constructions.construction import Window, larger, select, smaller
from genpas_plugins.sampling.constructions.fixed_windows import FixedWindows
from genpas_plugins.support.array_types import Bools, Int64


@dataclass(frozen=True)
class FixedWindowsAndFull(FixedWindows, name="fixed_windows_and_full"):
    """SSS4SR's slide and original together; a sequence of at most `width` items comes twice, as there."""

    def n_pairs(self, length: Any) -> Any:
        """Return the number of windows and one."""
        return super().n_pairs(length) + 1

    def pair(self, length: Any, number: Any) -> tuple[Any, Any]:
        """Return start and target; the whole sequence has the last number."""
        whole = (number > 0) & (number >= length - self.width + 1)
        start = number * ~whole
        return start, smaller(start + self.width, length) * ~whole + length * whole - 1

    def up_to(self, length: Any, start: Any, target: Any) -> Any:
        """Return the number of windows with this target."""
        return super().up_to(length, start, target) + (target == length - 1) * (start >= 0)

    def n_windows(self, length: Any, limit: int) -> Any:
        """Return the number of places plus one where the cut leaves the whole history a longer one."""
        return super().n_windows(length, limit) + self._longer(length, limit)

    def window(self, length: Any, limit: int, number: Any) -> Window:
        """Return the window; the whole sequence has the last number."""
        start, first, last = super().window(length, limit, number)
        whole = number >= super().n_windows(length, limit)
        return Window(select(whole, larger(length - 1 - limit, 0), start), first, last)

    def _longer(self, length: Int64, limit: int) -> Bools:
        return (length > self.width) & (limit > self.width - 1)
