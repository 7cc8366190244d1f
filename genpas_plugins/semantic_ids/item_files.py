"""Texts and vectors of the store's items from a user's files. Row i is item number i + 1."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genpas_plugins.data.ids import places_of
from genpas_plugins.data.readers import read
from genpas_plugins.semantic_ids.codes import known_ids
from genpas_plugins.support.array_types import AnyArray, Float32, Int64
from genpas_plugins.support.errors import InputError, nearest

if TYPE_CHECKING:
    from genpas_plugins.data.sequences import SequenceStore


TEXT_COLUMNS = ("title", "name", "brand", "store", "category", "categories", "genres", "features", "description")
"""Columns that describe an item, in the order of joining."""

ID_COLUMNS = ("item_id", "parent_asin", "asin", "movieId")
VECTOR_COLUMNS = ("embedding", "embeddings", "vector")

_SHOWN = 5


def read_texts(
    source: str | Path,  # parquet or CSV, one row an item. Items that are not in the store are ignored.
    store: SequenceStore,
    *,
    id_column: str | None = None,  # column with the store's item ids. None: the first of ID_COLUMNS.
    # Columns of text or of lists of texts, joined in this order. None given: the TEXT_COLUMNS that are there.
    columns: Sequence[str] = (),
    allow_missing: bool = False,  # give the empty text to an item without row or text
    first_only: bool = False,  # take the first of the columns only, the title for example
) -> list[str]:
    """Read the text of every item of the store in the order of the item numbers.

    Raises InputError if a column is unknown or has no text. Each item needs exactly one row with text.
    """
    read, frame_columns, types = _scan(source)
    id_column = _id_column(id_column, frame_columns, str(source))
    chosen = _text_columns(columns, frame_columns, types, str(source))[: 1 if first_only else None]
    table = read([id_column, *(name for name in chosen if name != id_column)])
    rows = rows_of(store, table.column(id_column), f"{source}, column {id_column!r}", allow_missing=allow_missing)
    values = [table.column(name).to_pylist() for name in chosen]
    texts = ["" if row < 0 else join_text(column[row] for column in values) for row in rows.tolist()]
    empty = [number for number, text in enumerate(texts) if not text]
    if empty and not allow_missing:
        raise InputError(
            f"{source}: {_these(store, empty)} no text in {', '.join(chosen)}; write one, name further columns with "
            "--column, or let them share the empty text with --allow-missing-text."
        )
    return texts


def join_text(values: Any) -> str:
    """Join the nonempty texts and lists of texts of an item.

    >>> join_text(["Red polish", None, ["Nails", " Nail Polish "], ""])
    'Red polish. Nails, Nail Polish'
    """
    return ". ".join(part for part in (", ".join(_flat(value)) for value in values) if part)


def read_embeddings(file: str | Path, store: SequenceStore, *, id_column: str | None = None) -> Float32:
    """Read the user's own item vectors `float32 [n_items, dimensions]` in the order of the item numbers.

    .npy: [n_items, dimensions] where row i is item number i + 1. .npz: the same in `embeddings` or the only array, with
    the ids of the rows in `item_ids`. .parquet: a column of ids and a column of equally long lists of numbers. Raises
    InputError if the format or shape is another or a value is not finite. Every item needs a vector.
    """
    path = Path(file)
    if not path.is_file():
        raise InputError(f"{path} does not exist; check the path after --embeddings.")
    ids: Any = None
    if path.suffix == ".parquet":
        array, ids = _vector_table(path, id_column)
    elif path.suffix in (".npy", ".npz"):
        array, ids = _array_file(path)
    else:
        raise InputError(f"{path}: embeddings are read from .npy, .npz and .parquet; save them as one of these.")
    if array.ndim != 2 or array.shape[1] == 0 or array.dtype.kind not in "fiu":  # noqa: PLR2004 – rows and dimensions
        raise InputError(
            f"{path} holds {array.dtype} of shape {list(array.shape)}; embeddings are numbers [items, dimensions]."
        )
    if ids is None and len(array) != store.n_items:
        raise InputError(
            f"{path} has {len(array):,} rows for {store.n_items:,} items; row i is item number i + 1, without a row "
            "for padding."
        )
    if ids is not None:
        if len(ids) != len(array):
            raise InputError(f"{path} has {len(ids):,} item ids for {len(array):,} rows; give every row one id.")
        array = array[rows_of(store, ids, str(path))]
    with np.errstate(over="ignore"):  # too large values become infinite, which the next check reports
        vectors = np.ascontiguousarray(array, dtype=np.float32)
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise InputError(f"{path}: {_these(store, bad.tolist())} values that are not finite; fix or drop them.")
    return vectors


def rows_of(store: SequenceStore, ids: Any, place: str, *, allow_missing: bool = False) -> Int64:
    """Return the row `int64 [n_items]` of every item of the store. -1 means none.

    Raises InputError if an id is missing or repeated or an item has no row.
    """
    column = _one_array(ids if isinstance(ids, pa.ChunkedArray) else pa.array(ids))
    known = known_ids(store.item_ids, store.n_items)
    if column.null_count:
        raise InputError(f"{place}: {column.null_count:,} rows have no item id; give them one or drop them.")
    try:
        found = places_of(known, column)
        counts = pc.value_counts(column)
        repeated = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
        repeated = repeated.filter(pa.array(places_of(repeated, known) >= 0))
    except InputError as error:
        raise InputError(f"{place}: {error}") from error
    if len(repeated):
        first = ", ".join(map(repr, repeated.slice(0, _SHOWN).to_pylist()))
        raise InputError(f"{place}: {len(repeated):,} items have several rows, as {first}; keep one row an item.")
    missing = np.flatnonzero(found < 0)
    if len(missing) and not allow_missing:
        raise InputError(f"{place}: {_these(store, missing.tolist())} no row; add rows for them.")
    return found


# Rows of a file and items of the store --------------------------------------------------------------------------------


def _scan(source: str | Path) -> tuple[Callable[[list[str]], pa.Table], tuple[str, ...], dict[str, pa.DataType]]:
    """Return a function that reads columns, and the names and Arrow types of the columns."""
    found = read(source)
    with found.reading():
        schema = found.frame.select(found.columns).limit(0).collect().to_arrow().schema

    def columns(names: list[str]) -> pa.Table:
        found.require_columns(names)
        found.check()
        with found.reading():
            return found.frame.select(names).collect().to_arrow()

    return columns, found.columns, dict(zip(schema.names, schema.types, strict=True))


def _id_column(named: str | None, columns: Sequence[str], source: str) -> str:
    if named is not None:
        if named not in columns:
            raise InputError(f"{source} has no column {named!r}.{nearest(named, columns)}")
        return named
    for usual in ID_COLUMNS:
        if usual in columns:
            return usual
    raise InputError(
        f"{source} has no column item_id; name the one with the item ids with --id. {nearest('', columns)}"
    )


def _text_columns(
    named: Sequence[str], columns: Sequence[str], types: dict[str, pa.DataType], source: str
) -> list[str]:
    for name in named:
        if name not in columns:
            raise InputError(f"{source} has no column {name!r}.{nearest(name, columns)}")
        if not _is_text(types[name]):
            raise InputError(f"{source}: column {name!r} holds {types[name]}, not text; name columns of text.")
    if named:
        return list(dict.fromkeys(named))
    usual = [name for name in TEXT_COLUMNS if name in columns and _is_text(types[name])]
    if not usual:
        raise InputError(
            f"{source} has no column of text called {', '.join(TEXT_COLUMNS)}; name one with --column: it has "
            f"{', '.join(columns)}."
        )
    return usual


def _is_text(type_: pa.DataType) -> bool:
    types = pa.types
    if types.is_list(type_) or types.is_large_list(type_):
        return _is_text(type_.value_type)
    if types.is_dictionary(type_):
        return _is_text(type_.value_type)
    return bool(types.is_string(type_) or types.is_large_string(type_) or types.is_string_view(type_))


def _flat(value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, str):
        text = " ".join(value.split())
        return [text] if text else []
    return [text for part in value for text in _flat(part)]


def _these(store: SequenceStore, numbers: Sequence[int]) -> str:
    """Return the subject of a message: the number of items and the first ids. `numbers` count from 0."""
    first = [store.item_ids[n].as_py() if store.item_ids is not None else n + 1 for n in numbers[:_SHOWN]]
    shown = ", ".join(map(repr, first)) + (", …" if len(numbers) > _SHOWN else "")
    return f"{len(numbers):,} of the store's {store.n_items:,} items ({shown}) have"


# The user's arrays ----------------------------------------------------------------------------------------------------


def _array_file(path: Path) -> tuple[AnyArray, Any]:
    try:
        held = np.load(path, allow_pickle=False, mmap_mode="r")
        if not isinstance(held, np.lib.npyio.NpzFile):
            return np.asarray(held), None
        with held:
            names = [name for name in held.files if name != "item_ids"]
            name = "embeddings" if "embeddings" in names else names[0] if len(names) == 1 else None
            if name is None:
                raise InputError(f"{path} holds {', '.join(names) or 'no array'}; call the one to read `embeddings`.")
            return held[name], held["item_ids"] if "item_ids" in held.files else None
    except InputError:
        raise
    except (ValueError, EOFError, zipfile.BadZipFile, OSError) as error:
        reason = str(error).split("\n")[0].rstrip(".")
        raise InputError(
            f"{path} could not be read ({reason}); save plain arrays with numpy.save or numpy.savez."
        ) from error


def _vector_table(path: Path, id_column: str | None) -> tuple[AnyArray, Any]:
    read, columns, types = _scan(path)
    ids = _id_column(id_column, columns, str(path))
    lists = [name for name in columns if _is_vector(types[name])]
    named = [name for name in VECTOR_COLUMNS if name in lists] or lists
    if not named or (len(named) > 1 and named == lists):
        raise InputError(
            f"{path} has {len(lists)} columns of lists of numbers{': ' if lists else ''}{', '.join(lists)}; keep the "
            "vectors in one that is called `embedding`."
        )
    table = read([ids, named[0]])
    column = _one_array(table.column(named[0]))
    widths = pc.unique(pc.list_value_length(column)).to_pylist()
    if len(widths) != 1 or widths[0] is None:
        raise InputError(
            f"{path}: the lists of column {named[0]!r} have unequal lengths, or rows lack one; every item needs the "
            "same number of dimensions."
        )
    flat = column.flatten()
    if flat.null_count:
        raise InputError(f"{path}: column {named[0]!r} has {flat.null_count:,} values that are missing; fill them in.")
    return flat.to_numpy(zero_copy_only=False).reshape(len(column), widths[0]), table.column(ids)


def _one_array(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    while isinstance(column, pa.ChunkedArray):  # without chunks the first call gives a chunked array again
        column = column.combine_chunks()
    return column


def _is_vector(type_: pa.DataType) -> bool:
    types = pa.types
    if types.is_list(type_) or types.is_large_list(type_) or types.is_fixed_size_list(type_):
        return bool(types.is_floating(type_.value_type) or types.is_integer(type_.value_type))
    return False
