"""The files of a store: one directory of .npy and Arrow files. `header.json` has their sizes and checksums.

Opening reads the header and maps the files. The cost does not depend on the number of interactions. The interactions
of a store in parts are in the directories that its header names; see `prepare.parts`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from genpas_plugins.data.joined import JoinedArray
from genpas_plugins.data.lengths import LengthIndex, bounds
from genpas_plugins.support.array_types import AnyArray, Int64, Integers
from genpas_plugins.support.atomic import replace_directory
from genpas_plugins.support.directory_header import DirectoryHeader
from genpas_plugins.support.errors import InputError

HEADER = "header.json"
USER_IDS, ITEM_IDS = "user_ids.arrow", "item_ids.arrow"
MOST_PARTS = 1 << 16
_PIECE = 1 << 22
STORE = DirectoryHeader(HEADER, "genpas-sequence-store", 1, "sequence store", "genpas prepare")


class StoredArrays(NamedTuple):
    """The content of the files. The fields of a `SequenceStore` come first."""

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

    @classmethod
    def of(  # noqa: PLR0917 – the fields
        cls,
        values: Any,
        offsets: Int64,
        n_items: int,
        user_ids: pa.Array | None,
        item_ids: pa.Array | None,
        columns: Mapping[str, Any],
    ) -> StoredArrays:
        """Return the content with the order of the lengths. Interactions are only read when they are written."""
        index = LengthIndex.of(np.diff(offsets))
        lengths = np.stack([index.lengths, index.counts])
        return cls(values, offsets, n_items, user_ids, item_ids, columns, index.order, lengths)


def write_arrays(
    path: Path, content: StoredArrays, *, overwrite: bool = False, history: Sequence[Mapping[str, Any]] = ()
) -> None:
    """Write the directory `path` atomically. A store that grew has its `history` in the header.

    Raises InputError if `path` exists and is not a store or `overwrite` is off.
    """
    STORE.check_target(path, overwrite=overwrite)
    with replace_directory(path) as directory:
        write_files(directory, content, history=history)


def write_files(
    directory: Path,
    content: StoredArrays,
    *,
    history: Sequence[Mapping[str, Any]] = (),
    parts: Mapping[str, str] | None = None,
) -> None:
    """Write the files of a store. With `parts` (names and fingerprints) the interactions stay in these directories."""
    arrays = {name: getattr(content, name) for name in ("offsets", "by_length", "lengths")}
    if parts is None:
        arrays["values"] = content.values
        # Any text can name a column, but not a file.
        arrays |= {f"column.{number}": column for number, column in enumerate(content.columns.values())}
    for name, array in arrays.items():
        _save(directory / f"{name}.npy", array)
    for file, ids in ((USER_IDS, content.user_ids), (ITEM_IDS, content.item_ids)):
        if ids is not None:
            write_ids(directory / file, ids)
    facts: dict[str, Any] = {
        "n_sequences": len(content.offsets) - 1,
        "n_items": content.n_items,
        "n_interactions": len(content.values),
        "columns": list(content.columns),
    }
    if history:
        facts["history"] = list(history)
    STORE.write(directory, facts if parts is None else {**facts, "parts": dict(parts)})


def _save(file: Path, array: Any) -> None:
    """Write an array as `np.save` does. An array type of ours is written in pieces."""
    if isinstance(array, np.ndarray):
        np.save(file, array, allow_pickle=False)
        return
    described = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape}
    with file.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, described)
        for first in range(0, len(array), _PIECE):
            stream.write(np.ascontiguousarray(array[first : first + _PIECE]).tobytes())


def read_history(path: Path) -> list[dict[str, Any]]:
    """Return the steps by which a store grew in order. A store without an appended part has none.

    Raises InputError if `path` holds no store or a header with another history.
    """
    history = STORE.read(path).get("history", [])
    if not isinstance(history, list) or not all(isinstance(step, dict) for step in history):
        raise STORE.damaged(path / HEADER, "its history is not a list of steps")
    return history


def read_arrays(path: Path, parts: slice | None = None) -> StoredArrays:
    """Map the files of the directory `path` or only some `parts` of a store in parts.

    Raises InputError if `path` holds no undamaged store of this version.
    """
    header = STORE.read(path)
    folders = part_folders(path, header)
    if parts is not None:
        if not folders[parts]:
            raise InputError(f"{path} has {len(folders)} parts, and none of them is in {parts}. Use another slice.")
        return join_arrays([read_arrays(folder) for folder in folders[parts]], read_ids(path / ITEM_IDS))
    try:
        stored = _mapped(path, header, folders)
        why = next(_disagreement(stored, header), None)
    except Exception as error:  # numpy and Arrow raise errors of many types for a damaged file
        raise STORE.damaged(path, error) from error
    if why is not None:
        raise STORE.damaged(path, why)
    return stored


def part_folders(path: Path, header: Mapping[str, Any]) -> list[Path]:
    """Return the directories of a store's parts. Raises InputError if one is missing or was replaced."""
    parts = header.get("parts", {})
    if not isinstance(parts, dict) or len(parts) > MOST_PARTS or any(Path(name).name != name for name in parts):
        raise STORE.damaged(path / HEADER, "it does not list its parts")
    for name, fingerprint in parts.items():
        if STORE.fingerprint(path / name) != fingerprint:
            raise InputError(f"{path / name} was made again after the parts were joined. Join them with join_parts.")
        STORE.read(path / name)  # compares sizes
    return [path / name for name in parts]


def verify_store(path: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
    """Read every file of a store and of its parts. Raises InputError that names the first damaged one."""
    for folder in (path, *part_folders(path, STORE.read(path))):
        STORE.verify(folder, progress)


def join_arrays(parts: Sequence[StoredArrays], item_ids: pa.Array | None) -> StoredArrays:
    """Return stores of one catalogue as one. Offsets, ids and the order of lengths are copied but not interactions."""
    lengths = np.concatenate([np.diff(part.offsets) for part in parts])
    values: Any = JoinedArray([part.values for part in parts])
    columns: Any = {name: JoinedArray([part.columns[name] for part in parts]) for name in parts[0].columns}
    user_ids = pa.concat_arrays([part.user_ids for part in parts])
    return StoredArrays.of(values, bounds(lengths), parts[0].n_items, user_ids, item_ids, columns)


def _mapped(path: Path, header: Mapping[str, Any], parts: Sequence[Path]) -> StoredArrays:
    def mapped(name: str, folder: Path = path) -> AnyArray:
        # A plain ndarray over the map: indexing np.memmap itself costs a Python-level __array_finalize__ every time.
        return np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False))

    def interactions(name: str) -> Any:
        return JoinedArray([mapped(name, folder) for folder in parts]) if parts else mapped(name)

    return StoredArrays(
        interactions("values"),
        mapped("offsets"),
        header["n_items"],
        read_ids(path / USER_IDS),
        read_ids(path / ITEM_IDS),
        {name: interactions(f"column.{number}") for number, name in enumerate(header["columns"])},
        mapped("by_length"),
        mapped("lengths"),
    )


def _disagreement(stored: StoredArrays, header: Mapping[str, Any]) -> Iterator[str]:
    """Yield contradictions of the files that are visible without reading them."""
    n, rows = header["n_sequences"], header["n_interactions"]
    integers = (np.dtype(np.int32), np.dtype(np.int64))
    shapes = {"values": (rows,), "offsets": (n + 1,), "by_length": (n,), "lengths": (2, stored.lengths.shape[-1])}
    for name, shape in shapes.items():
        array = getattr(stored, name)
        types = integers if name in ("values", "by_length") else integers[1:]
        if array.shape != shape or array.dtype not in types:
            yield f"{name}.npy is of {array.dtype} {list(array.shape)}"
    lengths, counts = stored.lengths
    if stored.offsets[0] != 0 or stored.offsets[-1] != rows:
        yield f"offsets.npy does not run from 0 to {rows}"
    # Python's own integers: damaged numbers can overflow.
    pairs = list(zip(lengths.tolist(), counts.tolist(), strict=True))
    if (np.diff(lengths) <= 0).any() or any(length < 0 or count < 1 for length, count in pairs):
        yield "lengths.npy is not in order"
    if sum(counts.tolist()) != n or sum(length * count for length, count in pairs) != rows:
        yield "lengths.npy does not add up"
    for name, column in stored.columns.items():
        if column.ndim == 0 or len(column) != rows:
            yield f"column {name!r} is of shape {list(column.shape)}"
    for name, ids, count in (("user_ids", stored.user_ids, n), ("item_ids", stored.item_ids, stored.n_items)):
        if ids is not None and len(ids) != count:
            yield f"{name}.arrow holds {len(ids)} ids for {count}"


def check_content(path: Path, stored: StoredArrays) -> None:
    """Read the arrays in pieces. Raises InputError if a value, an offset or the index of the lengths is damaged."""
    values, offsets, by_length = stored.values, stored.offsets, stored.by_length
    n = len(by_length)
    for first in range(0, len(values), _PIECE):
        piece = values[first : first + _PIECE]
        if piece.min() < 1 or piece.max() > stored.n_items:
            raise STORE.damaged(path, "values.npy holds numbers of no item")
    ends = np.cumsum(stored.lengths[1])
    for first in range(0, n, _PIECE):
        if np.diff(offsets[first : first + _PIECE + 1]).min() < 0:
            raise STORE.damaged(path, "offsets.npy does not rise")
        rows = by_length[first : first + _PIECE]
        if rows.min() < 0 or rows.max() >= n:
            raise STORE.damaged(path, "by_length.npy holds numbers of no sequence")
        lengths = stored.lengths[0][np.searchsorted(ends, np.arange(first, first + len(rows)), side="right")]
        if not np.array_equal(offsets[rows + 1] - offsets[rows], lengths):
            raise STORE.damaged(path, "by_length.npy is not in order of length")


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
    column.validate(full=True)  # Arrow's functions trust offsets, which could lead outside the file
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
