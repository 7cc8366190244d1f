"""Semantic IDs: every item's row of discrete codes, checked, saved without pickle, and measured.

Quantisers give similar items similar codes and sometimes the same ones; `SemanticIds.resolve` adds one more code that
tells such items apart, so that an ID names exactly one item.
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
    checked,
    collisions,
    groups_of,
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
"""What the added code is: "count": 0, 1, 2, … among the items of a group; "random": one that is free in the group."""


@dataclass(frozen=True, eq=False)
class Quantised:
    """What a quantiser makes of n embeddings of d dimensions.

    codes                : int32 [n, levels], which centroid of each level; two items may have the same codes
    centroids            : float32 [levels, codes, width]; width is d, or that of the quantiser's latent space
    reconstruction_error : Σ‖x - x̂‖² / Σ‖x - x̄‖² over the items, x̄ their mean: 0 is perfect, 1 says that the codes tell
                           no more about an embedding than the mean does
    """

    codes: Int32
    centroids: Float32
    reconstruction_error: float

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of codes of each level."""
        levels, codes = self.centroids.shape[:2]
        return (int(codes),) * int(levels)


@dataclass(frozen=True, eq=False)
class SemanticIds:
    """The IDs of a catalogue: as many codes for every item, and no two items with the same ones.

    codes    : int32 [n_items, depth]; row i is the ID of item number i + 1; level l has values 0 … sizes[l] - 1
    sizes    : number of codes of each level's codebook
    item_ids : the items' ids [n_items], any Arrow type; None: the item number is the id
    origin   : how the IDs were made (method, seed, model, …), values that JSON has

    The constructor raises InputError where this does not hold. `of` takes lists and finds the sizes itself.
    """

    codes: Int32
    sizes: tuple[int, ...]
    item_ids: pa.Array | None = None
    origin: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the codes, the sizes and the ids."""
        codes, sizes = checked(self.codes, self.sizes, self.item_ids)
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
        """Make IDs of anything that is a table of codes; without `sizes` a level has as many as its highest code needs.

        Raises InputError for unequal depth, codes outside the codebook, two items with one ID, or ids that do not fit.

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
        """Add one code to quantised codes [n, levels] so that items with the same codes differ (TIGER §3.1).

        policy "count" : the items of a group get 0, 1, 2, … in item order, an item alone gets 0 (TIGER)
        policy "random": every item gets a random code that is free in its group, by `seed` (GRID: as good; the added
                         codes are used evenly, where "count" gives nearly all items a 0)
        size           : codes of the added level; None: as many as the largest other level. It **grows** to the largest
                         group where that has more items, rather than fail after a long quantisation; `sizes` and
                         `report` show it. A large group means items with (nearly) the same embedding.

        Raises InputError for an unknown policy, unequal depth or a code outside its codebook.
        """
        if policy not in get_args(CollisionPolicy):
            raise InputError(f"Unknown collision policy {policy!r}.{nearest(policy, get_args(CollisionPolicy))}")
        table = as_table(codes)
        ids = None if item_ids is None else as_ids(item_ids, "item_ids")
        table, known = checked(table, sizes_of(table) if sizes is None else tuple(sizes), ids)
        group, counts = groups_of(table, known)
        largest = int(counts.max(initial=1))
        added = max(largest, max(known) if size is None else whole_number("size", size, 1, HIGHEST_SIZE))
        last = place_in_group(group, counts) if policy == "count" else random_free(group, counts, added, seed)
        story = {**(origin or {}), "collisions": policy, "collision_seed": seed if policy == "random" else None}
        return cls(np.column_stack([table, last.astype(np.int32)]), (*known, added), ids, story)

    @classmethod
    def open(cls, path: str | Path) -> SemanticIds:
        """Open saved IDs. Raises InputError if `path` holds none, some of another version, or damaged ones."""
        return cls(*read_codes(Path(path)))

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the IDs as the directory `path`: complete under its final name, or not there at all.

        It holds `codes.npz`, `item_ids.arrow` and `ids.json` (version, sizes, origin, sizes and CRC-32 of the files).
        Raises InputError if `path` exists and holds no IDs, or holds some and `overwrite` is off.
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
        """Return the IDs in another numbering: row i is the ID of the item with id `ids[i]`; others are left out.

        Ids of another type are compared as text, so RecBole's tokens find the integer ids of a store.
        Raises InputError naming the first items that have no semantic ID here, or an id that is given twice.
        """
        wanted = as_ids(ids, "ids")
        known = self.item_ids if self.item_ids is not None else pa.array(np.arange(1, self.n_items + 1))
        rows = rows_of(wanted, known, "these semantic IDs; make them again for the whole catalogue")
        return SemanticIds(self.codes[rows], self.sizes, wanted, self.origin)

    def report(self, levels: int | None = None) -> dict[str, Any]:
        """Return the figures that tell good IDs from bad ones.

        Collisions are counted among the first `levels` codes (default depth - 1, what the quantiser gave):
        `collision_rate` is the share of items that share these codes with another item, `unique_share` the rest,
        `distinct` how many different prefixes there are, `largest_group` the most items with one. `levels` lists, for
        every level, `codes`, how many are `used` and their `perplexity` (exp of the entropy of their frequencies, in
        items). `reconstruction_error` is what `origin` says, None if nothing.
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
