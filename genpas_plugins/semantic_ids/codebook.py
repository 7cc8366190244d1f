"""Semantic IDs: one row of discrete codes for every item.

Quantisers give similar items similar and sometimes equal codes. `SemanticIds.resolve` adds one more code: an ID
names exactly one item.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from genpas_plugins.data.ids import as_ids
from genpas_plugins.semantic_ids.codes import (
    HIGHEST_SIZE,
    as_table,
    check_codes,
    collisions,
    groups_of,
    known_ids,
    level_use,
    place_in_group,
    random_free,
    require_distinct,
    rows_of,
    sizes_of,
)
from genpas_plugins.semantic_ids.storage import StoredIds, read_codes, write_codes
from genpas_plugins.support.array_types import Float32, Int32
from genpas_plugins.support.errors import InputError, nearest, whole_number

CollisionPolicy = Literal["count", "random"]
"""The added code: "count" is 0, 1, 2, … among items with equal codes, "random" is a free code among them."""


@dataclass(frozen=True, eq=False)
class Quantised:
    """What a quantiser makes of n embeddings of d dimensions."""

    codes: Int32
    """int32 [n, levels]. The centroid of each level. Two items may have equal codes."""
    centroids: Float32
    """float32 [levels, codes, width]. The width is d, or the width of the quantiser's latent space."""
    reconstruction_error: float
    """Σ‖x - x̂‖² / Σ‖x - x̄‖² over the items, with their mean x̄. 0 is perfect; 1 is no better than the mean."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of codes of each level."""
        levels, codes = self.centroids.shape[:2]
        return (int(codes),) * int(levels)


@dataclass(frozen=True, eq=False)
class SemanticIds:
    """The distinct IDs of a catalogue. All have the same depth.

    The constructor raises InputError for other codes. `of` takes lists and finds the sizes itself.
    """

    codes: Int32
    """int32 [n_items, depth]. Row i is the ID of item number i + 1. Level l has the values 0 … sizes[l] - 1."""
    sizes: tuple[int, ...]
    """Number of codes of each level."""
    item_ids: pa.Array | None = None
    """Any Arrow type [n_items]. None: the item number is the id."""
    origin: Mapping[str, Any] = field(default_factory=dict)
    """How the IDs were made, as JSON values: method, seed, model, …"""

    def __post_init__(self) -> None:
        codes, sizes = check_codes(self.codes, self.sizes, self.item_ids)
        object.__setattr__(self, "codes", codes)
        object.__setattr__(self, "sizes", sizes)
        require_distinct(codes, sizes, self.item_ids)

    @classmethod
    def of(
        cls,
        codes: ArrayLike,
        sizes: Sequence[int] | None = None,
        *,
        item_ids: ArrayLike | pa.Array | None = None,
        origin: Mapping[str, Any] | None = None,
    ) -> SemanticIds:
        """Make IDs of any table of codes.

        Parameters
        ----------
        codes : integers [n_items, depth]
        sizes : number of codes of each level. None: what the highest code needs.
        item_ids, origin : see the class

        Raises
        ------
        InputError
            The depths differ or a code is outside its level. Two items have one ID or the ids do not fit.

        Examples
        --------
        >>> SemanticIds.of([[0, 1], [2, 0], [0, 0]]).sizes
        (3, 2)
        """
        table = as_table(codes)
        ids = None if item_ids is None else as_ids(item_ids, "item_ids")
        return cls(table, sizes_of(table) if sizes is None else tuple(sizes), ids, dict(origin or {}))

    @classmethod
    def resolve(
        cls,
        codes: ArrayLike,
        sizes: Sequence[int] | None = None,
        *,
        policy: CollisionPolicy = "count",
        seed: int = 0,
        size: int | None = None,
        item_ids: ArrayLike | pa.Array | None = None,
        origin: Mapping[str, Any] | None = None,
    ) -> SemanticIds:
        """Add one code that separates items with equal quantised codes (TIGER §3.1).

        Parameters
        ----------
        codes, sizes : integers [n_items, levels] and the number of codes of each level; see `of`
        policy : "count" gives items with equal codes 0, 1, 2, … in item order as in TIGER. Nearly all items get 0.
            "random" gives them different random codes and uses all codes. GRID finds it as good.
        seed : seed of "random"
        size : number of added codes. None: as many as the largest level. It grows if more items have equal codes.
        item_ids, origin : see the class

        Raises
        ------
        InputError
            The policy is unknown. The depths differ or a code is outside its level.
        """
        if policy not in get_args(CollisionPolicy):
            raise InputError(f"Unknown collision policy {policy!r}.{nearest(policy, get_args(CollisionPolicy))}")
        table = as_table(codes)
        ids = None if item_ids is None else as_ids(item_ids, "item_ids")
        table, known = check_codes(table, sizes_of(table) if sizes is None else tuple(sizes), ids)
        group, counts = groups_of(table, known)
        largest = int(counts.max(initial=1))
        added = max(largest, max(known) if size is None else whole_number("size", size, 1, HIGHEST_SIZE))
        last = place_in_group(group, counts) if policy == "count" else random_free(group, counts, added, seed)
        made = {**(origin or {}), "collisions": policy, "collision_seed": seed if policy == "random" else None}
        return cls(np.column_stack([table, last.astype(np.int32)]), (*known, added), ids, made)

    @classmethod
    def open(cls, path: str | Path) -> SemanticIds:
        """Open saved IDs. Raises InputError if `path` has no readable IDs of this version."""
        return cls(*read_codes(Path(path)))

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the IDs as the directory `path` atomically.

        Raises InputError if `path` exists and holds no IDs or `overwrite` is off.
        """
        stored = StoredIds(self.codes, self.sizes, self.item_ids, self.origin)
        write_codes(Path(path), stored, overwrite=overwrite)

    @property
    def n_items(self) -> int:
        """Number of items."""
        return len(self.codes)

    @property
    def depth(self) -> int:
        """Number of codes of an ID."""
        return len(self.sizes)

    def for_items(self, ids: ArrayLike | pa.Array) -> SemanticIds:
        """Return the IDs of some items in another order: row i is the ID of the item with id `ids[i]`.

        Ids of another type are compared as text: RecBole's tokens find the integer ids of a store. Raises
        InputError if an item has no semantic ID or an id is given twice.
        """
        wanted = as_ids(ids, "ids")
        known = known_ids(self.item_ids, self.n_items)
        rows = rows_of(wanted, known, "these semantic IDs; make them again for the whole catalogue")
        return SemanticIds(self.codes[rows], self.sizes, wanted, self.origin)

    def report(self, levels: int | None = None) -> dict[str, Any]:
        """Return figures that show the quality of the IDs.

        They are `collisions` of the first `levels` codes, `level_use` as `levels` and the `reconstruction_error`.
        `levels` None leaves out the added code. The error is None if `origin` has none.
        """
        levels = max(1, self.depth - 1) if levels is None else whole_number("levels", levels, 1, self.depth)
        return {
            "n_items": self.n_items,
            "depth": self.depth,
            "sizes": list(self.sizes),
            "distinct_ids": self.n_items,
            "compared_codes": levels,
            **collisions(self.codes[:, :levels], self.sizes[:levels]),
            "levels": level_use(self.codes, self.sizes),
            "reconstruction_error": self.origin.get("reconstruction_error"),
        }
