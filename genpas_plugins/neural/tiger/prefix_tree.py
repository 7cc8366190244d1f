"""The tree of valid semantic IDs: flat tensors of the codes that may follow each prefix.

The nodes of level l are prefixes of l codes. Its slots are prefixes of l + 1 codes. The root is the only node of
level 0. The slots of a level are in one row by node and then by code. A slot *is* a node of the next level:

    first[l]  [0, 3, 5, …]           the children of node n are the slots first[l][n] … first[l][n + 1] - 1
    code[l]   [0 4 9 | 1 2 | …]      the code that each slot adds
    item      [7 2 | 5 | …]          the item of each slot of the last level

Memory grows with the nodes that exist. A dense table of children would take 1 GB at the third level of 10⁶ items.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from genpas_plugins.support.array_types import AnyArray
from genpas_plugins.support.errors import InputError

if TYPE_CHECKING:
    from genpas_plugins.semantic_ids.codebook import SemanticIds


@dataclass(frozen=True, eq=False)
class PrefixTree:
    """The valid semantic IDs of a catalogue as a tree; all tensors are int64 and on one device."""

    sizes: tuple[int, ...]  # number of codes of each level's codebook; the tree has `depth = len(sizes)` levels
    # Per level l, [nodes + 1], rising from 0; node n has the slots first[l][n] … first[l][n + 1] - 1.
    first: tuple[torch.Tensor, ...]
    code: tuple[torch.Tensor, ...]  # per level l, [slots], rising among the children of a node, 0 … sizes[l] - 1
    parent: tuple[torch.Tensor, ...]  # per level l, [slots], the node of each slot
    item: torch.Tensor  # [n_items], the item number (from 1) of each slot of the last level
    leaf: torch.Tensor  # [n_items + 1], the last-level slot of each item number; leaf[0] is -1
    max_children: tuple[int, ...]  # per level, the most children of a node

    @classmethod
    def of(cls, ids: SemanticIds, device: torch.device | str = "cpu") -> PrefixTree:
        """Build the tree of all IDs with one sort of the items plus O(nodes).

        Raises
        ------
        InputError
            If there is no item.

        Examples
        --------
        >>> from genpas_plugins.semantic_ids.codebook import SemanticIds
        >>> tree = PrefixTree.of(SemanticIds.of([[0, 1], [2, 0], [0, 0]]))
        >>> [level.tolist() for level in tree.first], tree.item.tolist()
        ([[0, 2], [0, 2, 3]], [3, 1, 2])
        """
        codes = ids.codes
        n_items, depth = codes.shape
        if n_items == 0:
            raise InputError("A prefix tree needs an item, but these semantic IDs have none. Make them again.")
        order = np.lexsort(codes.T[::-1])
        codes = codes[order]
        begins = np.zeros(n_items, np.bool_)  # rows at which a new prefix of the current length begins
        begins[0] = True
        starts = np.flatnonzero(begins)  # of the nodes of the current level
        first, code, parent, widest = [], [], [], []
        for level in range(depth):
            begins[1:] |= codes[1:, level] != codes[:-1, level]
            slots = np.flatnonzero(begins)
            bounds = np.append(np.searchsorted(slots, starts), len(slots))
            children = np.diff(bounds)
            first.append(bounds)
            code.append(codes[slots, level])
            parent.append(np.repeat(np.arange(len(starts)), children))
            widest.append(int(children.max()))
            starts = slots
        leaf = np.full(n_items + 1, -1, np.int64)
        leaf[order + 1] = np.arange(n_items)

        def tensor(array: AnyArray) -> torch.Tensor:
            return torch.from_numpy(array.astype(np.int64, copy=False)).to(device)

        return cls(
            sizes=ids.sizes,
            first=tuple(map(tensor, first)),
            code=tuple(map(tensor, code)),
            parent=tuple(map(tensor, parent)),
            item=tensor(order + 1),
            leaf=tensor(leaf),
            max_children=tuple(widest),
        )

    @property
    def depth(self) -> int:
        """Number of codes of an ID."""
        return len(self.sizes)

    @property
    def n_items(self) -> int:
        """Number of items. Each leaf is one item."""
        return len(self.item)

    @property
    def device(self) -> torch.device:
        """The device of all tensors."""
        return self.item.device

    def n_nodes(self, level: int) -> int:
        """Return the number of prefixes of `level` codes. Level 0 has 1 and level depth has one an item."""
        return 1 if level == 0 else len(self.code[level - 1])

    def nodes_of(self, items: torch.Tensor) -> torch.Tensor:
        """Return the slots `int64 [*items.shape, depth]` on the way to each item. Item numbers start at 1.

        Raises
        ------
        InputError
            For padding 0 and any other number without an item.
        """
        items = items.to(self.device)
        if items.numel() and (int(items.min()) < 1 or int(items.max()) > self.n_items):
            raise InputError(f"Item numbers run from 1 to {self.n_items}; 0 is padding and has no semantic ID.")
        slot = self.leaf[items]
        slots = [slot]
        for level in range(self.depth - 1, 0, -1):
            slot = self.parent[level][slot]
            slots.append(slot)
        return torch.stack(slots[::-1], dim=-1)

    def to(self, device: torch.device | str) -> PrefixTree:
        """Return the tree on another device; the same object if it is there already."""
        if torch.device(device) == self.device:
            return self
        levels = {name: tuple(part.to(device) for part in getattr(self, name)) for name in ("first", "code", "parent")}
        return replace(self, item=self.item.to(device), leaf=self.leaf.to(device), **levels)
