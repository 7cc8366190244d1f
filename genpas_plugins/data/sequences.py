"""Every user's interactions in time order as two arrays, and views that cut off the held-out end without copying.

values   [s₁ s₂ s₃ | t₁ t₂ | …]      item numbers from 1; 0 is padding and never stored
offsets  [0, 3, 5, …]                sequence s is values[offsets[s] : offsets[s + 1]]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike

from genpas_plugins.support.array_types import AnyArray, Int64, Integers
from genpas_plugins.support.errors import InputError, whole_number

PAIR_ITEMS = 2
"""A training pair needs a history item and a target, so shorter sequences have none."""


class Pairs(NamedTuple):
    """Addresses of training pairs: history [start, target) of the sequence, and the position of the target.

    All three are int64 [n]; positions count from 0 inside the sequence (the paper's j - 1 and k - 1).
    """

    sequence: Int64
    start: Int64
    target: Int64


ORIGIN, SOURCE = "origin", "origin_row"
"""Columns of a regenerated store: 0 where an interaction is an original one, and the row that it comes from."""


class LeaveLastOut(NamedTuple):
    """The three leave-last-out views of one store: held-out items 2, 1 and 0.

    Train on any pair of `train`; the validation (test) pair of a user is the last pair of `validation` (`test`).
    """

    train: SequenceView
    validation: SequenceView
    test: SequenceView


@dataclass(frozen=True, eq=False)
class LengthIndex:
    """Sequences ordered by length, so that those of one length stand together: what the two-level draw reads.

    lengths : int64 [d], the distinct lengths, ascending
    counts  : int64 [d], how many sequences have that length
    order   : int32 or int64 [n], the sequences' rows, shortest sequence first
    """

    lengths: Int64
    counts: Int64
    order: Integers

    @classmethod
    def of(cls, lengths: Int64) -> LengthIndex:
        """Index sequences of the given lengths, int64 [n]; sequences of one length keep their order."""
        distinct, counts = np.unique(lengths, return_counts=True)
        order = np.argsort(lengths, kind="stable")
        return cls(distinct.astype(np.int64), counts.astype(np.int64), order.astype(smallest_index_type(len(lengths))))


class LengthGroups(NamedTuple):
    """The sequences of a view that have a training pair, grouped by length; int64 [d] each.

    Group g holds the sequences `order[first[g] : first[g] + size[g]]`, all of `length[g]` ≥ 2 items.
    """

    length: Int64
    first: Int64
    size: Int64


@dataclass(frozen=True, eq=False)
class SequenceView:
    """Every sequence of a store cut to its first items; nothing is copied.

    Either the last `held_out` items of each sequence are cut off, or `cut_lengths`, int64 [n_sequences], says how many
    are kept. Make one with `SequenceStore.view`.
    """

    store: SequenceStore
    held_out: int
    cut_lengths: Int64 | None
    index: LengthIndex

    def __reduce__(self) -> Any:
        """Pickle what the view is made of, so that a view of a saved store stays as small as its path."""
        return _view, (self.store, self.held_out, self.cut_lengths)

    def lengths(self, rows: Int64 | slice = slice(None)) -> Int64:
        """Length of each sequence in the view, int64; of the given rows only, if any are given."""
        if self.cut_lengths is not None:
            return np.array(self.cut_lengths[rows])  # a copy: the caller may change it
        offsets = self.store.offsets
        whole: Int64 = offsets[1:][rows] - offsets[:-1][rows]
        return np.maximum(whole - self.held_out, 0)

    @cached_property
    def groups(self) -> LengthGroups:
        """The sequences of at least two items, grouped by length."""
        lengths = self.index.lengths - self.held_out
        first = np.cumsum(self.index.counts) - self.index.counts
        kept = lengths >= PAIR_ITEMS
        return LengthGroups(lengths[kept], first[kept], self.index.counts[kept])

    @property
    def n_pairs(self) -> int:
        """Number of (sequence, target) choices: what multi-target enumerates, Σ (|s| - 1)."""
        return sum(int(c) * (int(n) - 1) for n, _, c in zip(*self.groups, strict=True))

    @property
    def max_length(self) -> int:
        """Length of the longest sequence that has a pair; 0 if none has."""
        return int(self.groups.length[-1]) if len(self.groups.length) else 0

    def last_pairs(self) -> Pairs:
        """Return the last pair of every sequence of at least two items, by row: its last item and all before it."""
        lengths = self.lengths()
        rows = np.flatnonzero(lengths >= PAIR_ITEMS)
        return Pairs(rows, np.zeros(len(rows), np.int64), lengths[rows] - 1)

    def require_pairs(self) -> None:
        """Raise InputError if no sequence of the view has two items."""
        if not len(self.groups.length):
            longest = int(self.store.lengths().max(initial=0))
            raise InputError(
                f"No training pair: a pair needs two training items, and after the split every one of the "
                f"{self.store.n_sequences} users has fewer (the longest whole sequence has {longest} items). "
                "Use data with longer sequences, or hold out less."
            )


@dataclass(frozen=True, eq=False)
class SequenceStore:
    """All sequences of a data set in two arrays, with ids and optional columns beside them.

    values   : int32 (int64 where needed) [n_interactions], item numbers 1 … n_items
    offsets  : int64 [n_sequences + 1], from 0 to n_interactions
    n_items  : number of items in the catalogue
    user_ids : the sequences' ids, any Arrow type [n_sequences]; None: the row number is the id
    item_ids : the items' ids [n_items], number k has id item_ids[k - 1]; None: the number is the id
    columns  : further per-interaction arrays [n_interactions, …] by name, "timestamp" say
    """

    values: Integers
    offsets: Int64
    n_items: int
    user_ids: pa.Array | None = None
    item_ids: pa.Array | None = None
    columns: Mapping[str, AnyArray] = field(default_factory=dict)
    path: Path | None = None
    length_index: LengthIndex | None = field(default=None, repr=False)

    @classmethod
    def from_arrays(
        cls,
        values: ArrayLike,
        offsets: ArrayLike,
        *,
        n_items: int | None = None,
        user_ids: ArrayLike | pa.Array | None = None,
        item_ids: ArrayLike | pa.Array | None = None,
        columns: Mapping[str, AnyArray] | None = None,
    ) -> SequenceStore:
        """Check arrays and make a store of them; `values` become int32 where all item numbers fit.

        Raises InputError where the arrays do not describe sequences of items 1 … n_items.

        >>> store = SequenceStore.from_arrays([1, 2, 3, 2, 1], [0, 3, 5])
        >>> store.lengths()
        array([3, 2])
        """
        values, offsets = np.asarray(values), np.asarray(offsets)
        for name, array in (("values", values), ("offsets", offsets)):
            if array.ndim != 1 or not (np.issubdtype(array.dtype, np.integer) or array.size == 0):
                raise InputError(f"{name} must be one row of integers; got dtype {array.dtype}, shape {array.shape}.")
        offsets = offsets.astype(np.int64, copy=False)
        if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != len(values) or np.any(np.diff(offsets) < 0):
            raise InputError(
                f"offsets must rise from 0 to the number of values, {len(values)}: "
                "sequence s is values[offsets[s] : offsets[s + 1]]."
            )
        highest = int(values.max(initial=0))
        n_items = highest if n_items is None else whole_number("n_items", n_items, 0)
        if len(values) and (values.min() < 1 or highest > n_items):
            row = int(np.argmax((values < 1) | (values > n_items)))
            raise InputError(
                f"values[{row}] is {values[row]}, but item numbers run from 1 to n_items={n_items}; 0 is padding."
            )
        columns = {name: np.asanyarray(column) for name, column in (columns or {}).items()}
        for name, column in columns.items():
            if column.ndim == 0 or len(column) != len(values):
                raise InputError(f"Column {name!r} has shape {column.shape} for {len(values)} interactions.")
            if column.dtype.hasobject:
                raise InputError(f"Column {name!r} holds Python objects; make it numbers, or text of a fixed width.")
        ids: dict[str, Any] = {}
        for name, given, count in (("user_ids", user_ids, len(offsets) - 1), ("item_ids", item_ids, n_items)):
            ids[name] = known = None if given is None else as_ids(given, name)
            if known is not None and len(known) != count:
                raise InputError(f"{name} has {len(known)} entries; {count} are needed.")
        values = values.astype(smallest_index_type(n_items), copy=False)
        return cls(values, offsets, n_items, columns=columns, **ids)

    @classmethod
    def open(cls, path: str | Path) -> SequenceStore:
        """Open a saved store by memory map: constant time, no data read. Raises InputError if it is none of ours."""
        from genpas_plugins.data.storage import open_store

        return open_store(Path(path))

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the store as one directory, atomically. Raises InputError if `path` exists and `overwrite` is off."""
        from genpas_plugins.data.storage import save_store

        save_store(self, Path(path), overwrite=overwrite)

    def __reduce__(self) -> Any:
        """Pickle a saved store as its path, so that a worker process opens the same file pages."""
        if self.path is not None:
            return SequenceStore.open, (self.path,)
        state = (self.values, self.offsets, self.n_items, self.user_ids, self.item_ids, dict(self.columns))
        return SequenceStore, state

    @property
    def n_sequences(self) -> int:
        """Number of sequences (users)."""
        return len(self.offsets) - 1

    @property
    def n_interactions(self) -> int:
        """Number of interactions of all users together."""
        return len(self.values)

    def lengths(self) -> Int64:
        """Length of every sequence, int64 [n_sequences]."""
        return np.diff(self.offsets)

    def view(self, *, held_out: int = 0, lengths: ArrayLike | None = None) -> SequenceView:
        """View every sequence without its last `held_out` items, or cut to the given `lengths`, int64 [n_sequences]."""
        held_out = whole_number("held_out", held_out, 0)
        if lengths is None:
            index = self.length_index if self.length_index is not None else LengthIndex.of(self.lengths())
            return SequenceView(self, held_out, None, index)
        if held_out:
            raise InputError("Give held_out or lengths, not both.")
        cut = np.array(lengths)
        if cut.size and not np.issubdtype(cut.dtype, np.integer):
            raise InputError(f"lengths must be whole numbers, not {cut.dtype}.")
        cut = cut.astype(np.int64)
        if cut.shape != (self.n_sequences,) or np.any(cut < 0) or np.any(cut > self.lengths()):
            raise InputError("lengths must hold, for every sequence, a number of items between 0 and its length.")
        return SequenceView(self, 0, cut, LengthIndex.of(cut))

    def leave_last_out(self) -> LeaveLastOut:
        """Split as the papers do: the last item of a user tests, the one before validates, the rest trains.

        In a store that `genpas regenerate` made, with the columns ORIGIN and SOURCE, the sequences it added train
        whole and are in neither of the other two: validation and test are those of the original store.
        """
        if self.is_regenerated:
            return self._split_with_added_sequences()
        index = self.length_index if self.length_index is not None else LengthIndex.of(self.lengths())
        return LeaveLastOut(*(SequenceView(self, held_out, None, index) for held_out in (2, 1, 0)))

    @property
    def is_regenerated(self) -> bool:
        """Whether `genpas regenerate` made this store, so that some sequences were added to train on."""
        return {ORIGIN, SOURCE} <= self.columns.keys()

    def entry_of_sequences(self, name: str, empty: AnyArray) -> AnyArray:
        """Return a column's first entry of each sequence, [n_sequences], and that of `empty` where one has no items."""
        some = np.flatnonzero(self.lengths() > 0)
        result = empty.copy()
        result[some] = self.columns[name][self.offsets[some]]
        return result

    def _split_with_added_sequences(self) -> LeaveLastOut:
        lengths = self.lengths()
        added = self.entry_of_sequences(ORIGIN, np.zeros(len(lengths), np.int8)) > 0
        train = np.where(added, lengths, np.maximum(lengths - 2, 0))
        validation, test = (np.where(added, 0, np.maximum(lengths - held_out, 0)) for held_out in (1, 0))
        return LeaveLastOut(*(self.view(lengths=cut) for cut in (train, validation, test)))

    def user_rows(self, ids: ArrayLike | pa.Array) -> Int64:
        """Rows of the users with these ids, int64. Raises InputError for an id that the store does not hold."""
        return _numbers(ids, self.user_ids, self.n_sequences, first=0, kind="user")

    def item_numbers(self, ids: ArrayLike | pa.Array) -> Int64:
        """Numbers of the items with these ids, int64. Raises InputError for an id that the store does not hold."""
        return _numbers(ids, self.item_ids, self.n_items, first=1, kind="item")


def _view(store: SequenceStore, held_out: int, cut_lengths: Int64 | None) -> SequenceView:
    return store.view(held_out=held_out, lengths=cut_lengths)


def smallest_index_type(largest: int) -> type[np.int32] | type[np.int64]:
    """Return int32 where `largest` fits into it, else int64."""
    return np.int32 if largest <= np.iinfo(np.int32).max else np.int64


def _numbers(ids: ArrayLike | pa.Array, known: pa.Array | None, count: int, *, first: int, kind: str) -> Int64:
    """Turn ids into numbers `first` … `first + count - 1`."""
    wanted = as_ids(ids, f"{kind} ids")
    if known is None:
        known = pa.array(np.arange(first, first + count))
    try:
        found = pc.index_in(wanted.cast(known.type), value_set=known)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise InputError(f"These {kind} ids are of type {wanted.type}, the store's of {known.type}.") from error
    unknown = found.is_null().to_numpy(zero_copy_only=False)
    if np.any(unknown):
        example = wanted[int(np.argmax(unknown))].as_py()
        raise InputError(f"{int(unknown.sum())} {kind} ids are not in the store, {example!r} the first of them.")
    return np.asarray(found.to_numpy(zero_copy_only=False) + first, dtype=np.int64)


def as_ids(ids: ArrayLike | pa.Array, name: str) -> pa.Array:
    """Return ids as one Arrow array of plain values. Raises InputError where they are of several types."""
    try:
        array = ids if isinstance(ids, pa.Array) else pa.array(ids)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise InputError(f"{name} must be one row of values of one type: {error}") from error
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
