"""The histories of a batch in groups of similar length, each padded to its longest.

Most histories are far shorter than the longest of their batch. A group is inside the batch, so the batch's examples
and its loss stay, and the padding shrinks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from typing_extensions import Self

SHORTEST = 8
"""Histories of up to this length are one group; the lengths in each further group differ by a factor of two."""
ROWS, STEP = 16, 8
"""Under autocast on a CPU sizes and widths are multiples of these: oneDNN compiles a kernel for each new shape."""


class LengthGroup(NamedTuple):
    """Histories of similar length: how many, the padded length, and their trained targets if they are counted."""

    size: int
    width: int
    targets: int | None = None


class LengthOrder(NamedTuple):
    """The histories of a batch by length: `order`, int64 [n], holds one group after another.

    Examples
    --------
    >>> order, groups = LengthOrder.of(torch.tensor([3, 40, 12, 1]))
    >>> order.tolist(), [(group.size, group.width) for group in groups]
    ([0, 3, 2, 1], [(2, 3), (1, 12), (1, 40)])
    """

    order: Tensor
    groups: Sequence[LengthGroup]

    @classmethod
    def of(cls, lengths: Tensor) -> Self:
        """Return the groups of lengths int64 [n] on the CPU."""
        octave = (lengths.clamp(min=SHORTEST) - 1).log2().floor()
        order, sizes = octave.argsort(stable=True), torch.bincount(octave.long())
        longest, step = int(lengths.max()), 1
        if torch.is_autocast_enabled("cpu"):
            # A group takes histories of the shorter one; the shortest has the rest.
            after = len(lengths) - sizes.cumsum(0)
            after = (-(-after // ROWS) * ROWS).clamp(max=len(lengths))
            sizes, step = -torch.diff(after, prepend=after.new_full((1,), len(lengths))), STEP
        sizes = sizes[sizes > 0]
        tops = [int(part.max()) for part in torch.split(lengths[order], sizes.tolist())]
        widths = [min(-(-top // step) * step, longest) for top in tops]
        return cls(order, [LengthGroup(*group) for group in zip(sizes.tolist(), widths, strict=True)])

    @classmethod
    def whole(cls, size: int, width: int) -> Self:
        """Return one group of so many histories, padded to `width`, on the CPU."""
        return cls(torch.arange(size), [LengthGroup(size, width)])

    @property
    def rows(self) -> Sequence[Tensor]:
        """The rows of each group, int64."""
        return torch.split(self.order, [group.size for group in self.groups])

    def states(self, parts: Sequence[Tensor], at: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Return the states of the histories in their own order, [n, D], or the states at some places, [T, D].

        Parameters
        ----------
        parts : states of each group, [size, D], or at all places, [size, width, D] for `at`
        at : history and place of each wanted state, int64 [T] each
        """
        if len(parts) == 1:
            return parts[0] if at is None else parts[0][at]
        if at is None:
            return torch.cat(list(parts))[self.order.argsort()]
        begin, first = 0, []
        for size, width, _ in self.groups:
            first.append(torch.arange(begin, begin + size * width, width, device=self.order.device))
            begin += size * width
        history, place = at
        flat = torch.cat([part.flatten(0, 1) for part in parts])
        return flat.index_select(0, torch.cat(first)[self.order.argsort()][history] + place)
