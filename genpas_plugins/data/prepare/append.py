"""Add interactions to a saved store: users and items keep their numbers and new ones get the next numbers.

1. build    make a store of the new interactions beside the store
2. merge    write the sequences of both, in buckets of users that fit into memory
3. replace  exchange the two directories, which is one step for the file system
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from genpas_plugins.data.ids import CAST_ERRORS, places_of
from genpas_plugins.data.lengths import bounds
from genpas_plugins.data.prepare.build import BUCKET_ROWS, Buckets, Progress, build_store
from genpas_plugins.data.prepare.scratch import ScratchColumn, scratch_folder
from genpas_plugins.data.sequences import SequenceStore
from genpas_plugins.data.source import AS_FOUND, ReadOptions
from genpas_plugins.data.storage import STORE, StoredArrays, read_history, verify_store, write_arrays
from genpas_plugins.support.array_types import AnyArray, Bools, Int64
from genpas_plugins.support.atomic import exchange_directory
from genpas_plugins.support.errors import InputError

LATE = ("refuse", "merge")
_LOG = logging.getLogger(__name__)
_VALUES = "__values__"
_EXACT = 1 << 53  # integers that a float64 holds exactly
_TEXT_BYTES = 1 << 31  # bytes that Arrow's plain string type addresses


def append_interactions(
    path: str | Path,
    source: str | Path,
    *,
    user: str,
    item: str,
    order: str | Sequence[str] | None = None,
    late: str = "refuse",
    drop_duplicates: bool = False,
    again: bool = False,
    format: str | None = None,
    options: ReadOptions = AS_FOUND,
    time_format: str | None = None,
    null_values: Sequence[str] = (),
    strip: bool = False,
    progress: Progress | None = None,
    note: Callable[[str], None] = _LOG.warning,
    bucket_rows: int = BUCKET_ROWS,
) -> SequenceStore:
    """Add all interactions of `source` to the saved store `path` or none.

    A kill leaves the store as it was or with all new interactions. Memory holds the ids of users and items and
    `bucket_rows` interactions. No k-core is applied.

    Parameters
    ----------
    path
        Directory of the store.
    source
        A file, a directory of part files or a glob pattern. It has every column of the store.
    user, item
        Columns with the ids.
    order
        Columns of the store that its sequences are sorted by. The most important comes first. Ties keep earlier
        interactions first. None: new interactions follow the old ones in the order of the file.
    late
        What to do with an interaction before its user's last one in `order`: "refuse" or "merge".
    drop_duplicates
        Drop new interactions with the user, item and order of an interaction in the store or of an earlier new one.
    again
        Append content that the store's history names already.
    format, options, time_format, null_values, strip, progress, note, bucket_rows
        See `build_store`.

    Raises
    ------
    InputError
        The source is unusable or an interaction is late. Ids or columns do not fit the store.
    """
    path = Path(path).resolve()
    tell = progress if progress is not None else lambda step, done, total: None
    if late not in LATE:
        raise InputError(f"late is {late!r}; choose {' or '.join(LATE)}.")
    orders = (order,) if isinstance(order, str) else tuple(order or ())
    store = SequenceStore.open(path)
    history = read_history(path)
    _check_store(store, orders, history)
    with scratch_folder(path) as folder:
        verify_store(path, lambda done, total: tell("verifying", done, total))
        part = build_store(
            source,
            folder / "part",
            user=user,
            item=item,
            order=orders,
            columns=[name for name in store.columns if name not in orders],
            format=format,
            options=options,
            time_format=time_format,
            null_values=null_values,
            strip=strip,
            drop_duplicates=drop_duplicates,
            progress=progress,
            note=note,
            bucket_rows=bucket_rows,
        )
        content = STORE.fingerprint(folder / "part")
        if not again and any(step.get("content") == content for step in history):
            raise InputError(f"{path} holds the interactions of {source} already. Use --again to append them twice.")
        user_ids, user_rows = _number(store.user_ids, part.user_ids, "user")
        item_ids, item_places = _number(store.item_ids, part.item_ids, "item")
        merge = _Merge(path, store, part, user_rows, item_places + 1, orders, late, drop_duplicates)
        with ExitStack() as stack:
            types = {_VALUES: np.dtype(np.int64), **{name: column.dtype for name, column in store.columns.items()}}
            scratch = {
                name: stack.enter_context(closing(ScratchColumn(folder / str(number), dtype)))
                for number, (name, dtype) in enumerate(types.items())
            }
            lengths, n_late = merge.write(scratch, bucket_rows, tell)
            n = int(lengths.sum())
            counts = {"users": len(user_ids), "items": len(item_ids), "interactions": n}
            step = {"step": "append", "source": Path(source).name, **counts, "order": list(orders)}
            step |= {"late_users": n_late, "content": content, "before": STORE.fingerprint(path)}
            was = {"users": store.n_sequences, "items": store.n_items, "interactions": store.n_interactions}
            before = history or [{"step": "prepare", **was}]
            tell("saving", 0, n)
            columns: Any = {name: scratch[name].first(n) for name in store.columns}
            sizes = (bounds(lengths), len(item_ids))
            merged = StoredArrays.of(scratch[_VALUES].first(n), *sizes, user_ids, item_ids, columns)
            write_arrays(folder / "whole", merged, history=[*before, step])
        exchange_directory(folder / "whole", path)
        tell("saving", n, n)
    return SequenceStore.open(path)


@dataclass(frozen=True)
class _Merge:
    """The sequences of a store and of a part by rows of the merged store."""

    path: Path
    store: SequenceStore
    part: SequenceStore
    rows: Int64
    """int64 [part.n_sequences]. The merged row of each of the part's users."""
    items: Int64
    """int64 [part.n_items]. The merged number of each of the part's items."""
    orders: tuple[str, ...]
    late: str
    drop_duplicates: bool

    def write(self, scratch: Mapping[str, ScratchColumn], bucket_rows: int, tell: Progress) -> tuple[Int64, int]:
        """Write all interactions; return the merged lengths and the number of users with a late interaction."""
        n = max(self.store.n_sequences, int(self.rows.max(initial=-1)) + 1)
        lengths, old = np.zeros(n, np.int64), self.store.lengths()
        lengths[: len(old)] = old
        lengths[self.rows] += self.part.lengths()
        by_row = np.argsort(self.rows)
        cut = Buckets.cut(bounds(lengths), bucket_rows)
        done = n_late = 0
        for first, stop in zip(cut.edges[:-1].tolist(), cut.edges[1:].tolist(), strict=True):
            low, high = np.searchsorted(self.rows[by_row], [first, stop])
            columns, users, late = self._bucket(first, stop, by_row[low:high])
            lengths[first:stop] = np.bincount(users - first, minlength=stop - first)
            for name, column in columns.items():
                scratch[name].write(done, column)
            done, n_late = done + len(users), n_late + late
            tell("merging", done, int(cut.starts[-1]))
        return lengths, n_late

    def _bucket(self, first: int, stop: int, part_users: Int64) -> tuple[dict[str, AnyArray], Int64, int]:
        """Return the columns and the merged rows of a bucket's interactions and the number of late users."""
        offsets = self.store.offsets
        a, b = (min(edge, self.store.n_sequences) for edge in (first, stop))
        old = slice(int(offsets[a]), int(offsets[b]))
        users = np.repeat(np.arange(a, b), np.diff(offsets[a : b + 1]))
        columns = {_VALUES: self.store.values[old], **{name: c[old] for name, c in self.store.columns.items()}}
        if not len(part_users):
            return columns, users, 0
        counts = self.part.lengths()[part_users]
        ends = np.cumsum(counts)
        rows = np.arange(ends[-1]) + np.repeat(self.part.offsets[part_users] - ends + counts, counts)
        new = {_VALUES: self.items[self.part.values[rows] - 1]}
        new |= {name: _converted(self.part.columns[name][rows], columns[name], name) for name in self.store.columns}
        is_new = np.arange(len(users) + len(rows)) >= len(users)
        users = np.concatenate([users, np.repeat(self.rows[part_users], counts)])
        columns = {name: np.concatenate([column, new[name]]) for name, column in columns.items()}
        keys = [columns[name] for name in reversed(self.orders)]
        places = np.lexsort((*keys, users))  # stable: old interactions come first among ties
        if self.orders and np.any(np.diff(places[~is_new[places]]) < 0):
            raise InputError(
                f"{self.path}: a sequence is not in order of {', '.join(self.orders)}. Name the columns that the store "
                "was prepared with as --order."
            )
        if self.drop_duplicates and self.orders:
            places = places[~_repeated(places, is_new, [*keys, columns[_VALUES], users])]
        late = _late_users(users[places], is_new[places])
        if len(late) and self.late == "refuse":
            raise InputError(
                f"{self.path}: new interactions of user {self._user_id(int(late[0]))!r} come before the user's last "
                f"one in order of {', '.join(self.orders)}. Leave them out, or use --late merge."
            )
        return {name: column[places] for name, column in columns.items()}, users[places], len(late)

    def _user_id(self, row: int) -> Any:
        return self.store.user_ids[row].as_py() if self.store.user_ids is not None else row


def _repeated(places: Int64, is_new: Bools, keys: list[AnyArray]) -> Bools:
    """Return which of `places` are new and equal an earlier place in all `keys`."""
    kept = [key[places] for key in keys]
    groups = np.lexsort(kept)
    same = np.logical_and.reduce([key[groups][1:] == key[groups][:-1] for key in kept])
    repeated = np.zeros(len(places), np.bool_)
    repeated[groups[1:]] = same
    return repeated & is_new[places]


def _late_users(users: Int64, is_new: Bools) -> Int64:
    """Return the users who have an old interaction after a new one."""
    falls = is_new[:-1] & ~is_new[1:] & (users[:-1] == users[1:])
    return np.unique(users[:-1][falls])


def _check_store(store: SequenceStore, orders: tuple[str, ...], history: Sequence[Mapping[str, Any]]) -> None:
    if store.has_train_only:
        raise InputError(
            f"{store.path} holds sequences that only train. Append to the store it was made from, and regenerate."
        )
    for name in orders:
        if name not in store.columns:
            raise InputError(f"{store.path} has no column {name!r} to order by; it has {', '.join(store.columns)}.")
    earlier = [step["order"] for step in history if step.get("order")]
    if earlier and orders and list(orders) != earlier[-1]:
        raise InputError(f"{store.path} is in order of {', '.join(earlier[-1])}. Use the same --order.")


def _number(known: pa.Array | None, more: pa.Array | None, kind: str) -> tuple[pa.Array, Int64]:
    """Return the known ids and the new ids of `more` after them. Return the place of each id of `more` too."""
    if known is None or more is None:
        raise InputError(f"The store has no {kind} ids, by which `append` finds {kind}s. Prepare it with ids.")
    try:
        ids = more.cast(known.type)
        fits = ids.cast(more.type).equals(more)  # "07" becomes 7, which is another id
    except CAST_ERRORS:
        fits = False
    if not fits:
        raise InputError(
            f"The new {kind} ids are of type {more.type}, and some have no equal of the store's type {known.type}. "
            "Write them as the store's ids, or prepare all interactions again."
        )
    places = places_of(ids, known)
    new = np.flatnonzero(places < 0)
    places[new] = len(known) + np.arange(len(new))
    parts = [known, ids.take(pa.array(new))]
    if pa.types.is_string(known.type) and sum(part.nbytes for part in parts) >= _TEXT_BYTES:
        parts = [part.cast(pa.large_string()) for part in parts]
    return pa.concat_arrays(parts), places


def _converted(values: AnyArray, like: AnyArray, name: str) -> AnyArray:
    """Return values as the dtype of the store's column. Raises InputError if this changes one."""
    if values.dtype == like.dtype:
        return values
    converted = values.astype(like.dtype)
    exact = like.dtype.kind != "f" or values.dtype.kind != "i" or bool((np.abs(values) <= _EXACT).all())
    if values.dtype.kind not in "biuf" or not exact or not np.array_equal(converted, values, equal_nan=True):
        raise InputError(
            f"Column {name!r} is {like.dtype} in the store, and new values of {values.dtype} do not fit it. Write them "
            "as the store's, or prepare all interactions again."
        )
    return converted
