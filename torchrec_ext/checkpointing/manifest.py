"""The list of a checkpoint's files, with their sizes and checksums, and its plain values: `manifest.json`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from genpas_plugins.support.checksums import file_crc32, json_crc32

MANIFEST = "manifest.json"
FORMAT = 1


def write(directory: Path, content: dict[str, Any]) -> None:
    """Write the manifest, with a checksum of its own, and see it and the directory onto the disk.

    Raises OSError if `content["files"]` names a file that is not there.
    """
    missing = [name for name in content["files"] if not (directory / name).is_file()]
    if missing:
        raise FileNotFoundError(f"no {', '.join(missing)} in {directory}: all ranks must share its file system")
    content = {"format": FORMAT, **content}
    with (directory / MANIFEST).open("w") as stream:
        json.dump({"manifest": content, "crc32": json_crc32(content)}, stream, indent=1)
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
        altered = whole["crc32"] != json_crc32(content)
    except (ValueError, LookupError, TypeError, AttributeError):
        altered = True
    if altered:
        raise ValueError(f"its {MANIFEST} is not as it was written")
    if content.get("format") != FORMAT:
        raise ValueError(f"its {MANIFEST} is of format {content.get('format')}, not {FORMAT}")
    if any(Path(name).name != name for name in content["files"]):
        raise ValueError(f"its {MANIFEST} names files elsewhere")
    return content


def measured(directory: Path, patterns: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Return size and CRC-32 of the files whose names fit one of the patterns."""
    files = [path for pattern in patterns for path in directory.glob(pattern)]
    return {path.name: (path.stat().st_size, file_crc32(path)) for path in files}


def check(directory: Path, files: Mapping[str, tuple[int, int]]) -> None:
    """Raise OSError or ValueError if one of `files` is missing, or its size or checksum is another."""
    for name, (size, crc) in files.items():
        path = directory / name
        if not path.is_file():
            raise FileNotFoundError(f"{name} is missing")
        if path.stat().st_size != size:
            raise ValueError(f"{name} has {path.stat().st_size} bytes, not {size}")
        if file_crc32(path) != crc:
            raise ValueError(f"the checksum of {name} is wrong")


def flush(directory: Path) -> None:
    """See a directory's entries onto the disk."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
