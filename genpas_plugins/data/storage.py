"""A store on disk: one directory of .npy and Arrow files beside a header that names and measures them.

`header.json` carries magic, format version, counts and, for every file, its size and CRC-32. Opening reads the header
and maps the files, so it costs the same for a thousand interactions and for a billion; `verify_store` reads every byte.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from genpas_plugins.data.sequences import LengthIndex, SequenceStore
from genpas_plugins.support.array_types import AnyArray
from genpas_plugins.support.atomic import replaced_directory
from genpas_plugins.support.directory_header import Header
from genpas_plugins.support.errors import InputError

MAGIC = "genpas-sequence-store"
VERSION = 1
HEADER = "header.json"
_STORE = Header(HEADER, MAGIC, VERSION, "sequence store", "genpas prepare")
_CHUNK = 1 << 22


def save_store(store: SequenceStore, path: Path, *, overwrite: bool = False) -> None:
    """Write `store` as the directory `path`: complete under its final name, or not there at all.

    Raises InputError if `path` exists and is not a store, or is one and `overwrite` is off.
    """
    check_target(path, overwrite=overwrite)
    with replaced_directory(path) as directory:
        index = store.length_index if store.length_index is not None else LengthIndex.of(store.lengths())
        arrays: dict[str, AnyArray] = {
            "values": store.values,
            "offsets": store.offsets,
            "by_length": index.order,
            "lengths": np.stack([index.lengths, index.counts]),
        }
        arrays |= {f"column.{number}": column for number, column in enumerate(store.columns.values())}
        for name, array in arrays.items():
            np.save(directory / f"{name}.npy", array, allow_pickle=False)
        for name, ids in (("user_ids", store.user_ids), ("item_ids", store.item_ids)):
            if ids is not None:
                write_ids(directory / f"{name}.arrow", ids)
        header = {
            "magic": MAGIC,
            "version": VERSION,
            "n_sequences": store.n_sequences,
            "n_items": store.n_items,
            "n_interactions": store.n_interactions,
            "columns": list(store.columns),
            "files": {file.name: [file.stat().st_size, crc32(file)] for file in sorted(directory.iterdir())},
        }
        header["checksum"] = _header_checksum(header)
        (directory / HEADER).write_text(json.dumps(header, indent=1) + "\n", encoding="utf-8")


def check_target(path: Path, *, overwrite: bool) -> None:
    """Raise InputError if a store cannot be written to `path`: it exists, and is no store or not to be overwritten."""
    if path.exists():
        if not (path / HEADER).is_file():
            raise InputError(f"{path} exists already and is not a sequence store; choose another output directory.")
        if not overwrite:
            raise InputError(f"{path} exists already; choose another output directory or replace it with --overwrite.")


def open_store(path: Path) -> SequenceStore:
    """Open the store in directory `path` by memory map, reading the header only.

    Raises InputError if the directory is missing, holds no store, one of another version, or a damaged one.
    """
    header = _read_header(path)

    def mapped(name: str) -> AnyArray:
        # A plain ndarray over the map: indexing np.memmap itself costs a Python-level __array_finalize__ every time.
        return np.asarray(np.load(path / f"{name}.npy", mmap_mode="r", allow_pickle=False))

    lengths = mapped("lengths")
    return SequenceStore(
        values=mapped("values"),
        offsets=mapped("offsets"),
        n_items=header["n_items"],
        user_ids=read_ids(path / "user_ids.arrow"),
        item_ids=read_ids(path / "item_ids.arrow"),
        columns={name: mapped(f"column.{number}") for number, name in enumerate(header["columns"])},
        path=path.resolve(),
        length_index=LengthIndex(np.array(lengths[0]), np.array(lengths[1]), mapped("by_length")),
    )


def verify_store(path: Path) -> None:
    """Read every byte of the store and compare its checksums. Raises InputError naming the first damaged file."""
    for name, (_, checksum) in _read_header(path)["files"].items():
        if crc32(path / name) != checksum:
            raise InputError(
                f"{path / name} does not have the checksum that {HEADER} names: its content was changed. "
                "Build the store again with `genpas prepare`."
            )


def _read_header(path: Path) -> dict[str, Any]:
    """Read the header and compare the files' sizes with it."""
    header = _STORE.read(path)
    file = path / HEADER
    if header.get("checksum") != _header_checksum(header):
        raise InputError(f"{file} does not match its own checksum: it was edited or damaged. Build the store again.")
    for name, (size, _) in header["files"].items():
        part = path / name
        if not part.is_file():
            raise InputError(f"{part} is missing: the store is incomplete. Build it again with `genpas prepare`.")
        if part.stat().st_size != size:
            raise InputError(
                f"{part} has {part.stat().st_size} bytes where {HEADER} says {size}: the store was truncated or "
                "changed. Build it again with `genpas prepare`."
            )
    return header


def _header_checksum(header: dict[str, Any]) -> str:
    content = {key: value for key, value in header.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


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


def crc32(file: Path) -> int:
    """Return the CRC-32 of a file of any size."""
    checksum = 0
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            checksum = zlib.crc32(chunk, checksum)
    return checksum
