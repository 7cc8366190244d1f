"""A store as RecBole's atomic file `NAME/NAME.inter` in an order that RecBole's float32 time field keeps.

`NAME/NAME.yaml` beside it has RecBole's settings of the data set and a `genpas:` section.

RecBole casts `timestamp` to float32 and sorts by it. This swaps interactions less than about two minutes apart.
`timestamp` is therefore the position in the sequence. It is exact below 2²⁴. The store's own time becomes another
field.

That file holds the users' own sequences. Sequences that only train are in `NAME/NAME.added.inter`. `recbole_ext`
trains on them. Stock RecBole does not read the file:

    sequence:float   user_id:token   item_id:token
    0                [PAD]           17               of several users
    0                [PAD]           4
    1                ann             17               of ann
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genpas_plugins.data.ids import NULL_WORDS
from genpas_plugins.data.sequences import KIND, OWNER, SequenceStore
from genpas_plugins.support.array_types import AnyArray
from genpas_plugins.support.atomic import replace_file
from genpas_plugins.support.errors import InputError

TIME, EXPORTED_TIME = "timestamp", "time"
"""RecBole's field of the position in the sequence, and the field of the store's column `timestamp`."""

ADDED_SUFFIX = ".added.inter"
ADDED_FIELDS = ("sequence:float", "user_id:token", "item_id:token")
NO_USER = "[PAD]"
"""RecBole's padding token, number 0: the user of a sequence of several users."""

_CONFIG = """\
# Written by `genpas export-recbole`. Use: genpas train --model SASRec --dataset NAME --config this_file
# The settings of a later --config and of the command line replace these.
data_path: {path}
dataset: {name}
USER_ID_FIELD: user_id
ITEM_ID_FIELD: item_id
TIME_FIELD: timestamp         # position in the user's sequence: keeps the store's order
load_col:                     # without it RecBole loads no time
  inter: [user_id, item_id, timestamp]
eval_args:
  split: {{LS: valid_and_test}} # a user's last item tests, the one before it validates
  order: TO
  mode: full                  # ranks all items
train_neg_sample_args: null   # cross-entropy ranks all items; remove this line for a model with loss_type: BPR
genpas:
  strategy: multi_target      # each item after the first, with all items before it as its history
"""
_FIELDS = ("user_id", "item_id", TIME)
_RENAMED = {TIME: EXPORTED_TIME}
_EXACT_IN_FLOAT32 = 1 << 24
_ROWS = 1 << 20
# Missing values of pandas, which RecBole reads with, and RecBole's own padding token.
_RESERVED = ("", *NULL_WORDS, "[PAD]")


class RecBoleFile(NamedTuple):
    """What was written."""

    file: Path
    fields: list[str]
    """Fields as in the header of the file."""
    left_out: list[str]
    """Columns of the store that RecBole has no type for."""
    interactions: int
    """Number of interactions in `file`."""
    config: Path
    """RecBole's settings of the data set."""
    added: Path | None = None
    """File of the sequences that only train, if the store has some."""


def export_recbole(
    store: SequenceStore,
    directory: Path,
    name: str,
    *,
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
) -> RecBoleFile:
    """Write `directory/name/name.inter` and its settings `name.yaml` atomically.

    The fields are user_id:token, item_id:token, timestamp:float and `COLUMN:float` for every numeric column. The
    timestamp is the position in the sequence from 0. A column `timestamp` becomes `time`. Sequences that only train
    go to `directory/name/name.added.inter`.

    Parameters
    ----------
    store
        The store to write.
    directory, name
        Folder to make files in and RecBole's name of the data set.
    overwrite
        Replace existing files.
    progress
        Called with the number of interactions written so far.

    Raises
    ------
    InputError
        The file exists and `overwrite` is off. RecBole cannot read an id or name.
    """
    if not name or name in (".", "..") or set(name) & set('/\\:"') or name == "ml-100k":
        why = "RecBole reads its own copy under that name" if name == "ml-100k" else "it must be a plain file name"
        raise InputError(f"{name!r} cannot name the data set, {why}; choose another name.")
    file = directory / name / f"{name}.inter"
    config = file.with_suffix(".yaml")
    for path in (file, config):
        if path.exists() and not (overwrite and path.is_file()):
            raise InputError(
                f"{path} exists already; choose another directory or name, or replace it with --overwrite."
            )
    store.check_content()
    whole, store = store, _users_own(store)
    added = file.with_name(f"{name}{ADDED_SUFFIX}") if whole.has_train_only else None
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
        for path, header in [(file, fields), *([(added, list(ADDED_FIELDS))] if added else [])]:
            temporary = complete.enter_context(replace_file(path))
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
        settings = _CONFIG.format(path=_quote(str(directory.resolve())), name=_quote(name))
        complete.enter_context(replace_file(config)).write_text(settings, encoding="utf-8")
        if added is None:  # a store that was exported here before may have had one
            file.with_name(f"{name}{ADDED_SUFFIX}").unlink(missing_ok=True)
    left_out = [column for column in store.columns if column not in columns]
    return RecBoleFile(file, fields, left_out, store.n_interactions, config, added)


def _users_own(store: SequenceStore) -> SequenceStore:
    """Return the store without the sequences that only train and their columns. They come last."""
    if not store.has_train_only:
        return store
    n = int(np.flatnonzero(np.append(store.kinds(), 1))[0])
    stop = int(store.offsets[n])
    return SequenceStore.from_arrays(
        store.values[:stop],
        store.offsets[: n + 1],
        n_items=store.n_items,
        user_ids=None if store.user_ids is None else store.user_ids[:n],
        item_ids=store.item_ids,
        columns={name: values[:stop] for name, values in store.columns.items() if name not in (KIND, OWNER)},
    )


def field_names(store: SequenceStore) -> dict[str, str]:
    """Return the RecBole field of each numeric column of the store. No field is one of RecBole's own three."""
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
    store: SequenceStore, n_own: int, users: pa.Array | None, items: pa.Array | None
) -> Iterator[tuple[int, pa.Table]]:
    """Yield pieces of the sequences that only train with the number of each piece's first interaction."""
    owners = store.owners()
    for first in range(int(store.offsets[n_own]), store.n_interactions, _ROWS):
        stop = min(first + _ROWS, store.n_interactions)
        rows = np.searchsorted(store.offsets, np.arange(first, stop), side="right") - 1
        owner = owners[rows]
        known = _chosen(users, np.maximum(owner, 0), 0).cast(pa.string())
        fields = (
            pa.array(rows - n_own),
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


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # JSON is YAML
