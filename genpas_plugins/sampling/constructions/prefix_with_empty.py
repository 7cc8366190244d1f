"""Every item as a target. The first follows an empty history."""

from __future__ import annotations

from typing import Any, ClassVar

from genpas_plugins.sampling.constructions.construction import Prefixes


class PrefixWithEmpty(Prefixes, name="prefix_with_empty"):
    """SSS4SR's prefix split (arXiv 2604.05309) and RecBole 3. A model reads an empty history as one padding item.

    Sequences of one item have no pair here, because a view holds sequences of at least two items.
    """

    ahead: ClassVar[bool] = True

    def targets(self, length: Any) -> tuple[Any, Any]:
        """Return all positions."""
        return 0 * length, length - 1
