"""Every target after its whole prefix."""

from __future__ import annotations

import math
from typing import Any

from genpas_plugins.sampling.constructions.construction import Prefixes


class MultiTarget(Prefixes, name="multi_target"):
    """GenPAS's MT (section 4): RecBole 1, TIGER's reproductions, and every code that materialises prefixes."""

    exponents = (1.0, 0.0, -math.inf)

    def targets(self, length: Any) -> tuple[Any, Any]:
        """Return all positions after the first."""
        return 1 + 0 * length, length - 1
