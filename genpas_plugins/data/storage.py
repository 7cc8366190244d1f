"""The files of a store: one directory of .npy and Arrow files, and `header.json` with their sizes and checksums.

Opening reads the header and maps the files. The cost does not depend on the number of interactions.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from genpas_plugins.support.array_types import AnyArray, Int64, Integers
from genpas_plugins.support.atomic import replaced_directory
from genpas_plugins.support.directory_header import DirectoryHeader

HEADER = "header.json"
STORE = DirectoryHeader(HEADER, "genpas-sequence-store", 1, "sequence store", "genpas prepare")


class StoredArrays(NamedTuple):
    """The content of the files, first the fields of a `SequenceStore`."""

    values: Integers
    offsets: Int64
    n_items: int
    user_ids: pa.Array | None
    item_ids: pa.Array | None
    columns: Mapping[str, AnyArray]
    by_length: Integers
    """int32 or int64 [n_sequences]. The rows of the sequences, shortest sequence first."""
    lengths: Int64
    """int64 [2, d]. The distinct lengths, and the number of sequences of each."""


def write_arrays(path: Path, content: StoredArrays, *, overwrite: bool = False) -> None:
    """Write the directory `path`, whole or not at all.

    Raises InputError if `path` exists and is not a store, or exists and `overwrite` is off.
    """
    STORE.check_target(path, overwrite=overwrite)
    with replaced_directory(path) as directory:
        arrays = {name: getattr(content, name) for name in ("values", "offsets", "by_length", "lengths")}
        # Any text can name a column, but not a file.
        arrays |= {f"column.{number}": column for number, column in enumerate(content.columns.values())}
        for name, array in arrays.items():
            np.save(directory / f"{name}.npy", array, allow_pickle=False)
        for name, ids in (("user_ids", content.user_ids), ("item_ids", content.item_ids)):
            if ids is not None:
                write_ids(directory / f"{name}.arrow", ids)
        facts = {
            "n_sequences": len(content.offsets) - 1,
            "n_items": content.n_items,
            "n_interactions": len(content.values),
            "columns": list(content.columns),
        }
        STORE.write(directory, facts)


def read_arrays(path: Path) -> StoredArrays:
    """Map the files of the directory `path`.

    Raises InputError if `path` holds no store, a damaged store, or a store of another version.
    """
    header = STORE.read(path)

    def mapped(name: str) -> AnyArray:
        # A plain ndarray over the map: indexing np.memmap itself costs a Python-level __array_finalize__ every time.
        return np.asarray(np.load(path / f"{name}.npy", mmap_mode="r", allow_pickle=False))

    return StoredArrays(
        mapped("values"),
        mapped("offsets"),
        header["n_items"],
        read_ids(path / "user_ids.arrow"),
        read_ids(path / "item_ids.arrow"),
        {name: mapped(f"column.{number}") for number, name in enumerate(header["columns"])},
        mapped("by_length"),
        mapped("lengths"),
    )


def write_ids(file: Path, ids: pa.Array) -> None:
    """Write ids of any type as an Arrow file of one column."""
    table = pa.table({"id": ids})
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        # One batch: reading it back gives one contiguous array without a copy.
        writer.write_table(table.combine_chunks(), max_chunksize=max(1, len(ids)))


def read_ids(file: Path) -> pa.Array | None:
    """Map the ids that `write_ids` wrote; None where the file is missing."""
    if not file.is_file():
        return None
    column = pa.ipc.open_file(pa.memory_map(str(file))).read_all().column("id")
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
