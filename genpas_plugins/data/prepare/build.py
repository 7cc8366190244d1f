"""Group and sort a source of any size: two passes over the source, and one over buckets that fit into memory.

1. survey    count the ids: this gives the number of every user and item, and the first row of every user
2. scatter   write every row to the part of its bucket in the scratch columns, in any order
3. sort      sort each bucket by user, order and place in the file, and write it back
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from genpas_plugins.data.lengths import bounds
from genpas_plugins.data.prepare.k_core import Core, add_counts, find_core
from genpas_plugins.data.prepare.scratch import ScratchColumn, scratch_folder
from genpas_plugins.data.prepare.survey import Survey, Wanted, survey
from genpas_plugins.data.readers import read
from genpas_plugins.data.sequences import SequenceStore
from genpas_plugins.data.source import AS_FOUND, BATCH_ROWS, ROW, ReadOptions, Source
from genpas_plugins.data.storage import STORE, StoredArrays, write_arrays
from genpas_plugins.data.ties import FILE, parse_ties, tie_keys
from genpas_plugins.support.array_types import AnyArray, Bools, Int64, Integers
from genpas_plugins.support.atomic import exchange_directory
from genpas_plugins.support.errors import InputError

Progress = Callable[[str, int, int | None], None]

BUCKET_ROWS = 4_000_000
_ODD = np.uint64(0x9E3779B97F4A7C15)  # spreads bits in a hash
_LOG = logging.getLogger(__name__)
_USER, _ITEM, _TWICE = "__user__", "__item__", "__twice__"


class Buckets(NamedTuple):
    """Users cut into buckets; int64 [n_buckets + 1] each."""

    edges: Int64
    """The first user of each bucket, and the number of users."""
    starts: Int64
    """The first interaction of each bucket, and the number of interactions."""

    @classmethod
    def cut(cls, user_starts: Int64, bucket_rows: int) -> Buckets:
        """Cut users whose rows begin at `user_starts`, int64 [n_users + 1].

        A bucket has `bucket_rows` interactions at most, before its last user is completed.
        """
        cuts = np.searchsorted(user_starts, np.arange(0, user_starts[-1], bucket_rows))
        edges = np.unique(np.append(cuts, len(user_starts) - 1))
        return cls(edges, user_starts[edges])

    def pieces(self) -> Iterator[tuple[int, int]]:
        """Yield the first interaction of each bucket and the interaction after its last."""
        return itertools.pairwise(self.starts.tolist())


def build_store(
    source: str | Path,
    out: str | Path,
    *,
    user: str,
    item: str,
    order: str | Sequence[str] | None = None,
    ties: str = FILE,
    columns: Sequence[str] = (),
    k_core: int = 0,
    user_core: int | None = None,
    item_core: int | None = None,
    format: str | None = None,
    options: ReadOptions = AS_FOUND,
    time_format: str | None = None,
    null_values: Sequence[str] = (),
    strip: bool = False,
    drop_duplicates: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
    note: Callable[[str], None] = _LOG.warning,
    bucket_rows: int = BUCKET_ROWS,
) -> SequenceStore:
    """Read interactions, group them by user, sort them by `order` and save them as the store `out`.

    Users and items are numbered in the order of their ids. The order of the files has no effect. Ids in delimited
    text are integers if every id has the form of an integer ("7" but not "07"). Otherwise they are text.

    Parameters
    ----------
    source
        A file, a directory of part files or a glob pattern.
    out
        Directory to make. It appears whole or not at all.
    user, item
        Columns with integer or text ids. A column of lists of items has one sequence a row.
    order
        Columns with the time or position of an interaction. The most important comes first. They are columns of the
        store. The order is exact for every type. None: the file is in order.
    ties
        The order of interactions with equal values of `order`: `file` or `random:SEED`.
    columns
        Further numeric, boolean or date columns to keep. Dates and times become int64 microseconds since 1970. They
        are in UTC where the source names a zone.
    k_core
        Fewest interactions of a user and of an item. Others are dropped until all have enough. A repeated interaction
        counts each time.
    user_core, item_core
        Override `k_core` for one side.
    format
        A key of `READERS`. None: the content of the files decides and then their names.
    options
        What text files do not say about themselves.
    time_format
        Format of the columns of `order` for `strptime`. None: numbers or ISO 8601.
    null_values
        Ids that mean a missing value. Their interactions are dropped.
    strip
        Remove blanks around ids.
    drop_duplicates
        Keep the first of the interactions with the same user, item and order.
    overwrite
        Replace a store that is at `out`.
    progress
        Called as progress(step, done, total) with rows. The total is None where it is unknown.
    note
        Called with what the user must know such as duplicates and null words.
    bucket_rows
        Rows to sort in memory at a time. The longest sequence always fits.

    Raises
    ------
    InputError
        The input is unusable. The message names the file, the row or line and what to do.
    """
    given, out, tie_seed = read(source, format, options), Path(out), parse_ties(ties)
    tell = progress if progress is not None else lambda step, done, total: None
    STORE.check_target(out, overwrite=overwrite)  # before hours of sorting; checked again at the end
    if bucket_rows < 1:
        raise InputError(f"bucket_rows is {bucket_rows}; it must be 1 or more.")
    tell("counting", 0, None)
    orders = (order,) if isinstance(order, str) else tuple(order or ())
    wanted = Wanted(user, item, orders, tuple(columns), time_format, tuple(null_values), strip)
    found = survey(given, wanted, lambda rows: tell("counting", rows, None))
    tell("counting", found.n_rows, found.n_rows)
    for text in found.notes:
        note(text)
    cores = (k_core if user_core is None else user_core, k_core if item_core is None else item_core)
    with scratch_folder(out) as folder, ExitStack() as stack:
        rows = _numbered_rows(found)
        scratch = {
            name: stack.enter_context(closing(ScratchColumn(folder / str(index), dtype)))
            for index, (name, dtype) in enumerate(_types(given, rows).items())
        }
        buckets = Buckets.cut(bounds(found.users["count"].to_numpy()), bucket_rows)
        _scatter(given, rows, scratch, buckets, tell)
        once = _repeats(found, scratch, buckets, note, drop=drop_duplicates)
        core = _core(given, found, scratch, once, cores, tell)
        n_kept = _sort(scratch, core, buckets, found, tie_seed, tell)
        tell("saving", 0, n_kept)
        counts = {"users": int(core.users.sum()), "items": int(core.items.sum()), "interactions": n_kept}
        step = {"step": f"prepare, ties {ties}", "order": list(orders), **counts}
        kept = {name: scratch[name].first(n_kept) for name in found.kept}
        ids = _ids(found.users, core.users), _ids(found.items, core.items)
        offsets, values = bounds(core.user_counts[core.users]), scratch[_ITEM].first(n_kept)
        # In the scratch folder, which a killed run leaves to the next one.
        write_arrays(
            folder / "saved",
            StoredArrays.of(values, offsets, counts["items"], *ids, kept),
            history=[] if tie_seed is None else [step],
        )
        STORE.check_target(out, overwrite=overwrite)
        exchange_directory(folder / "saved", out)
        tell("saving", n_kept, n_kept)
    return SequenceStore.open(out)


def _repeats(
    found: Survey, scratch: dict[str, ScratchColumn], buckets: Buckets, note: Callable[[str], None], *, drop: bool
) -> tuple[Integers, Integers]:
    """Count and mark repeated interactions; return how many of each user and item are left."""
    of_user, of_item = (side["count"].to_numpy() for side in (found.users, found.items))
    gone = [np.zeros_like(of_side) for of_side in (of_user, of_item)] if drop else []
    n_twice = 0
    for first, stop in buckets.pieces() if found.keys else ():
        twice = _duplicates(scratch, list(found.keys), first, stop)
        n_twice += int(twice.sum())
        if drop:
            scratch[_TWICE].write(first, twice)
            for name, of_side in zip((_USER, _ITEM), gone, strict=True):
                add_counts(of_side, scratch[name].read(first, stop)[twice])
    if n_twice:
        what = "are dropped" if drop else "are kept; --drop-duplicates keeps one of each"
        note(f"{n_twice:,} of {found.n_rows:,} interactions have user, item and order of an earlier one and {what}.")
    return (of_user - gone[0], of_item - gone[1]) if drop else (of_user, of_item)


def _core(  # noqa: PLR0917 – what the stages share
    source: Source,
    found: Survey,
    scratch: dict[str, ScratchColumn],
    counts: tuple[Integers, Integers],
    cores: tuple[int, int],
    tell: Progress,
) -> Core:
    if max(cores) <= 1:
        return Core(counts[0] > 0, counts[1] > 0, *counts)
    core = find_core(
        lambda: _pieces(scratch, found.n_rows),
        *counts,
        user_core=cores[0],
        item_core=cores[1],
        progress=lambda rounds, left: tell(f"k-core round {rounds}", left, found.n_rows),
    )
    if not core.users.any():
        raise InputError(
            f"{source.name}: no interaction is left when every user must have {cores[0]} and every item {cores[1]}; "
            "lower the k-core."
        )
    return core


def _duplicates(scratch: dict[str, ScratchColumn], keys: list[str], first: int, stop: int) -> Bools:
    """Return which rows of a bucket have the user, item and order of an earlier row."""
    named = {name: scratch[name].read(first, stop) for name in (_USER, _ITEM, *keys)}
    # Most data has none: sorted hashes show this several times faster than groups.
    hashes = np.zeros(stop - first, np.uint64)
    for column in named.values():
        bits = (
            (column + 0.0).astype(np.float64).view(np.uint64) if column.dtype.kind == "f" else column.astype(np.uint64)
        )
        hashes = (hashes ^ bits) * _ODD
        hashes ^= hashes >> np.uint64(29)
    hashes.sort()
    if not (hashes[1:] == hashes[:-1]).any():
        return np.zeros(stop - first, np.bool_)
    table = pl.DataFrame(named | {ROW: scratch[ROW].read(first, stop)})
    return table.select(pl.col(ROW) != pl.col(ROW).min().over(_USER, _ITEM, *keys)).to_series().to_numpy()


def _types(source: Source, rows: pl.LazyFrame) -> dict[str, np.dtype[Any]]:
    with source.reading():
        schema = rows.collect_schema()
    types = {name: pl.Series([], dtype=dtype).to_numpy().dtype for name, dtype in schema.items()}
    return types | {_ITEM: np.dtype(np.int32), _TWICE: np.dtype(np.bool_)}


def _scatter(
    source: Source, rows: pl.LazyFrame, scratch: dict[str, ScratchColumn], buckets: Buckets, tell: Progress
) -> None:
    """Write every row's numbers, place and kept columns to its bucket's stretch of the scratch columns."""
    cursors, n_rows = buckets.starts[:-1].copy(), int(buckets.starts[-1])
    with source.reading():
        for batch in rows.collect_batches(chunk_size=BATCH_ROWS, maintain_order=False, engine="streaming"):
            bucket = np.searchsorted(buckets.edges, batch[_USER].to_numpy(), side="right") - 1
            # numpy sorts 16-bit integers by radix, in linear time.
            by_bucket = np.argsort(bucket.astype(np.uint16 if len(cursors) < 1 << 16 else np.int64), kind="stable")
            counts = np.bincount(bucket, minlength=len(cursors))
            if np.any(cursors + counts > buckets.starts[1:]):
                break
            ends = np.cumsum(counts)
            for name in batch.columns:
                values = batch[name].to_numpy()[by_bucket]
                for b in np.flatnonzero(counts):
                    scratch[name].write(int(cursors[b]), values[ends[b] - counts[b] : ends[b]])
            cursors += counts
            tell("grouping", int((cursors - buckets.starts[:-1]).sum()), n_rows)
    if not np.array_equal(cursors, buckets.starts[1:]):
        raise InputError(f"{source.name} changed while it was read; let nothing write to it and start again.")


def _numbered_rows(found: Survey) -> pl.LazyFrame:
    """Return the rows with user and item rows (from 0) as ids and the other columns as numbers."""
    sides = ((_USER, found.wanted.user, found.users), (_ITEM, found.wanted.item, found.items))
    columns = found.kept | found.keys
    frame = found.frame.select(
        ROW,
        *(pl.col(name).cast(side.schema["key"]).alias(f"{number}key") for number, name, side in sides),
        *(expression.alias(name) for name, expression in columns.items()),
    )
    for number, _, side in sides:
        key = f"{number}key"
        if side.schema["key"].is_integer():  # sorted by id, which is the key; a join would hash every user again
            rows_of = partial(_rows_of, known=side["key"].to_numpy())
            place = pl.col(key).map_batches(rows_of, return_dtype=pl.UInt32, is_elementwise=True)
            frame = frame.with_columns(place.alias(number))
            continue
        numbers = side.select(pl.col("key").alias(key), pl.int_range(pl.len(), dtype=pl.UInt32).alias(number))
        frame = frame.join(numbers.lazy(), on=key, how="inner")
    return frame.select(_USER, _ITEM, ROW, *columns).drop_nulls([_USER, _ITEM])


def _rows_of(ids: pl.Series, known: AnyArray) -> pl.Series:
    """Return the place of each id in the sorted array of known ids, or null."""
    values = ids.to_numpy()
    order = np.argsort(values)  # neighbours in order are neighbours in memory
    places = np.empty(len(values), np.uint32)
    places[order] = np.minimum(np.searchsorted(known, values[order]), len(known) - 1)
    return pl.Series(places).set(pl.Series(known[places] != values), None)


def _pieces(scratch: dict[str, ScratchColumn], n_rows: int) -> Iterator[tuple[AnyArray, AnyArray]]:
    for first in range(0, n_rows, BATCH_ROWS):
        stop = min(first + BATCH_ROWS, n_rows)
        once = ~_twice(scratch, first, stop)
        yield scratch[_USER].read(first, stop)[once], scratch[_ITEM].read(first, stop)[once]


def _twice(scratch: dict[str, ScratchColumn], first: int, stop: int) -> Bools:
    """Return which rows are dropped as duplicates. The column is empty if all are kept."""
    twice = scratch[_TWICE].read(first, stop)
    return twice if len(twice) else np.zeros(stop - first, np.bool_)


def _sort(  # noqa: PLR0917 – what the stages share
    scratch: dict[str, ScratchColumn],
    core: Core,
    buckets: Buckets,
    found: Survey,
    tie_seed: int | None,
    tell: Progress,
) -> int:
    """Sort each bucket and write it back, closed up where rows are dropped; return how many rows are left."""
    item_numbers = np.cumsum(core.items).astype(np.int32)
    n_kept = 0
    for first, stop in buckets.pieces():
        users, items = scratch[_USER].read(first, stop), scratch[_ITEM].read(first, stop)
        kept = core.users[users] & core.items[items] & ~_twice(scratch, first, stop)
        keys = {_USER: users} | {name: scratch[name].read(first, stop) for name in (*found.keys, ROW)}
        if tie_seed is not None:
            keys[ROW] = tie_keys(keys[ROW], tie_seed)
        table = pl.DataFrame(keys).with_row_index("__place__").filter(pl.Series(kept))
        places = table.select(pl.col("__place__").sort_by(list(keys))).to_series().to_numpy()
        # What is written never reaches rows not read yet: it is at most as much, and columns are read before.
        for name in found.kept:
            scratch[name].write(n_kept, scratch[name].read(first, stop)[places])
        scratch[_ITEM].write(n_kept, item_numbers[items[places]])
        n_kept += len(places)
        tell("sorting", stop, int(buckets.starts[-1]))
    return n_kept


def _ids(side: pl.DataFrame, kept: Bools) -> pa.Array:
    ids = (side["id"] if kept.all() else side["id"].filter(pl.Series(kept))).to_arrow()
    # Small ids as Arrow's plain string: every tool reads it, polars' own view type not.
    if pa.types.is_string_view(ids.type) or pa.types.is_large_string(ids.type):
        return ids.cast(pa.string() if ids.nbytes < 1 << 31 else pa.large_string())
    return ids
