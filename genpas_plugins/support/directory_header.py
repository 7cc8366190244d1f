"""The JSON file at the head of a directory that this library writes: what it is, and of which version."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genpas_plugins.support.errors import InputError


@dataclass(frozen=True)
class Header:
    """A kind of directory.

    file    : name of the JSON file
    magic   : what it says it is
    version : the one that this release reads
    what    : how messages call it
    command : what makes one
    """

    file: str
    magic: str
    version: int
    what: str
    command: str

    def read(self, folder: Path) -> dict[str, Any]:
        """Return the header's content, with whatever else is in it unchecked.

        Raises InputError if it is missing, no header, that of something else, or of another version.
        """
        file, again = folder / self.file, f"Run `{self.command}`."
        if not file.is_file():
            raise InputError(f"{folder} holds no {self.what}: {self.file} is missing. {again}")
        try:
            header = json.loads(file.read_text(encoding="utf-8"))
            magic, version = header["magic"], header["version"]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{file} is no header: it does not name both a magic and a version. {again}") from error
        if magic != self.magic:
            raise InputError(f"{file} says it is {magic!r}, not {self.magic!r}. {again}")
        if version != self.version:
            raise InputError(f"{file} has format version {version}; this release reads version {self.version}. {again}")
        return dict(header)
