"""The last targets of a sequence after their whole prefixes: NVIDIA's `max_candidate_length`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from genpas_plugins.sampling.constructions.construction import Prefixes, larger


@dataclass(frozen=True)
class LastTargets(Prefixes, name="last_targets"):
    """The candidates of a sequence (NVIDIA recsys-examples): its last items.

    Parameters
    ----------
    candidates : whole number from 1 on, how many last items are targets
    """

    candidates: int = 10

    def targets(self, length: Any) -> tuple[Any, Any]:
        """Return the last positions."""
        return larger(length - self.candidates, 1), length - 1
