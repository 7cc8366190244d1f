"""Long sequences cut to their last items most of the time: HSTU's stochastic length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from genpas_plugins.sampling.constructions.construction import Construction, Window, larger
from genpas_plugins.support.array_types import Float64, Int64


@dataclass(frozen=True)
class StochasticLength(Construction, name="stochastic_length"):
    """HSTU's stochastic length (arXiv 2402.17152, section 3.2), with the most recent items as the sub-sequence.

    A sequence of n > c items is read whole with the probability (c / n)², and else its last c items. Every item after
    the first that is read is a target. The paper writes c as N^(α / 2), and leaves the choice of sub-sequence open.

    Parameters
    ----------
    length : c, whole number from 2 on
    """

    lowest: ClassVar[int] = 2
    drawn: ClassVar[bool] = True
    in_torch: ClassVar[bool] = False

    length: int = 20

    def _whole(self, length: Int64) -> Float64:
        """Return the probability that a sequence is read whole."""
        return np.minimum(self.length / length, 1.0) ** 2

    def n_pairs(self, length: Any) -> Any:
        """Return the targets of the whole sequence and of its last items."""
        return length - 1 + (length > self.length) * (self.length - 1)

    def pair(self, length: Any, number: Any) -> tuple[Any, Any]:
        """Return start and target; the pairs of the last items have the highest numbers."""
        cut = number >= length - 1
        start = cut * larger(length - self.length, 0)
        return start, start + 1 + number - cut * (length - 1)

    def up_to(self, length: Any, start: Any, target: Any) -> Any:
        """Return the weight of the whole sequence and of the last items."""
        whole, first = self._whole(length), length - self.length
        return (whole + (1 - whole) * ((start >= first) & (target > first))) * ((target > 0) & (start >= 0))

    def total(self, length: Int64) -> Any:
        """Return the expected number of targets."""
        whole = self._whole(length)
        return whole * (length - 1) + (1 - whole) * (self.length - 1)

    def number(self, length: Int64, quantile: Float64) -> Int64:
        """Return the number of the pair at each quantile."""
        whole, point = self._whole(length), quantile * self.total(length)
        after = np.maximum(point - whole * (length - 1), 0) / np.where(whole < 1, 1 - whole, 1)
        number = np.where(point < whole * (length - 1), point / whole, length - 1 + after).astype(np.int64)
        return np.asarray(np.minimum(number, self.n_pairs(length) - 1))

    def n_windows(self, length: Any, limit: int) -> Any:
        """Return the starts of the whole sequence and of the last items if they differ."""
        return np.maximum(length - 1 - limit, 0) + 1 + ((length > self.length) & (self.length <= limit))

    def window(self, length: Any, limit: int, number: Any) -> Window:
        """Return the window. The window of the last items has the highest number."""
        of_whole = np.maximum(length - 1 - limit, 0) + 1
        start = np.where(number < of_whole, number, length - self.length)
        several = (start == 0) | (start == length - self.length)
        last = np.minimum(start + limit, length - 1)
        return Window(start, np.where(several, start + 1, last), last)

    def n_targets(self, length: Any, limit: int) -> Any:
        """Return the number of targets with different histories."""
        return length - 1 + (length > self.length) * (min(self.length, limit) - 1)
