"""The list of a checkpoint's files, with their sizes and checksums, and its plain values: `manifest.json`."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
FORMAT = 1
_BLOCK = 1 << 20


def write(directory: Path, content: dict[str, Any]) -> None:
    """Write the manifest, with a checksum of its own, and see it and the directory onto the disk.

    Raises OSError if `content["files"]` names a file that is not there.
    """
    missing = [name for name in content["files"] if not (directory / name).is_file()]
    if missing:
        raise FileNotFoundError(f"no {', '.join(missing)} in {directory}: all ranks must share its file system")
    content = {"format": FORMAT, **content}
    with (directory / MANIFEST).open("w") as stream:
        json.dump({"manifest": content, "crc32": _crc32_of(content)}, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    flush(directory)


def read(directory: Path) -> dict[str, Any]:
    """Return the manifest of a checkpoint. Raises OSError or ValueError if it is missing, altered or of another format.

    `files` holds (bytes, CRC-32) under each file's name.
    """
    if not (directory / MANIFEST).is_file():
        raise FileNotFoundError(f"it has no {MANIFEST}")
    try:
        whole = json.loads((directory / MANIFEST).read_text())
        content: dict[str, Any] = whole["manifest"]
        altered = whole["crc32"] != _crc32_of(content)
    except (ValueError, LookupError, TypeError, AttributeError):
        altered = True
    if altered:
        raise ValueError(f"its {MANIFEST} is not as it was written")
    if content.get("format") != FORMAT:
        raise ValueError(f"its {MANIFEST} is of format {content.get('format')}, not {FORMAT}")
    if any(Path(name).name != name for name in content["files"]):
        raise ValueError(f"its {MANIFEST} names files elsewhere")
    return content


def measure(path: Path) -> tuple[int, int]:
    """Return a file's size in bytes and its CRC-32."""
    size = crc = 0
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            size, crc = size + len(block), zlib.crc32(block, crc)
    return size, crc


def measured(directory: Path, patterns: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Return size and CRC-32 of the files whose names fit one of the patterns."""
    return {path.name: measure(path) for pattern in patterns for path in directory.glob(pattern)}


def check(directory: Path, files: Mapping[str, tuple[int, int]]) -> None:
    """Raise OSError or ValueError if one of `files` is missing, or its size or checksum is another."""
    for name, (size, crc) in files.items():
        path = directory / name
        if not path.is_file():
            raise FileNotFoundError(f"{name} is missing")
        if path.stat().st_size != size:
            raise ValueError(f"{name} has {path.stat().st_size} bytes, not {size}")
        if measure(path)[1] != crc:
            raise ValueError(f"the checksum of {name} is wrong")


def flush(directory: Path) -> None:
    """See a directory's entries onto the disk."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _crc32_of(content: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())
