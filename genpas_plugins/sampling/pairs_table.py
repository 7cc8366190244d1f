"""Training pairs as a table with the source's own ids. A file is written piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from genpas_plugins.data.sequences import Pairs
from genpas_plugins.sampling.protocol import PairStream
from genpas_plugins.support.array_types import Int64, Integers
from genpas_plugins.support.errors import InputError
from genpas_plugins.support.table_file import check_table_file, table_file

# In memory at a time: this many addresses, and histories of this many items together.
_ADDRESSES = 1 << 16
_ITEMS = 1 << 20


def pair_table(
    stream: PairStream, epoch: int, index: Int64, drawn: tuple[Pairs, Pairs], max_length: int | None = None
) -> pa.Table:
    """Return pairs as a table with the source's ids.

    Parameters
    ----------
    stream : where the pairs come from
    epoch, index : the epoch, and the pairs' places in it, int64 [n]
    drawn : what `stream.addresses` gives for `index`
    max_length : keep the last items of longer histories; None keeps all. `start` is the drawn one in either case.

    Returns
    -------
    Columns pair, start and target_position are int64, user and target ids of the source, history a list of item ids.
    In a store without ids a user is its row from 0, an item its number from 1.
    """
    store, (pairs, addresses) = stream.view.store, drawn
    longest = max(1, stream.view.max_length)
    histories = stream.histories(epoch, index, addresses, longest if max_length is None else max_length)
    items, offsets = histories.jagged()
    # An empty history is one padding item.
    offsets = np.concatenate([[0], np.cumsum(items != 0)])[offsets]
    target = store.known_items(store.values[store.offsets[pairs.sequence] + pairs.target])
    history = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), _ids(store.item_ids, items[items != 0], 1))
    return pa.table(
        {
            "pair": index,
            "user": _ids(store.user_ids, pairs.sequence, 0),
            "start": pairs.start,
            "target_position": pairs.target,
            "history": history,
            "target": _ids(store.item_ids, target, 1),
        }
    )


def pair_tables(
    stream: PairStream, *, epoch: int, first: int, count: int, max_length: int | None = None
) -> Iterator[pa.Table]:
    """Yield the pairs `first` … `first + count - 1` of an epoch as tables of bounded size. See `pair_table`.

    Raises InputError if the epoch has fewer pairs or `max_length` is below 1.
    """
    _check_range(stream, first, count)
    for start in range(first, first + count, _ADDRESSES):
        index = np.arange(start, min(start + _ADDRESSES, first + count), dtype=np.int64)
        drawn = stream.addresses(epoch, index)
        length = drawn[1].target - drawn[1].start
        ends = np.cumsum(length if max_length is None else np.minimum(length, max_length))
        cuts = np.flatnonzero(np.diff((ends - 1) // _ITEMS)) + 1
        for a, b in zip([0, *cuts.tolist()], [*cuts.tolist(), len(index)], strict=True):
            pairs, addresses = (Pairs(*(part[a:b] for part in parts)) for parts in drawn)
            yield pair_table(stream, epoch, index[a:b], (pairs, addresses), max_length)


def write_pairs(
    stream: PairStream,
    path: Path,
    *,
    epoch: int,
    first: int,
    count: int,
    max_length: int | None = None,
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Write the pairs `first` … `first + count - 1` of an epoch to a file atomically.

    Parameters
    ----------
    stream : where the pairs come from
    path : file with one of the suffixes of `table_file`
    epoch, first, count, max_length : see `pair_tables`
    overwrite : whether an existing file is replaced
    progress : called with the number of pairs written so far

    Raises
    ------
    InputError
        For another suffix or an existing file without `overwrite`. For the same reasons as `pair_tables`.
    """
    check_table_file(path, overwrite=overwrite)
    _check_range(stream, first, count)
    tables = pair_tables(stream, epoch=epoch, first=first, count=count, max_length=max_length)
    none, done = np.empty(0, np.int64), 0
    with table_file(path, pair_table(stream, 0, none, stream.addresses(0, none)).schema) as write:
        for table in tables:
            write(table)
            done += table.num_rows
            if progress is not None:
                progress(done)


def _check_range(stream: PairStream, first: int, count: int) -> None:
    total = stream.pairs_per_epoch
    if first < 0 or count < 0 or first + count > total:
        raise InputError(
            f"The epoch has {total} pairs, 0 to {total - 1}; first {first} and count {count} reach outside it. "
            "Lower the count, set pairs_per_epoch, or go on in the next epoch."
        )


def _ids(ids: pa.Array | None, numbers: Integers, first: int) -> pa.Array:
    """Turn numbers that count from `first` into ids. Without ids return the int64 numbers."""
    if ids is None:
        return pa.array(numbers, pa.int64())
    return ids.take(pa.array(numbers - first))
