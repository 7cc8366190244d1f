"""The last item after every suffix of its history."""

from __future__ import annotations

import math
from typing import Any

from genpas_plugins.sampling.constructions.construction import Construction, Window, smaller


class Suffix(Construction, name="suffix"):
    """SSS4SR's suffix split (arXiv 2604.05309), without its pair of an empty history: exactly (1, ∞, 0)."""

    exponents = (1.0, math.inf, 0.0)

    def n_pairs(self, length: Any) -> Any:
        """Return the number of starts."""
        return length - 1

    def pair(self, length: Any, number: Any) -> tuple[Any, Any]:
        """Return start and target."""
        return number, length - 1

    def up_to(self, length: Any, start: Any, target: Any) -> Any:
        """Return the number of starts for the last target."""
        return (target == length - 1) * smaller(start + 1, target)

    def n_windows(self, length: Any, limit: int) -> Any:
        """Return the number of starts after the cut."""
        return smaller(length - 1, limit)

    def window(self, length: Any, limit: int, number: Any) -> Window:
        """Return the window."""
        start = length - 1 - self.n_windows(length, limit) + number
        return Window(start, length - 1, length - 1)

    def n_targets(self, length: Any, limit: int) -> Any:
        """Return the number of windows: each has one target."""
        return self.n_windows(length, limit)
