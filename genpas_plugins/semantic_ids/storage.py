"""The files of semantic IDs: one directory with codes and item ids. `ids.json` has their sizes and checksums.

codes.npz         int32 [n_items, depth]
item_ids.arrow    where the items have ids of their own
ids.json          format, number of codes of each level, origin
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from genpas_plugins.data.storage import read_ids, write_ids
from genpas_plugins.support.array_types import Int32
from genpas_plugins.support.atomic import replace_directory
from genpas_plugins.support.directory_header import DirectoryHeader

HEADER = "ids.json"
# The first headers had no checksum of their own.
IDS = DirectoryHeader(HEADER, "genpas-semantic-ids", 1, "semantic IDs", "genpas semantic-ids", sealed=False)
_CODES = "codes.npz"
_ITEM_IDS = "item_ids.arrow"


class StoredIds(NamedTuple):
    """The fields of a `SemanticIds`."""

    codes: Int32
    sizes: tuple[int, ...]
    item_ids: pa.Array | None
    origin: Mapping[str, Any]


def write_codes(folder: Path, ids: StoredIds, *, overwrite: bool = False) -> None:
    """Write the directory `folder` atomically."""
    IDS.check_target(folder, overwrite=overwrite)
    with replace_directory(folder) as directory:
        np.savez(directory / _CODES, codes=ids.codes)
        if ids.item_ids is not None:
            write_ids(directory / _ITEM_IDS, ids.item_ids)
        facts = {"n_items": len(ids.codes), "sizes": list(ids.sizes), "origin": dict(ids.origin)}
        IDS.write(directory, facts)


def read_codes(folder: Path) -> StoredIds:
    """Read the directory `folder` and compare all checksums."""
    header = IDS.read(folder)
    IDS.verify(folder)
    try:
        with np.load(folder / _CODES, allow_pickle=False) as archive:
            codes = archive["codes"]
        return StoredIds(codes, tuple(header["sizes"]), read_ids(folder / _ITEM_IDS), dict(header["origin"]))
    except Exception as error:  # numpy, zip and Arrow raise errors of many types for a damaged file
        raise IDS.damaged(folder, error) from error
