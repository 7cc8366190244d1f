"""Tables of interactions in memory and the arrays of a store: Arrow and through it pandas and polars."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa

from genpas_plugins.support.array_types import AnyArray
from genpas_plugins.support.errors import InputError, nearest

if TYPE_CHECKING:
    from typing_extensions import Self


class TableConversions:
    """A store from and to tables in memory. `SequenceStore` inherits these methods."""

    if TYPE_CHECKING:
        values: AnyArray
        offsets: AnyArray
        user_ids: pa.Array | None
        item_ids: pa.Array | None
        columns: Mapping[str, AnyArray]
        from_arrays: ClassVar[Callable[..., Any]]

    @classmethod
    def from_arrow(
        cls,
        table: pa.Table,
        *,
        user: str = "user_id",
        item: str = "item_id",
        order: str | Sequence[str] | None = None,
        columns: Sequence[str] = (),
    ) -> Self:
        """Group a table of interactions by user and sort it.

        Parameters
        ----------
        table
            One row an interaction. It is copied.
        user, item
            Columns with integer or text ids.
        order
            Columns that sort a user's interactions. The most important comes first. They are columns of the store.
            None: the table is in order.
        columns
            Further columns to keep. Dates and times become int64 microseconds since 1970.

        Raises
        ------
        InputError
            A column is absent, has another type or lacks a value.

        Examples
        --------
        >>> import pyarrow as pa
        >>> from genpas_plugins import SequenceStore
        >>> table = pa.table({"user_id": ["u", "u"], "item_id": [7, 5], "time": [2, 1]})
        >>> SequenceStore.from_arrow(table, order="time").to_arrow().column("item_id").to_pylist()
        [5, 7]
        """
        store: Self = cls.from_arrays(**arrays_of_table(table, user=user, item=item, order=order, columns=columns))
        return store

    @classmethod
    def from_pandas(cls, frame: Any, **how: Any) -> Self:
        """Group a pandas frame of interactions without its index. `from_arrow` has the arguments."""
        return cls.from_arrow(arrow_table(frame), **how)

    @classmethod
    def from_polars(cls, frame: Any, **how: Any) -> Self:
        """Group a polars frame of interactions. `from_arrow` has the arguments."""
        return cls.from_arrow(frame.to_arrow(), **how)

    def to_arrow(self) -> pa.Table:
        """Return one row an interaction: `user_id`, `item_id` and the columns of the store."""
        return table_of_arrays(self.values, self.offsets, self.user_ids, self.item_ids, dict(self.columns))

    def to_pandas(self) -> Any:
        """Return `to_arrow` as a pandas frame."""
        return self.to_arrow().to_pandas()

    def to_polars(self) -> Any:
        """Return `to_arrow` as a polars frame."""
        import polars as pl

        return pl.from_arrow(self.to_arrow())


def arrays_of_table(
    table: pa.Table, *, user: str, item: str, order: str | Sequence[str] | None, columns: Sequence[str]
) -> dict[str, Any]:
    """Return the arguments of `SequenceStore.from_arrays` for a table with one row an interaction.

    Raises InputError if a column is absent, has another type or lacks a value.
    """
    import pyarrow.compute as pc

    orders = [order] if isinstance(order, str) else list(order or ())
    kept = list(dict.fromkeys([*orders, *columns]))
    for name in (user, item, *kept):
        if name not in table.column_names:
            raise InputError(f"The table has no column {name!r}.{nearest(name, table.column_names)}")
    ids, numbers = {}, {}
    for name in (user, item):
        column = _ids(table.column(name), name)
        known = pc.unique(column)
        ids[name] = known.take(pc.sort_indices(known))
        numbers[name] = pc.index_in(column, value_set=ids[name])
    keys = {"user": numbers[user], **{f"order {name}": _present(table.column(name), name) for name in orders}}
    keys["row"] = pa.array(np.arange(len(table)))  # ties keep the order of the table
    place = pc.sort_indices(pa.table(keys), sort_keys=[(name, "ascending") for name in keys])
    counts = np.bincount(np.asarray(numbers[user]), minlength=len(ids[user]))
    return {
        "values": np.asarray(numbers[item].take(place)).astype(np.int64) + 1,
        "offsets": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        "n_items": len(ids[item]),
        "user_ids": ids[user],
        "item_ids": ids[item],
        "columns": {name: _as_array(table.column(name).take(place), name) for name in kept},
    }


def table_of_arrays(
    values: AnyArray,
    offsets: AnyArray,
    user_ids: pa.Array | None,
    item_ids: pa.Array | None,
    columns: dict[str, AnyArray],
) -> pa.Table:
    """Return one row an interaction: `user_id`, `item_id` and the columns."""
    rows = pa.array(np.repeat(np.arange(len(offsets) - 1), np.diff(offsets)))
    users = rows if user_ids is None else user_ids.take(rows)
    items = pa.array(values) if item_ids is None else item_ids.take(pa.array(values - 1))
    more = {name: pa.array(column if column.ndim == 1 else list(column)) for name, column in columns.items()}
    return pa.table({"user_id": users, "item_id": items, **more})


def arrow_table(frame: Any) -> pa.Table:
    """Return a pandas frame as an Arrow table without its index. Raises InputError for a column of mixed types."""
    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowException, TypeError) as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        raise InputError(f"The frame has a column of several types ({reason}); convert the column.") from error


def _one(column: pa.ChunkedArray) -> pa.Array:
    array = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _present(column: pa.ChunkedArray, name: str) -> pa.Array:
    array = _one(column)
    missing = np.asarray(array.is_null(nan_is_null=pa.types.is_floating(array.type)))
    if missing.any():
        raise InputError(
            f"The table, row {int(missing.argmax()) + 1}: {name!r} is missing, as in {int(missing.sum())} rows "
            "altogether; fill in the values or drop the rows."
        )
    return array


def _ids(column: pa.ChunkedArray, name: str) -> pa.Array:
    types, array = pa.types, _present(column, name)
    if types.is_integer(array.type) or types.is_string(array.type) or types.is_large_string(array.type):
        return array
    if types.is_string_view(array.type):
        return array.cast(pa.large_string())
    raise InputError(
        f"The table: column {name!r} is of type {array.type}, but ids are integers or text; convert the column."
    )


def _as_array(column: pa.ChunkedArray, name: str) -> AnyArray:
    array, types = _one(column), pa.types
    if types.is_timestamp(array.type) or types.is_date(array.type):
        return np.asarray(_present(column, name).cast(pa.timestamp("us"), safe=False).cast(pa.int64()))
    if types.is_decimal(array.type):
        array = array.cast(pa.float64())
    if types.is_floating(array.type):
        return np.asarray(array.to_numpy(zero_copy_only=False))
    if types.is_integer(array.type) or types.is_boolean(array.type):
        return np.asarray(_present(column, name).to_numpy(zero_copy_only=False))
    raise InputError(
        f"The table: column {name!r} is of type {array.type}; an order or a kept column is of numbers, booleans, "
        "dates or times. Convert it or leave it out."
    )
