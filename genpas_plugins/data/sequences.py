"""The interactions of every user in time order as two arrays with views that leave out held-out items.

    values   [s₁ s₂ s₃ | t₁ t₂ | …]      item numbers from 1; 0 is padding and never stored
    offsets  [0, 3, 5, …]                sequence s is values[offsets[s] : offsets[s + 1]]

A store may end in sequences that only train. Augmentation makes such sequences. Two columns mark them:

    origin       0 in a sequence of a user, another number in a sequence that only trains
    origin_row   row of the user whose data the sequence is; -1: the data of several users
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from genpas_plugins.data.ids import as_ids, numbers_of
from genpas_plugins.data.lengths import LengthGroups, LengthIndex, smallest_index_type
from genpas_plugins.data.tables import TableConversions
from genpas_plugins.support.array_types import AnyArray, Int8, Int64, Integers
from genpas_plugins.support.errors import InputError, whole_number

if TYPE_CHECKING:
    from genpas_plugins.data.storage import StoredArrays

PAIR_ITEMS = 2
"""Items that a sequence must have for a training pair: a history item and a target."""


class Pairs(NamedTuple):
    """Addresses of training pairs: int64 [n] each.

    The history is `[start, target)`. Positions count from 0 inside the sequence (the paper's j - 1 and k - 1).
    """

    sequence: Int64
    start: Int64
    target: Int64


KIND, OWNER = "origin", "origin_row"
"""Columns of a store that has sequences that only train."""


class Split(NamedTuple):
    """The views of a split: `SequenceStore.leave_last_out`, `data.temporal.temporal_split`.

    Every pair of `train` trains. The last pair of a user in `validation` (`test`) validates (tests).
    """

    train: SequenceView
    validation: SequenceView
    test: SequenceView


@dataclass(frozen=True, eq=False)
class SequenceView:
    """Every sequence of a store cut to its first items without a copy. `SequenceStore.view` makes one."""

    store: SequenceStore
    held_out: int
    """How many last items every sequence loses."""
    cut_lengths: Int64 | None
    """int64 [n_sequences]. How many items are kept. None: `held_out` decides."""
    index: LengthIndex
    """Index of the lengths before `held_out` is subtracted."""

    def __reduce__(self) -> Any:
        """Pickle the arguments of `view`: a view of a saved store is as small as its path."""
        return _view, (self.store, self.held_out, self.cut_lengths)

    def __repr__(self) -> str:
        return f"<SequenceView: {self.n_pairs:,} pairs of {self.store!r}>"

    def lengths(self, rows: Int64 | slice = slice(None)) -> Int64:
        """Return the int64 length of each sequence in the view. `rows` selects sequences."""
        if self.cut_lengths is not None:
            return np.array(self.cut_lengths[rows])  # a copy: the caller may change it
        offsets = self.store.offsets
        whole: Int64 = offsets[1:][rows] - offsets[:-1][rows]
        return np.maximum(whole - self.held_out, 0)

    def lengths_of(self, rows: Int64, start: Int64) -> Int64:
        """Return the lengths int64 [n] of drawn sequences. Raises InputError if one has no pair from `start` on."""
        known = rows.min(initial=0) >= 0 and rows.max(initial=0) < self.store.n_sequences
        lengths = self.lengths(rows if known else np.zeros_like(rows))
        if not (known and ((start + 1 < lengths) & (lengths <= self.max_length)).all()):
            raise _damaged(self.store, "by_length.npy and offsets.npy contradict each other")
        return lengths

    @cached_property
    def groups(self) -> LengthGroups:
        """The sequences of at least two items grouped by length."""
        lengths = self.index.lengths - self.held_out
        first = np.cumsum(self.index.counts) - self.index.counts
        kept = lengths >= PAIR_ITEMS
        return LengthGroups(lengths[kept], first[kept], self.index.counts[kept])

    @property
    def n_pairs(self) -> int:
        """Number Σ (|s| - 1) of (sequence, target) choices. multi-target enumerates them."""
        return sum(int(c) * (int(n) - 1) for n, _, c in zip(*self.groups, strict=True))

    @property
    def max_length(self) -> int:
        """Length of the longest sequence with a pair; 0 without pairs."""
        return int(self.groups.length[-1]) if len(self.groups.length) else 0

    def last_pairs(self) -> Pairs:
        """Return the pair of the last item and all before it for every sequence of at least two items, by row."""
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
                "Use data with longer sequences, or hold out fewer items."
            )

    def require_content(self) -> None:
        """Raise InputError without a training pair or if the saved store is damaged. Reads the whole store once."""
        self.require_pairs()
        self.store.check_content()


@dataclass(frozen=True, eq=False)
class SequenceStore(TableConversions):
    """All sequences of a data set in two arrays with ids and optional columns."""

    values: Integers
    """int32, or int64 where needed, [n_interactions]. Item numbers 1 … n_items."""
    offsets: Int64
    """int64 [n_sequences + 1], from 0 to n_interactions."""
    n_items: int
    """Number of items in the catalogue."""
    user_ids: pa.Array | None = None
    """Any Arrow type [n_sequences]. None: the row number is the id."""
    item_ids: pa.Array | None = None
    """Any Arrow type [n_items]. Item k has the id item_ids[k - 1]. None: the number is the id."""
    columns: Mapping[str, AnyArray] = field(default_factory=dict)
    """Further arrays [n_interactions, …] by name, such as "timestamp"."""
    path: Path | None = None
    """Directory of a saved store."""
    length_index: LengthIndex | None = field(default=None, repr=False)
    """Index of a saved store."""
    parts: slice | None = None
    """Which parts of the store at `path` these are. None: all."""

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
        """Check arrays and make a store of them.

        Parameters
        ----------
        values
            Integers [n_interactions]. They become int32 where all item numbers fit.
        offsets
            Integers [n_sequences + 1].
        n_items
            Number of items. None: the highest value.
        user_ids, item_ids, columns
            See the class.

        Raises
        ------
        InputError
            The arrays do not describe sequences of items 1 … n_items.

        Examples
        --------
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

    def __repr__(self) -> str:
        columns = f", columns {', '.join(self.columns)}" if self.columns else ""
        counts = f"{self.n_sequences:,} users, {self.n_items:,} items, {self.n_interactions:,} interactions"
        return f"<SequenceStore: {counts}{columns}>"

    @classmethod
    def open(cls, path: str | Path, parts: slice | None = None) -> SequenceStore:
        """Map a saved store in constant time. Parts of a store in parts take time linear in their users.

        Parameters
        ----------
        path
            Directory of the store.
        parts
            Which parts such as `slice(rank, None, world_size)`. None: the whole store.

        Raises
        ------
        InputError
            `path` holds no undamaged store of this version or none of the parts.
        """
        from genpas_plugins.data.storage import read_arrays  # on first use: the core is quick to import

        stored = read_arrays(Path(path), parts)
        index = LengthIndex(np.array(stored.lengths[0]), np.array(stored.lengths[1]), stored.by_length)
        return cls(*stored[:6], Path(path).resolve(), index, parts)

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the store as one directory atomically.

        Raises InputError if `path` exists and is not a store or `overwrite` is off.
        """
        from genpas_plugins.data.storage import write_arrays

        write_arrays(Path(path), self.stored(), overwrite=overwrite)

    def stored(self) -> StoredArrays:
        """Return the content of the files of a saved store."""
        from genpas_plugins.data.storage import StoredArrays

        index = self.index()
        own = (self.values, self.offsets, self.n_items, self.user_ids, self.item_ids, self.columns)
        return StoredArrays(*own, index.order, np.stack([index.lengths, index.counts]))

    def __reduce__(self) -> Any:
        """Pickle a saved store as its path. A worker process maps the same file pages."""
        if self.path is not None:
            return SequenceStore.open, (self.path, self.parts)
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
        """Return the length int64 [n_sequences] of every sequence."""
        return np.diff(self.offsets)

    def index(self) -> LengthIndex:
        """Return the saved index of the lengths or make one."""
        return self.length_index if self.length_index is not None else LengthIndex.of(self.lengths())

    def view(self, *, held_out: int = 0, lengths: ArrayLike | None = None) -> SequenceView:
        """View every sequence without its last items.

        Parameters
        ----------
        held_out
            How many last items to cut off every sequence.
        lengths
            Integers [n_sequences]. How many items to keep. Excludes `held_out`.

        Raises
        ------
        InputError
            A number is negative or longer than its sequence.
        """
        held_out = whole_number("held_out", held_out, 0)
        if lengths is None:
            return SequenceView(self, held_out, None, self.index())
        if held_out:
            raise InputError("Give held_out or lengths, not both.")
        cut = np.array(lengths)
        if cut.size and not np.issubdtype(cut.dtype, np.integer):
            raise InputError(f"lengths must be whole numbers, not {cut.dtype}.")
        cut = cut.astype(np.int64)
        if cut.shape != (self.n_sequences,) or np.any(cut < 0) or np.any(cut > self.lengths()):
            raise InputError("lengths must hold, for every sequence, a number of items between 0 and its length.")
        return SequenceView(self, 0, cut, LengthIndex.of(cut))

    def leave_last_out(self) -> Split:
        """Split as the papers do. The last item of a user tests and the item before it validates. The rest trains.

        Sequences that only train keep all items in `train` and none in `validation` and `test`.
        """
        if not self.has_train_only:
            index = self.index()
            return Split(*(SequenceView(self, held_out, None, index) for held_out in (2, 1, 0)))
        lengths, only = self.lengths(), self.kinds() > 0
        train = np.where(only, lengths, np.maximum(lengths - 2, 0))
        validation, test = (np.where(only, 0, np.maximum(lengths - held_out, 0)) for held_out in (1, 0))
        return Split(*(self.view(lengths=cut) for cut in (train, validation, test)))

    @property
    def has_train_only(self) -> bool:
        """Whether the store has the columns of sequences that only train."""
        return {KIND, OWNER} <= self.columns.keys()

    def kinds(self) -> Int8:
        """Return the kind int8 [n_sequences] of each sequence. 0 is a user's own and all others only train."""
        return self._first_entries(KIND, np.zeros(self.n_sequences, np.int8))

    def owners(self) -> Int64:
        """Return the row int64 [n_sequences] of the user whose data each sequence is. -1: several users."""
        return self._first_entries(OWNER, np.arange(self.n_sequences))

    def _first_entries(self, name: str, default: AnyArray) -> AnyArray:
        """Return a column's first entry of each sequence; `default` for empty sequences and without the columns."""
        if self.has_train_only:
            some = np.flatnonzero(self.lengths() > 0)
            default[some] = self.columns[name][self.offsets[some]]
        return default

    def known_items(self, values: Integers) -> Integers:
        """Return item numbers that were read from the store. Raises InputError if one is beyond 0 … n_items."""
        # As unsigned numbers, negative values are large: one comparison finds both faults.
        if values.size and int(values.view(f"u{values.itemsize}").max()) > self.n_items:
            raise _damaged(self, "values.npy holds numbers of no item")
        return values

    def check_content(self) -> None:
        """Check a saved store before code that reads all of it. Runs once for each object.

        Raises InputError if a value, an offset or the index of the lengths is damaged.
        """
        if self.path is not None and "_content" not in self.__dict__:
            from genpas_plugins.data.storage import check_content

            check_content(self.path, self.stored())
            self.__dict__["_content"] = "checked"

    def user_rows(self, ids: ArrayLike | pa.Array) -> Int64:
        """Return the int64 rows of the users with these ids. Raises InputError for an unknown id."""
        return numbers_of(ids, self.user_ids, self.n_sequences, first=0, kind="user")

    def item_numbers(self, ids: ArrayLike | pa.Array) -> Int64:
        """Return the int64 numbers of the items with these ids. Raises InputError for an unknown id."""
        return numbers_of(ids, self.item_ids, self.n_items, first=1, kind="item")


def _damaged(store: SequenceStore, why: str) -> InputError:
    from genpas_plugins.data.storage import STORE

    return STORE.damaged(store.path or "This store", why)


def _view(store: SequenceStore, held_out: int, cut_lengths: Int64 | None) -> SequenceView:
    return store.view(held_out=held_out, lengths=cut_lengths)
