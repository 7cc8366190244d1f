"""The bounds of measurements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Goal:
    """A number and the bound that it should keep.

    Parameters
    ----------
    section : the measurement that gave the number
    what : the number in words
    measured : the number
    bound : smallest or largest value that is good
    at_least : whether `bound` is the smallest
    unit : of both numbers, such as "×", "s" or "MB"
    """

    section: str
    what: str
    measured: float
    bound: float
    at_least: bool
    unit: str

    @property
    def met(self) -> bool:
        """Whether the bound is kept."""
        return self.measured >= self.bound if self.at_least else self.measured <= self.bound

    @property
    def bound_text(self) -> str:
        """The bound in words: "≥ 10 ×"."""
        return f"{'≥' if self.at_least else '≤'} {self.bound:.3g} {self.unit}"

    @property
    def measured_text(self) -> str:
        """The number with its unit."""
        return f"{self.measured:.3g} {self.unit}" if self.measured < 1000 else f"{self.measured:,.0f} {self.unit}"

    @property
    def verdict(self) -> str:
        """The verdict: met or missed."""
        return "met" if self.met else "missed"

    def to_dict(self) -> dict[str, Any]:
        """Return the goal and its verdict as plain JSON types."""
        return {
            "section": self.section,
            "what": self.what,
            "measured": self.measured,
            "bound": self.bound,
            "at_least": self.at_least,
            "unit": self.unit,
            "met": self.met,
        }
