"""Semantic IDs: every item's row of discrete codes, checked, saved without pickle, and measured.

Quantisers give similar items similar codes and sometimes the same ones; `SemanticIds.resolve` adds one more code that
tells such items apart, so that an ID names exactly one item.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike

from genpas_plugins.data.sequences import as_ids
from genpas_plugins.sampling.jagged import spans
from genpas_plugins.support.array_types import AnyArray, Float32, Int32, Int64
from genpas_plugins.support.errors import InputError, nearest, whole_number

CollisionPolicy = Literal["count", "random"]
"""What the added code is: "count": 0, 1, 2, … among the items of a group; "random": one that is free in the group."""

_HIGHEST_SIZE = np.iinfo(np.int32).max
_SHOWN = 3  # how many of the offending items a message names
_TABLE = 2  # dimensions of a table of codes


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
        _require_distinct(codes, sizes, self.item_ids)

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
        added = max(largest, max(known) if size is None else whole_number("size", size, 1, _HIGHEST_SIZE))
        last = _count(group, counts) if policy == "count" else _random_free(group, counts, added, seed)
        story = {**(origin or {}), "collisions": policy, "collision_seed": seed if policy == "random" else None}
        return cls(np.column_stack([table, last.astype(np.int32)]), (*known, added), ids, story)

    @classmethod
    def open(cls, path: str | Path) -> SemanticIds:
        """Open saved IDs. Raises InputError if `path` holds none, some of another version, or damaged ones."""
        from genpas_plugins.semantic_ids.codebook_files import open_ids

        return open_ids(Path(path))

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the IDs as the directory `path`: complete under its final name, or not there at all.

        It holds `codes.npz`, `item_ids.arrow` and `ids.json` (version, sizes, origin, sizes and CRC-32 of the files).
        Raises InputError if `path` exists and holds no IDs, or holds some and `overwrite` is off.
        """
        from genpas_plugins.semantic_ids.codebook_files import save_ids

        save_ids(self, Path(path), overwrite=overwrite)

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


def collisions(codes: Int32, sizes: Sequence[int]) -> dict[str, Any]:
    """Return how often rows of `codes`, int32 [n, levels], are the same.

    `distinct` rows, `collision_rate`: share of rows that another row equals, `unique_share`: 1 - collision_rate,
    `largest_group`: the most equal rows.
    """
    _, counts = groups_of(codes, sizes)
    alone = int(np.count_nonzero(counts == 1))
    share = alone / len(codes) if len(codes) else 1.0
    return {
        "distinct": len(counts),
        "unique_share": share,
        "collision_rate": 1.0 - share,
        "largest_group": int(counts.max(initial=0)),
    }


def level_use(codes: Int32, sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Return for every level of `codes`, int32 [n, levels]: its number, `codes`, `used` ones and their `perplexity`."""
    rows = []
    for level, size in enumerate(sizes):
        counts = np.bincount(codes[:, level], minlength=size)
        share = counts[counts > 0] / max(1, len(codes))
        perplexity = float(np.exp(-np.sum(share * np.log(share))))
        rows.append({"level": level + 1, "codes": int(size), "used": len(share), "perplexity": perplexity})
    return rows


def as_table(codes: ArrayLike, names: pa.Array | None = None) -> AnyArray:
    """Return codes as one rectangle [n, depth] of some integer type."""
    try:
        table = np.asarray(codes)
    except ValueError:  # numpy refuses ragged lists
        table = np.empty(0, object)
    if table.dtype.hasobject and isinstance(codes, Sequence):
        lengths = [len(row) if isinstance(row, Sequence | np.ndarray) else 0 for row in codes]
        depth = max(set(lengths), key=lengths.count)
        odd = next((row for row, length in enumerate(lengths) if length != depth), None)
        if odd is not None:
            raise InputError(
                f"Item {_name(odd, names)} has {lengths[odd]} codes where most have {depth}: "
                "every item needs an ID of the same depth."
            )
    if table.ndim != _TABLE or table.shape[1] == 0:
        raise InputError(f"codes must be a table [n_items, depth], one row of codes an item; got shape {table.shape}.")
    if not np.issubdtype(table.dtype, np.integer):
        raise InputError(f"codes must be whole numbers, not {table.dtype}.")
    return table


def sizes_of(codes: AnyArray) -> tuple[int, ...]:
    """Return the smallest sizes that hold the codes [n, depth]. Raises InputError where there is no item."""
    if len(codes) == 0:
        raise InputError("There are no items: give sizes, or the codes of at least one item.")
    return tuple(max(1, int(highest) + 1) for highest in codes.max(axis=0))


def checked(codes: AnyArray, sizes: Iterable[Any], ids: pa.Array | None) -> tuple[Int32, tuple[int, ...]]:
    """Return codes as int32 and sizes as ints, or raise InputError where they do not fit one another or the ids."""
    codes = as_table(codes)
    known = tuple(whole_number("A level's number of codes", size, 1, _HIGHEST_SIZE) for size in sizes)
    if len(known) != codes.shape[1]:
        raise InputError(f"{len(known)} sizes for IDs of {codes.shape[1]} codes: every level needs its own.")
    if ids is not None and len(ids) != len(codes):
        raise InputError(f"item_ids has {len(ids)} entries for {len(codes)} items.")
    if ids is not None and len(ids.unique()) != len(ids):
        raise InputError("item_ids names an item twice: an item has one semantic ID.")
    wrong = (codes < 0) | (codes >= np.array(known))
    if wrong.any():
        row, level = (int(place) for place in np.unravel_index(int(np.argmax(wrong)), wrong.shape))
        raise InputError(
            f"Item {_name(row, ids)} has code {codes[row, level]} at level {level + 1}, whose codebook has the codes "
            f"0 to {known[level] - 1}; {int(wrong.any(axis=1).sum())} items have such codes."
        )
    return np.ascontiguousarray(codes, dtype=np.int32), known


def groups_of(codes: Int32, sizes: Sequence[int]) -> tuple[Int64, Int64]:
    """Return the group of equal rows that each row belongs to, int64 [n], and how many rows each group has."""
    group = np.zeros(len(codes), np.int64)
    counts = np.array([len(codes)] if len(codes) else [], np.int64)
    for level, size in enumerate(sizes):
        _, group, counts = np.unique(group * size + codes[:, level], return_inverse=True, return_counts=True)
    return group, counts


def _require_distinct(codes: Int32, sizes: Sequence[int], ids: pa.Array | None) -> None:
    group, counts = groups_of(codes, sizes)
    if len(counts) == len(codes):
        return
    first = int(np.argmax(counts[group] > 1))
    second = first + 1 + int(np.argmax(group[first + 1 :] == group[first]))
    raise InputError(
        f"{len(codes) - len(counts)} of {len(codes)} items have the semantic ID of an earlier item, "
        f"{_name(first, ids)} and {_name(second, ids)} the first: {codes[first].tolist()}. "
        "Add a code that tells them apart with SemanticIds.resolve, or collisions='count' for an index file."
    )


def _count(group: Int64, counts: Int64) -> Int64:
    """Return each row's place in its group, in row order, from 0."""
    order = np.argsort(group, kind="stable")
    place = np.empty(len(group), np.int64)
    place[order] = spans(0, counts)
    return place


def _random_free(group: Int64, counts: Int64, size: int, seed: int) -> Int64:
    """Return a random code below `size` for each row, different ones within a group."""
    generator = np.random.default_rng(seed)
    code = generator.integers(size, size=len(group))
    order = np.argsort(group, kind="stable")
    first = np.cumsum(counts) - counts
    for number in np.flatnonzero(counts > 1):
        rows = order[first[number] : first[number] + counts[number]]
        code[rows] = generator.choice(size, size=len(rows), replace=False)
    return code


def rows_of(wanted: pa.Array, known: pa.Array, where: str) -> Int64:
    """Return the place of each wanted id among the known ones, int64. `where` ends the message of what is missing."""
    if wanted.type != known.type:
        try:
            wanted, known = wanted.cast(pa.large_string()), known.cast(pa.large_string())
        except pa.ArrowException as error:
            raise InputError(f"Item ids of type {wanted.type} cannot be found among ids of {known.type}.") from error
    found = pc.index_in(wanted, value_set=known)
    missing = pc.filter(wanted, found.is_null())
    if len(missing):
        names = ", ".join(repr(item) for item in missing[:_SHOWN].to_pylist())
        raise InputError(f"{len(missing)} of {len(wanted)} items are missing, {names} the first, in {where}.")
    rows = np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.int64)
    if len(np.unique(rows)) != len(rows):
        raise InputError("The wanted items name one item twice: an item has one semantic ID.")
    return rows


def _name(row: int, ids: pa.Array | None) -> str:
    return str(row + 1) if ids is None else repr(ids[row].as_py())
