"""Every contiguous sub-sequence of at least two items with its last item as target."""

from __future__ import annotations

from typing import Any, ClassVar

from genpas_plugins.sampling.constructions.construction import Construction, Window, smaller, sum_of_smaller, triangular


class SlideWindow(Construction, name="slide_window"):
    """GenPAS's SW (section 4). Its exponents give a sequence (n - 1)² where this has n (n - 1) / 2 pairs."""

    exponents: ClassVar[tuple[float, float, float] | None] = (2.0, 1.0, 0.0)

    def n_pairs(self, length: Any) -> Any:
        """Return the number of sub-sequences."""
        return length * (length - 1) // 2

    def pair(self, length: Any, number: Any) -> tuple[Any, Any]:
        """Return start and target. Pairs are numbered by target and then start."""
        target, start = triangular(number)
        return start, target

    def up_to(self, length: Any, start: Any, target: Any) -> Any:
        """Return the number of starts."""
        return smaller(start + 1, target)

    def n_windows(self, length: Any, limit: int) -> Any:
        """Return the number of starts."""
        return length - 1

    def window(self, length: Any, limit: int, number: Any) -> Window:
        """Return the window."""
        return Window(number, number + 1, smaller(number + limit, length - 1))

    def n_targets(self, length: Any, limit: int) -> Any:
        """Return the number of histories of at most `limit` items."""
        return sum_of_smaller(length - 1, limit)
