"""Windows of a fixed width at every place. The last item of each is the target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from genpas_plugins.sampling.constructions.construction import Construction, Window, larger, smaller


@dataclass(frozen=True)
class FixedWindows(Construction, name="fixed_windows"):
    """SSS4SR's slide split (arXiv 2604.05309); a shorter sequence is one window.

    Parameters
    ----------
    width : whole number from 2 on, items of a window with its target
    """

    lowest: ClassVar[int] = 2

    width: int = 10

    def n_pairs(self, length: Any) -> Any:
        """Return the number of places."""
        return larger(length - self.width + 1, 1)

    def pair(self, length: Any, number: Any) -> tuple[Any, Any]:
        """Return start and target."""
        return number, smaller(number + self.width, length) - 1

    def up_to(self, length: Any, start: Any, target: Any) -> Any:
        """Return whether the one window with this target is included."""
        ends = target >= smaller(self.width, length) - 1
        return 1 * (ends & (start >= larger(target - self.width + 1, 0)))

    def n_windows(self, length: Any, limit: int) -> Any:
        """Return the number of places."""
        return FixedWindows.n_pairs(self, length)

    def window(self, length: Any, limit: int, number: Any) -> Window:
        """Return the window."""
        target = smaller(number + self.width, length) - 1
        return Window(larger(target - min(self.width - 1, limit), 0), target, target)

    def n_targets(self, length: Any, limit: int) -> Any:
        """Return the number of windows: each has one target."""
        return self.n_windows(length, limit)
