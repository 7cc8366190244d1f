"""CRC-32 of files, arrays and JSON values."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from genpas_plugins.support.array_types import AnyArray

_CHUNK = 1 << 22


def file_crc32(file: Path, progress: Callable[[int], None] = lambda read: None) -> int:
    """Return the CRC-32 of a file of any size. `progress` is called with the bytes read in each step."""
    checksum = 0
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            checksum = zlib.crc32(chunk, checksum)
            progress(len(chunk))
    return checksum


def array_crc32(arrays: Iterable[AnyArray], dtype: str | None = None) -> int:
    """Return the CRC-32 of the bytes of all arrays in row order.

    Parameters
    ----------
    arrays : arrays of at least one dimension. Only a chunk of an array is copied at a time.
    dtype : type that every array is converted to. None: the bytes as they are.
    """
    checksum = 0
    for array in arrays:
        for first in range(0, len(array), _CHUNK):
            checksum = zlib.crc32(np.ascontiguousarray(array[first : first + _CHUNK], dtype).tobytes(), checksum)
    return checksum


def json_crc32(value: Any) -> int:
    """Return the CRC-32 of a value as JSON text with sorted keys."""
    return zlib.crc32(json.dumps(value, sort_keys=True).encode())
