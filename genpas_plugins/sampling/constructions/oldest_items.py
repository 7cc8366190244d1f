"""The oldest items of a sequence: what a loader keeps that cuts `x[:L]`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from genpas_plugins.sampling.constructions.construction import Prefixes, larger, smaller


@dataclass(frozen=True)
class OldestItems(Prefixes, name="oldest_items"):
    """NVIDIA's sid_gr: a sequence is cut to its first `length` + 1 items before its targets are taken.

    Parameters
    ----------
    length : whole number from 1 on, items of a history at most
    candidates : whole number from 1 on, how many of the last kept items are targets; 1 is NVIDIA's default
    """

    length: int = 50
    candidates: int = 1

    def targets(self, length: Any) -> tuple[Any, Any]:
        """Return the last of the kept positions."""
        last = smaller(length - 1, self.length)
        return larger(last - self.candidates + 1, 1), last
