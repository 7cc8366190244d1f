"""Group and sort a source of any size: two passes over the source, and one over buckets that fit into memory.

1. survey    count the ids: this gives the number of every user and item, and the first row of every user
2. scatter   write every row to the part of its bucket in the scratch columns, in any order
3. sort      sort each bucket by user, order and place in the file, and write it back
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from genpas_plugins.data.prepare.k_core import Core, find_core
from genpas_plugins.data.prepare.scratch import ScratchColumn
from genpas_plugins.data.prepare.survey import Survey, survey
from genpas_plugins.data.readers import read
from genpas_plugins.data.sequences import SequenceStore
from genpas_plugins.data.source import BATCH_ROWS, ROW, Source
from genpas_plugins.data.storage import STORE
from genpas_plugins.support.array_types import AnyArray, Bools, Int64
from genpas_plugins.support.errors import InputError

Progress = Callable[[str, int, int | None], None]

BUCKET_ROWS = 4_000_000
_USER, _ITEM = "__user__", "__item__"


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


def build_store(
    source: str | Path,
    out: str | Path,
    *,
    user: str,
    item: str,
    order: str | None = None,
    columns: Sequence[str] = (),
    k_core: int = 0,
    user_core: int | None = None,
    item_core: int | None = None,
    format: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    bucket_rows: int = BUCKET_ROWS,
) -> SequenceStore:
    """Read interactions, group them by user, sort them by `order`, and save them as the store `out`.

    Users and items are numbered in the order of their ids, whatever the order of the files. Ids in text files are
    integers if every id is written as an integer is ("7", not "07"), else text.

    Parameters
    ----------
    source
        A file, a directory of part files, or a glob pattern.
    out
        Directory to make. It appears whole or not at all.
    user, item
        Columns with the ids, integers or text.
    order
        Column with the time or position of an interaction, kept as a column of the store. Ties keep the order of the
        file. None: the file is in order.
    columns
        Further numeric, boolean or date columns to keep. Dates and times become int64 microseconds since 1970,
        without a time zone as written.
    k_core
        Fewest interactions of a user and of an item. Others are dropped until all have enough. A repeated interaction
        counts each time.
    user_core, item_core
        Override `k_core` for one side.
    format
        A key of `READERS`. None: the names and the content of the files decide.
    overwrite
        Replace a store that is at `out`.
    progress
        Called as progress(step, done, total) with rows. The total is None where it is unknown.
    bucket_rows
        Rows to sort in memory at a time. The longest sequence always fits.

    Raises
    ------
    InputError
        The input is unusable. The message names file, row or line, and what to do.
    """
    return _build(
        read(source, format),
        Path(out),
        user=user,
        item=item,
        order=order,
        columns=columns,
        user_core=k_core if user_core is None else user_core,
        item_core=k_core if item_core is None else item_core,
        overwrite=overwrite,
        tell=progress if progress is not None else lambda step, done, total: None,
        bucket_rows=bucket_rows,
    )


def _build(
    source: Source,
    out: Path,
    *,
    user: str,
    item: str,
    order: str | None,
    columns: Sequence[str],
    user_core: int,
    item_core: int,
    overwrite: bool,
    tell: Progress,
    bucket_rows: int,
) -> SequenceStore:
    STORE.check_target(out, overwrite=overwrite)  # before hours of sorting; saving checks again
    if bucket_rows < 1:
        raise InputError(f"bucket_rows is {bucket_rows}; it must be 1 or more.")
    tell("counting", 0, None)
    found = survey(
        source,
        user=user,
        item=item,
        order=order,
        columns=columns,
        progress=lambda rows: tell("counting", rows, None),
    )
    tell("counting", found.n_rows, found.n_rows)

    user_counts, item_counts = (side["count"].to_numpy().astype(np.int64) for side in (found.users, found.items))
    starts = np.concatenate([[0], np.cumsum(user_counts)])
    buckets = Buckets.cut(starts, bucket_rows)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.build.", dir=out.parent) as directory, ExitStack() as stack:
        rows = _numbered_rows(source, found)
        scratch = {
            name: stack.enter_context(closing(ScratchColumn(Path(directory) / str(index), dtype)))
            for index, (name, dtype) in enumerate(_types(source, rows).items())
        }
        _scatter(source, rows, scratch, buckets, tell)
        core = Core(user_counts > 0, item_counts > 0, user_counts, item_counts)
        if user_core > 1 or item_core > 1:
            core = find_core(
                lambda: _pieces(scratch, found.n_rows),
                user_counts,
                item_counts,
                user_core=user_core,
                item_core=item_core,
                progress=lambda rounds, left: tell(f"k-core round {rounds}", left, found.n_rows),
            )
            if not core.users.any():
                raise InputError(
                    f"{source.name}: no interaction is left when every user must have {user_core} and every item "
                    f"{item_core}; lower the k-core."
                )
        n_kept = _sort(scratch, core, buckets, order, tell)
        tell("saving", 0, n_kept)
        store = SequenceStore.from_arrays(
            scratch[_ITEM].mapped(n_kept),
            np.concatenate([[0], np.cumsum(core.user_counts[core.users])]),
            n_items=int(core.items.sum()),
            user_ids=_ids(found.users, core.users),
            item_ids=_ids(found.items, core.items),
            columns={name: scratch[name].mapped(n_kept) for name in found.kept},
        )
        store.save(out, overwrite=overwrite)
        tell("saving", n_kept, n_kept)
    return SequenceStore.open(out)


def _types(source: Source, rows: pl.LazyFrame) -> dict[str, np.dtype[Any]]:
    with source.reading():
        schema = rows.collect_schema()
    types = {name: pl.Series([], dtype=dtype).to_numpy().dtype for name, dtype in schema.items()}
    return types | {_ITEM: np.dtype(np.int32)}


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


def _numbered_rows(source: Source, found: Survey) -> pl.LazyFrame:
    """Return the source with user and item rows (from 0) in place of their ids, and the kept columns as numbers."""
    sides = ((_USER, found.user, found.users), (_ITEM, found.item, found.items))
    frame = source.frame.select(
        ROW,
        *(pl.col(name).cast(side.schema["key"]).alias(f"{number}key") for number, name, side in sides),
        *(expression.alias(name) for name, expression in found.kept.items()),
    )
    for number, _, side in sides:
        numbers = side.select(
            pl.col("key").alias(f"{number}key"), pl.int_range(pl.len(), dtype=pl.UInt32).alias(number)
        )
        frame = frame.join(numbers.lazy(), on=f"{number}key", how="inner")
    return frame.select(_USER, _ITEM, ROW, *found.kept)


def _pieces(scratch: dict[str, ScratchColumn], n_rows: int) -> Iterator[tuple[AnyArray, AnyArray]]:
    for first in range(0, n_rows, BATCH_ROWS):
        stop = min(first + BATCH_ROWS, n_rows)
        yield scratch[_USER].read(first, stop), scratch[_ITEM].read(first, stop)


def _sort(scratch: dict[str, ScratchColumn], core: Core, buckets: Buckets, order: str | None, tell: Progress) -> int:
    """Sort each bucket and write it back, closed up where the k-core dropped rows; return how many rows are left."""
    item_numbers = np.cumsum(core.items).astype(np.int32)
    kept_columns = [name for name in scratch if name not in (_USER, _ITEM, ROW)]
    n_kept = 0
    for first, stop in itertools.pairwise(buckets.starts.tolist()):
        users, items = scratch[_USER].read(first, stop), scratch[_ITEM].read(first, stop)
        kept = core.users[users] & core.items[items]
        keys = {_USER: users, ROW: scratch[ROW].read(first, stop)}
        if order is not None:
            keys = {_USER: users, order: scratch[order].read(first, stop), ROW: keys[ROW]}
        table = pl.DataFrame(keys).with_row_index("__place__").filter(pl.Series(kept))
        places = table.select(pl.col("__place__").sort_by(list(keys))).to_series().to_numpy()
        # What is written never reaches rows not read yet: it is at most as much, and columns are read before.
        for name in kept_columns:
            scratch[name].write(n_kept, scratch[name].read(first, stop)[places])
        scratch[_ITEM].write(n_kept, item_numbers[items[places]])
        n_kept += len(places)
        tell("sorting", stop, int(buckets.starts[-1]))
    return n_kept


def _ids(side: pl.DataFrame, kept: Bools) -> pa.Array:
    ids = side["id"].filter(pl.Series(kept)).to_arrow()
    # Small ids as Arrow's plain string: every tool reads it, polars' own view type not.
    if pa.types.is_string_view(ids.type) or pa.types.is_large_string(ids.type):
        return ids.cast(pa.string() if ids.nbytes < 1 << 31 else pa.large_string())
    return ids
