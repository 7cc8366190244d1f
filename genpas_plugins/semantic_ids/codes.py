"""Tables of codes: their checks, groups of equal rows and figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from genpas_plugins.data.ids import places_of
from genpas_plugins.sampling.jagged import spans
from genpas_plugins.support.array_types import AnyArray, Int32, Int64
from genpas_plugins.support.errors import InputError, whole_number

HIGHEST_SIZE = np.iinfo(np.int32).max
_SHOWN = 3  # how many of the offending items a message names
_TABLE = 2  # dimensions of a table of codes


def as_table(codes: ArrayLike, names: pa.Array | None = None) -> AnyArray:
    """Return codes as an integer array `[n, depth]`. Errors of InputError use the item `names`."""
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
    """Return the fewest codes that each level of `codes` `[n, depth]` needs. Raises InputError without items."""
    if len(codes) == 0:
        raise InputError("There are no items: give sizes, or the codes of at least one item.")
    return tuple(max(1, int(highest) + 1) for highest in codes.max(axis=0))


def check_codes(codes: AnyArray, sizes: Iterable[Any], ids: pa.Array | None) -> tuple[Int32, tuple[int, ...]]:
    """Return codes as int32 and sizes as ints. Raises InputError if they do not fit each other or the ids."""
    codes = as_table(codes)
    known = tuple(whole_number("A level's number of codes", size, 1, HIGHEST_SIZE) for size in sizes)
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


def require_distinct(codes: Int32, sizes: Sequence[int], ids: pa.Array | None) -> None:
    """Raise InputError if two rows of `codes` `int32 [n, depth]` are equal."""
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


def groups_of(codes: Int32, sizes: Sequence[int]) -> tuple[Int64, Int64]:
    """Return each row's group of equal rows, `int64 [n]`, and the size of each group."""
    group = np.zeros(len(codes), np.int64)
    counts = np.array([len(codes)] if len(codes) else [], np.int64)
    for level, size in enumerate(sizes):
        _, group, counts = np.unique(group * size + codes[:, level], return_inverse=True, return_counts=True)
    return group, counts


def place_in_group(group: Int64, counts: Int64) -> Int64:
    """Return the position of each row in its group. Positions start at 0 in row order."""
    order = np.argsort(group, kind="stable")
    place = np.empty(len(group), np.int64)
    place[order] = spans(0, counts)
    return place


def random_free(group: Int64, counts: Int64, size: int, seed: int) -> Int64:
    """Return a random code below `size` for each row. Rows of one group get different codes."""
    generator = np.random.default_rng(seed)
    code = generator.integers(size, size=len(group))
    order = np.argsort(group, kind="stable")
    first = np.cumsum(counts) - counts
    for number in np.flatnonzero(counts > 1):
        rows = order[first[number] : first[number] + counts[number]]
        code[rows] = generator.choice(size, size=len(rows), replace=False)
    return code


def known_ids(item_ids: pa.Array | None, n_items: int) -> pa.Array:
    """Return the item ids or else the item numbers."""
    return pa.array(np.arange(1, n_items + 1)) if item_ids is None else item_ids


def rows_of(wanted: pa.Array, known: pa.Array, where: str) -> Int64:
    """Return the int64 place of each wanted id among the known ids."""
    rows = places_of(wanted, known)
    missing = wanted.filter(pa.array(rows < 0))
    if len(missing):
        names = ", ".join(repr(item) for item in missing[:_SHOWN].to_pylist())
        raise InputError(f"{len(missing)} of {len(wanted)} items are missing, {names} the first, in {where}.")
    if len(np.unique(rows)) != len(rows):
        raise InputError("The wanted items name one item twice: an item has one semantic ID.")
    return rows


def collisions(codes: Int32, sizes: Sequence[int]) -> dict[str, Any]:
    """Return how often rows of `codes` `int32 [n, levels]` are equal.

    `distinct` counts different rows. `collision_rate` is the share of rows that equal another row. `unique_share`
    is the rest. `largest_group` is the largest number of equal rows.
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
    """Return `level`, `codes`, `used` codes and their `perplexity` for every level of `codes` `int32 [n, levels]`."""
    rows = []
    for level, size in enumerate(sizes):
        counts = np.bincount(codes[:, level], minlength=size)
        share = counts[counts > 0] / max(1, len(codes))
        perplexity = float(np.exp(-np.sum(share * np.log(share))))
        rows.append({"level": level + 1, "codes": int(size), "used": len(share), "perplexity": perplexity})
    return rows


def _name(row: int, ids: pa.Array | None) -> str:
    return str(row + 1) if ids is None else repr(ids[row].as_py())
