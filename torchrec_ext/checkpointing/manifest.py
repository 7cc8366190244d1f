"""`manifest.json`: a checkpoint's files with sizes and checksums and its plain values."""

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
    """Write the manifest with its own checksum and flush it and the directory to the disk.

    Content is plain values. `content["files"]` maps names of files to (bytes, CRC-32).
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
    """Read and check the manifest of a checkpoint. The result adds the format."""
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


def measure(directory: Path, patterns: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Return (bytes, CRC-32) by name for the files that match one of the glob patterns."""
    files = [path for pattern in patterns for path in directory.glob(pattern)]
    return {path.name: (path.stat().st_size, file_crc32(path)) for path in files}


def check(directory: Path, files: Mapping[str, tuple[int, int]]) -> None:
    """Compare files with `files`: (bytes, CRC-32) by name."""
    for name, (size, crc) in files.items():
        path = directory / name
        if not path.is_file():
            raise FileNotFoundError(f"{name} is missing")
        if path.stat().st_size != size:
            raise ValueError(f"{name} has {path.stat().st_size} bytes, not {size}")
        if file_crc32(path) != crc:
            raise ValueError(f"the checksum of {name} is wrong")


def flush(directory: Path) -> None:
    """Flush the entries of a directory to the disk but not the content of its files."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
