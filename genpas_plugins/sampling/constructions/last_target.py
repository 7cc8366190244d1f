"""One pair a sequence: the last training item after the whole prefix."""

from __future__ import annotations

import math
from typing import Any

from genpas_plugins.sampling.constructions.construction import Prefixes


class LastTarget(Prefixes, name="last_target"):
    """GenPAS's LT (section 4), the original sequence of SSS4SR, NVIDIA's `max_candidate_length: 1`."""

    exponents = (0.0, math.inf, -math.inf)

    def targets(self, length: Any) -> tuple[Any, Any]:
        """Return the last position."""
        return length - 1, length - 1
