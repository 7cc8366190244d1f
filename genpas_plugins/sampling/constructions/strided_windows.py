"""Windows of a fixed width with a stride from the first item on. Every item after a window's first is a target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from genpas_plugins.sampling.constructions.construction import Construction, Window, larger, select, smaller
from genpas_plugins.support.errors import InputError


@dataclass(frozen=True)
class StridedWindows(Construction, name="strided_windows"):
    """WarpRec's sliding windows and arXiv 2604.12372; items after the last whole window are not trained on.

    Parameters
    ----------
    width : whole number from 2 on, items of a window
    stride : whole number from 1 on, items from one window to the next
    """

    width: int = 50
    stride: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width < 2:  # noqa: PLR2004 – an item and a target
            raise InputError(f"{self.name}: width must be a whole number from 2 on, not {self.width}.")

    def later(self, length: Any) -> tuple[Any, Any]:
        """Return the number of windows with a start above 0 and the lowest of these starts."""
        return larger(length - self.width, 0) // self.stride, self.stride

    def start(self, length: Any, window: Any) -> Any:
        """Return the start of each window; window 0 has the start 0."""
        return (window > 0) * (self.later(length)[1] + (window - 1) * self.stride)

    def n_pairs(self, length: Any) -> Any:
        """Return the targets of all windows."""
        return (self.later(length)[0] + 1) * (smaller(length, self.width) - 1)

    def pair(self, length: Any, number: Any) -> tuple[Any, Any]:
        """Return start and target."""
        targets = smaller(length, self.width) - 1
        start = self.start(length, number // targets)
        return start, start + 1 + number % targets

    def up_to(self, length: Any, start: Any, target: Any) -> Any:
        """Return the number of windows from a start on that have this target."""
        (count, first), targets = self.later(length), smaller(length, self.width) - 1
        # Of the windows above 0 count the ones with target - targets ≤ start ≤ start, target - 1.
        low = larger(-(-(target - targets - first) // self.stride), 0)
        high = smaller((smaller(start, target - 1) - first) // self.stride, count - 1)
        return larger(high - low + 1, 0) + 1 * ((target > 0) & (target <= targets) & (start >= 0))

    def n_windows(self, length: Any, limit: int) -> Any:
        """Return the number of starts: a window has one and each cut history has one."""
        (count, first), block = self.later(length), self._block(length, limit)
        return block + (count > 0) * (smaller(first, block) + (count - 1) * smaller(self.stride, block))

    def window(self, length: Any, limit: int, number: Any) -> Window:
        """Return the window; the blocks of starts that are near to each other overlap."""
        (count, first), block = self.later(length), self._block(length, limit)
        of_first = smaller(first, block)
        number_after, step = number - of_first, smaller(self.stride, block)
        window = smaller(number_after // step, count - 1)
        after = first + window * self.stride + number_after - window * step
        start = select((count > 0) & (number_after >= 0), after, number)
        # At the start of a window all of its short histories begin, at other starts the one that is cut there.
        whole = (start == 0) | ((start >= first) & ((start - first) % self.stride == 0))
        whole &= (start - first) // self.stride < count
        last = start + smaller(smaller(length, self.width) - 1, limit)
        return Window(start, select(whole, start + 1, last), last)

    def n_targets(self, length: Any, limit: int) -> Any:
        """Return the targets of uncut histories of all windows and one of each other start."""
        windows = self.later(length)[0] + 1
        targets = smaller(length, self.width) - 1
        return windows * smaller(targets, limit) + self.n_windows(length, limit) - windows

    def _block(self, length: Any, limit: int) -> Any:
        """Return the number of starts that a window alone has."""
        return larger(smaller(length, self.width) - 1 - limit, 0) + 1
