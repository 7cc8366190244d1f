"""A store in parts: one store for each group of users. Each is made where its rows are and all open as one store.

    FOLDER/item_ids.arrow        1. `write_catalogue`: the items of all parts, which fixes their numbers
           part-00000/ …         2. `make_part`: one store each, in any process on any machine that sees FOLDER
           header.json, …        3. `join_parts`: offsets and user ids of all parts, and each part's fingerprint

Any engine can split the rows: it writes one file for each group of users and the distinct items. Interactions stay
in the parts. `SequenceStore.open(FOLDER)` maps all of them. A rank maps its own by `parts=slice(rank, None,
world_size)`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike

from genpas_plugins.data.ids import as_ids, places_of
from genpas_plugins.data.lengths import smallest_index_type
from genpas_plugins.data.prepare.build import build_store
from genpas_plugins.data.prepare.scratch import scratch_folder
from genpas_plugins.data.sequences import SequenceStore
from genpas_plugins.data.storage import (
    HEADER,
    ITEM_IDS,
    MOST_PARTS,
    STORE,
    StoredArrays,
    join_arrays,
    read_arrays,
    read_history,
    read_ids,
    write_arrays,
    write_files,
    write_ids,
)
from genpas_plugins.support.array_types import Integers
from genpas_plugins.support.atomic import replace_file
from genpas_plugins.support.checksums import file_crc32
from genpas_plugins.support.errors import InputError, whole_number


def write_catalogue(folder: str | Path, item_ids: ArrayLike | pa.Array | pa.ChunkedArray) -> None:
    """Write the item ids that all parts in `folder` share. Item k is the k-th of them.

    Raises InputError if an id is missing or repeated or `folder` has a catalogue.
    """
    file = Path(folder) / ITEM_IDS
    if file.exists():
        raise InputError(f"{file} exists already, and parts may number their items by it. Use another folder.")
    ids = as_ids(item_ids.combine_chunks() if isinstance(item_ids, pa.ChunkedArray) else item_ids, "item_ids")
    if ids.null_count or pc.count_distinct(ids).as_py() != len(ids):
        raise InputError("item_ids has a missing or repeated id. Give every item once.")
    with replace_file(file) as temporary:
        write_ids(temporary, ids)


def make_part(source: str | Path, folder: str | Path, number: int, **how: Any) -> None:
    """Make the store of some users as `folder`/part-`number` atomically. An earlier one is replaced.

    Parameters
    ----------
    source
        File with all rows of the part's users.
    folder
        Folder with the catalogue.
    number
        From 0. Sequences of the joined store are in order of the parts.
    how
        Arguments of `build_store`: user, item, order, columns and others. k-core is applied within the part.

    Raises
    ------
    InputError
        The source is unusable. An item is not in the catalogue or the catalogue is missing.
    """
    number = whole_number("number", number, 0)
    catalogue, part = Path(folder) / ITEM_IDS, Path(folder) / f"part-{number:05d}"
    ids = read_ids(catalogue)
    if ids is None:
        raise InputError(f"{catalogue} is missing. Write the items of all parts with write_catalogue first.")
    with scratch_folder(part) as scratch:
        own = build_store(source, scratch / "own", **how)
        assert own.item_ids is not None  # build_store always names items
        numbers = places_of(own.item_ids, ids) + 1
        if not numbers.all():
            unknown = own.item_ids[int(np.argmin(numbers))].as_py()
            raise InputError(f"{source}: the item {unknown!r} is not in {catalogue}. Write the catalogue of all rows.")
        values = _Renumbered(own.values, numbers.astype(smallest_index_type(len(ids))))
        store = StoredArrays.of(values, own.offsets, len(ids), own.user_ids, None, own.columns)
        order = how.get("order") or []
        step = {
            "step": "part",
            "order": [order] if isinstance(order, str) else list(order),
            "source": Path(source).name,
            "catalogue": file_crc32(catalogue),
        }
        write_arrays(part, store, overwrite=True, history=[step])


class _Renumbered:
    """Values by the numbers of the catalogue, read in slices: a part may not fit into memory."""

    def __init__(self, values: Integers, numbers: Integers) -> None:
        self.values, self.numbers, self.dtype, self.shape = values, numbers, numbers.dtype, values.shape

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, places: slice) -> Integers:
        return self.numbers[self.values[places] - 1]


def join_parts(folder: str | Path) -> SequenceStore:
    """Make the parts in `folder` one store and open it. Call again when a part has changed.

    Time and memory grow with the number of users only. A kill leaves the parts. Join them again.

    Raises InputError if there is no part or two parts share a user. Catalogue, columns and order must be equal.
    """
    folder = Path(folder)
    (folder / HEADER).unlink(missing_ok=True)
    parts = sorted(part for part in folder.glob("part-*") if (part / HEADER).is_file())
    if not 0 < len(parts) <= MOST_PARTS:
        raise InputError(f"{folder} has {len(parts)} parts. Make 1 to {MOST_PARTS:,} with make_part.")
    stored = [read_arrays(part) for part in parts]
    checksum = file_crc32(folder / ITEM_IDS)
    steps = [next(iter(read_history(part)), {}) for part in parts]
    for part, one, step in zip(parts, stored, steps, strict=True):
        if step.get("catalogue") != checksum:
            raise InputError(f"{part} numbers items by another catalogue than {folder / ITEM_IDS}. Make it again.")
        types = [
            {name: (column.dtype, column.shape[1:]) for name, column in x.columns.items()} for x in (one, stored[0])
        ]
        if types[0] != types[1] or list(types[0]) != list(types[1]) or step.get("order") != steps[0].get("order"):
            raise InputError(f"{part} has other columns, or another order, than {parts[0]}. Make all parts alike.")
        if one.user_ids is None or one.user_ids.type != stored[0].user_ids.type:  # type: ignore[union-attr]
            raise InputError(f"{part} has user ids of another type than {parts[0]}. Make all parts alike.")
    whole = join_arrays(stored, None)
    if pc.count_distinct(whole.user_ids).as_py() != len(whole.offsets) - 1:
        raise InputError(f"{folder}: a user has rows in two parts. Split the rows by user.")
    fingerprints = {part.name: STORE.fingerprint(part) for part in parts}
    history = [{"step": "join", "parts": len(parts), "order": steps[0]["order"], "users": len(whole.offsets) - 1,
                "items": whole.n_items, "interactions": len(whole.values)}]  # fmt: skip
    write_files(folder, whole, history=history, parts=fingerprints)
    return SequenceStore.open(folder)
