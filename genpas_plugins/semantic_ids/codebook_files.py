"""Semantic IDs on disk: one directory of codes and item ids beside a header that names and measures them.

IDS/codes.npz         int32 [n_items, depth]
item_ids.arrow    where the items have ids of their own
ids.json          magic, version, sizes, origin; sizes and CRC-32 of the files
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from genpas_plugins.data.storage import crc32, read_ids, write_ids
from genpas_plugins.semantic_ids.codebook import SemanticIds
from genpas_plugins.support.atomic import replaced_directory
from genpas_plugins.support.directory_header import Header
from genpas_plugins.support.errors import InputError
from genpas_plugins.support.json_text import to_json

MAGIC = "genpas-semantic-ids"
VERSION = 1
HEADER = "ids.json"
_IDS = Header(HEADER, MAGIC, VERSION, "semantic IDs", "genpas semantic-ids")
_CODES = "codes.npz"
_ITEM_IDS = "item_ids.arrow"


def save_ids(ids: SemanticIds, folder: Path, *, overwrite: bool = False) -> None:
    """Write IDs as the directory `folder`: complete under its final name, or not there at all.

    Raises InputError if `folder` exists and holds no IDs, or holds some and `overwrite` is off.
    """
    if folder.exists() and not (folder / HEADER).is_file():
        raise InputError(f"{folder} exists already and holds no semantic IDs; choose another output directory.")
    if folder.exists() and not overwrite:
        raise InputError(f"{folder} exists already; choose another output directory or replace it with --overwrite.")
    with replaced_directory(folder) as directory:
        np.savez(directory / _CODES, codes=ids.codes)
        if ids.item_ids is not None:
            write_ids(directory / _ITEM_IDS, ids.item_ids)
        header = {
            "magic": MAGIC,
            "version": VERSION,
            "n_items": ids.n_items,
            "sizes": list(ids.sizes),
            "origin": dict(ids.origin),
            "files": {file.name: [file.stat().st_size, crc32(file)] for file in sorted(directory.iterdir())},
        }
        (directory / HEADER).write_text(to_json(header), encoding="utf-8")


def open_ids(folder: Path) -> SemanticIds:
    """Open saved IDs. Raises InputError if `folder` holds none, some of another version, or damaged ones."""
    header = _read_header(folder)
    try:
        with np.load(folder / _CODES, allow_pickle=False) as archive:
            codes = archive["codes"]
        ids = read_ids(folder / _ITEM_IDS) if _ITEM_IDS in header["files"] else None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, pa.ArrowException) as error:
        raise InputError(f"{folder} holds damaged semantic IDs ({error}). Make them again.") from error
    return SemanticIds(codes, tuple(header["sizes"]), ids, header["origin"])


def _read_header(folder: Path) -> dict[str, Any]:
    """Read the header and compare the files' sizes and checksums with it."""
    header = _IDS.read(folder)
    try:
        files = {name: (int(size), int(checksum)) for name, (size, checksum) in header["files"].items()}
        whole = isinstance(header["sizes"], list) and isinstance(header["origin"], dict) and _CODES in files
    except (KeyError, TypeError, ValueError, AttributeError):
        whole = False
    if not whole:
        raise InputError(
            f"{folder / HEADER} is damaged: entries are missing. Make the IDs again with `genpas semantic-ids`."
        )
    for name in (name for name in (_CODES, _ITEM_IDS) if name in files):
        part, (size, checksum) = folder / name, files[name]
        if not part.is_file():
            raise InputError(f"{part} is missing: the IDs are incomplete. Make them again with `genpas semantic-ids`.")
        if part.stat().st_size != size or crc32(part) != checksum:
            raise InputError(
                f"{part} is not what {HEADER} says: it was truncated or changed. "
                "Make the IDs again with `genpas semantic-ids`."
            )
    return header
