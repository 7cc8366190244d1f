"""A store as RecBole's atomic file `NAME/NAME.inter`, in an order that survives RecBole's float32 time field.

RecBole sorts each user's interactions by `timestamp` after casting it to float32, which swaps those less than about two
minutes apart. So `timestamp` is the position inside the sequence (exact below 2²⁴), and the store's own time becomes
another field.

Of a regenerated store that file holds the original sequences alone, so that whoever reads it tests on nothing else.
The added ones stand beside it in `NAME/NAME.added.inter`, which `recbole_ext` reads to train on, and stock RecBole does
not read:

sequence:float   user_id:token   item_id:token
0                [PAD]           17               a pattern, which belongs to several users
0                [PAD]           4
1                ann             17               a sequence regenerated from ann's
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genpas_plugins.data.sequences import ORIGIN, SOURCE, SequenceStore
from genpas_plugins.support.array_types import AnyArray
from genpas_plugins.support.atomic import replaced_file
from genpas_plugins.support.errors import InputError

TIME = "timestamp"
ADDED_SUFFIX = ".added.inter"
ADDED_FIELDS = ("sequence:float", "user_id:token", "item_id:token")
NO_USER = "[PAD]"
"""RecBole's padding token, number 0: the user of a sequence that is nobody's own."""

_FIELDS = ("user_id", "item_id", TIME)
_RENAMED = {TIME: "time"}
_EXACT_IN_FLOAT32 = 1 << 24
_ROWS = 1 << 20
# What pandas, with which RecBole reads, takes for a missing value, and RecBole's own padding token.
_RESERVED = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null", "[PAD]",
)  # fmt: skip


class RecBoleFile(NamedTuple):
    """What was written: the file, its fields as in the header, and its number of interactions.

    left_out : columns of the store that RecBole has no type for
    added    : the file of added sequences, of a regenerated store
    """

    file: Path
    fields: list[str]
    left_out: list[str]
    interactions: int
    added: Path | None = None


def export_recbole(
    store: SequenceStore,
    directory: Path,
    name: str,
    *,
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
) -> RecBoleFile:
    """Write `directory/name/name.inter`, whole or not at all.

    Its fields are user_id:token, item_id:token, timestamp:float (the position inside the sequence, from 0), and one
    `<column>:float` for every numeric column of the store, where a column `timestamp` is called `time`.
    `progress` is called with the number of interactions written so far.

    Of a regenerated store the file is that of the original store, to the byte, and `directory/name/name.added.inter`
    holds the sequences that were added to train on. Raises InputError if the file exists while `overwrite` is off, and
    for ids or names that RecBole cannot read back.
    """
    if not name or name in (".", "..") or set(name) & set('/\\:"') or name == "ml-100k":
        why = "RecBole reads its own copy under that name" if name == "ml-100k" else "it must be a plain file name"
        raise InputError(f"{name!r} cannot name the data set, {why}; choose another name.")
    file = directory / name / f"{name}.inter"
    if file.exists() and not (overwrite and file.is_file()):
        raise InputError(f"{file} exists already; choose another directory or name, or replace it with --overwrite.")
    whole, store = store, _originals(store)
    added = file.with_name(f"{name}{ADDED_SUFFIX}")
    longest = int(store.lengths().max(initial=0))
    if longest > _EXACT_IN_FLOAT32:
        raise InputError(f"A sequence has {longest} items; RecBole's float32 time keeps the order of at most 2**24.")
    users, items = _tokens(store.user_ids, "user"), _tokens(store.item_ids, "item")
    columns = field_names(store)
    fields = [*(f"{field}:{'float' if field == TIME else 'token'}" for field in _FIELDS)]
    fields += [f"{field}:float" for field in columns.values()]

    from pyarrow import csv

    # Ids were checked to need no quotes, and RecBole takes a quoted header field for a part of its name.
    options = csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
    with ExitStack() as complete:
        sinks = []
        wanted = [(file, fields), (added, list(ADDED_FIELDS))] if whole.is_regenerated else [(file, fields)]
        for path, header in wanted:
            temporary = complete.enter_context(replaced_file(path))
            sinks.append(complete.enter_context(pa.OSFile(str(temporary), "wb")))
            sinks[-1].write(("\t".join(header) + "\n").encode())
        for first, table in _tables(store, users, items, columns):
            csv.write_csv(table, sinks[0], options)
            if progress is not None:
                progress(first + table.num_rows)
        for first, table in _added_tables(whole, store.n_sequences, users, items):
            csv.write_csv(table, sinks[1], options)
            if progress is not None:
                progress(first + table.num_rows)
        if not whole.is_regenerated:
            added.unlink(missing_ok=True)  # of a regenerated store that stood here before
    left_out = [column for column in store.columns if column not in columns]
    return RecBoleFile(file, fields, left_out, store.n_interactions, added if whole.is_regenerated else None)


def _originals(store: SequenceStore) -> SequenceStore:
    """Return the store without added sequences, which stand behind all others, and without the columns about them."""
    if not store.is_regenerated:
        return store
    origin = store.entry_of_sequences(ORIGIN, np.zeros(store.n_sequences, np.int8))
    n = int(np.argmax(origin > 0)) if np.any(origin > 0) else store.n_sequences
    stop = int(store.offsets[n])
    return SequenceStore.from_arrays(
        store.values[:stop],
        store.offsets[: n + 1],
        n_items=store.n_items,
        user_ids=None if store.user_ids is None else store.user_ids[:n],
        item_ids=store.item_ids,
        columns={name: values[:stop] for name, values in store.columns.items() if name not in (ORIGIN, SOURCE)},
    )


def field_names(store: SequenceStore) -> dict[str, str]:
    """Return the field that each numeric column of the store becomes, none of them one of RecBole's three."""
    names: dict[str, str] = {}
    for column, values in store.columns.items():
        if values.ndim != 1 or values.dtype.kind not in "biuf":
            continue
        if not column or set(column) & set(':\t\n\r"'):
            raise InputError(f"Column {column!r} cannot be the name of a RecBole field; rename it in the source.")
        field = _RENAMED.get(column, column)
        while field in _FIELDS or field in names.values() or (field != column and field in store.columns):
            field += "_"
        names[column] = field
    return names


def _tables(
    store: SequenceStore, users: pa.Array | None, items: pa.Array | None, columns: dict[str, str]
) -> Iterator[tuple[int, pa.Table]]:
    """Yield the first interaction of each piece and the piece."""
    offsets = store.offsets
    for first in range(0, store.n_interactions, _ROWS):
        stop = min(first + _ROWS, store.n_interactions)
        row, last = np.searchsorted(offsets, [first, stop - 1], side="right") - 1
        bounds = np.clip(offsets[row : last + 2], first, stop)
        rows = np.repeat(np.arange(row, last + 1), bounds[1:] - bounds[:-1])
        table = {
            "user_id": _chosen(users, rows, 0),
            "item_id": _chosen(items, store.values[first:stop], 1),
            TIME: np.arange(first, stop) - offsets[rows],
        }
        for column, field in columns.items():
            values = store.columns[column][first:stop]
            table[field] = values.astype(np.int8) if values.dtype == np.bool_ else values
        yield first, pa.table(table)


def _added_tables(
    store: SequenceStore, n_originals: int, users: pa.Array | None, items: pa.Array | None
) -> Iterator[tuple[int, pa.Table]]:
    """Yield the first interaction of each piece and the piece, of the sequences behind the originals."""
    source = store.entry_of_sequences(SOURCE, np.full(store.n_sequences, -1)) if store.is_regenerated else np.empty(0)
    for first in range(int(store.offsets[n_originals]), store.n_interactions, _ROWS):
        stop = min(first + _ROWS, store.n_interactions)
        rows = np.searchsorted(store.offsets, np.arange(first, stop), side="right") - 1
        owner = source[rows]
        known = _chosen(users, np.maximum(owner, 0), 0).cast(pa.string())
        fields = (
            pa.array(rows - n_originals),
            pc.if_else(pa.array(owner >= 0), known, NO_USER),
            _chosen(items, store.values[first:stop], 1),
        )
        yield first, pa.table(dict(zip(ADDED_FIELDS, fields, strict=True)))


def _tokens(ids: pa.Array | None, kind: str) -> pa.Array | None:
    """Return ids as text that RecBole reads back unchanged; None where the numbers themselves are the ids."""
    if ids is None:
        return None
    try:
        tokens = ids.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(
            f"The {kind} ids are of type {ids.type}, which has no text form; convert them in the source."
        ) from error
    unreadable = pc.or_(
        pc.match_substring_regex(tokens, '[\t\r\n"]'), pc.is_in(tokens, value_set=pa.array(_RESERVED))
    ).fill_null(True)
    if pc.any(unreadable).as_py():
        token = tokens.filter(unreadable)[0].as_py()
        raise InputError(
            f"RecBole cannot read the {kind} id {token!r}: ids hold no tab, line break or double quote and are none "
            "of the words for a missing value. Rename it in the source."
        )
    return tokens


def _chosen(tokens: pa.Array | None, numbers: AnyArray, first: int) -> pa.Array:
    return pa.array(numbers) if tokens is None else tokens.take(pa.array(numbers - first))
