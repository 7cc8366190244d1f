"""Windows of a fixed width with a stride from the last item back. Every item after a window's first is a target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from genpas_plugins.sampling.constructions.construction import larger
from genpas_plugins.sampling.constructions.strided_windows import StridedWindows


@dataclass(frozen=True)
class WindowsFromEnd(StridedWindows, name="windows_from_end"):
    """RePlay's `sliding_window_step`: windows end at the last item and a stride before each, one more starts at 0."""

    def later(self, length: Any) -> tuple[Any, Any]:
        """Return the number of windows with a start above 0 and the lowest of these starts."""
        rest = larger(length - self.width, 0)
        return (rest + self.stride - 1) // self.stride, (rest - 1) % self.stride + 1
