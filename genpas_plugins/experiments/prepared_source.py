"""The file that a store of `genpas reproduce` was prepared from, noted beside the store."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from genpas_plugins.support.atomic import replaced_file
from genpas_plugins.support.errors import InputError
from genpas_plugins.support.json_text import to_json


def write_note(source: Path, store: Path) -> None:
    """Note beside a store, as NAME.source.json, the size, time and checksum of the file it is made from, not its path.

    The folder may be moved; the time is only there so that an untouched file is not read again.
    """
    status = source.stat()
    content = {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": _checksum(source)}
    with replaced_file(_note(store)) as temporary:
        temporary.write_text(to_json(content), encoding="utf-8")


def check_note(source: Path, store: Path) -> None:
    """Raise InputError if a store was prepared from a file of other content; one without a note is taken as it is."""
    note = _note(store)
    if not note.exists():
        return
    try:
        before: dict[str, Any] = json.loads(note.read_text(encoding="utf-8"))
        size, time, checksum = (before[key] for key in ("size", "mtime_ns", "sha256"))
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(
            f"{note} does not say what {store} was prepared from; remove {store} to prepare it anew."
        ) from error
    status = source.stat()
    if status.st_size == size and (status.st_mtime_ns == time or _checksum(source) == checksum):
        return
    raise InputError(
        f"{source} is not the file that {store} was prepared from: its content has changed. Choose another --out, or "
        f"remove {store} to prepare it anew, and the cells that the old one trained."
    )


def _note(store: Path) -> Path:
    return store.with_name(f"{store.name}.source.json")


def _checksum(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
