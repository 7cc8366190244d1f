"""The JSON file of a directory: its format and version and the size and CRC-32 of every other file.

Reading a header compares the sizes of the files. `DirectoryHeader.verify` reads every byte.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genpas_plugins.support.atomic import write_text
from genpas_plugins.support.checksums import file_crc32
from genpas_plugins.support.errors import InputError
from genpas_plugins.support.json_text import to_json

_OWN_KEYS = ("magic", "version", "files", "checksum")


@dataclass(frozen=True)
class DirectoryHeader:
    """A kind of directory with the names for its messages."""

    file: str  # name of the JSON file
    magic: str  # format identifier in the file
    version: int  # format version that this release reads and writes
    what: str  # what the directory holds, for messages
    command: str  # command that makes the directory
    sealed: bool = True
    """Whether every header of this kind has a checksum of its own. If not, only new headers have one."""

    def check_target(self, folder: Path, *, overwrite: bool) -> None:
        """Raise InputError if `folder` exists and is of another kind or `overwrite` is off."""
        if not folder.exists():
            return
        if not (folder / self.file).is_file():
            raise InputError(f"{folder} exists already and holds no {self.what}; choose another output directory.")
        if not overwrite:
            raise InputError(
                f"{folder} exists already; choose another output directory or replace it with --overwrite."
            )

    def write(self, folder: Path, content: Mapping[str, Any]) -> None:
        """Write the JSON `content` and the facts about all files in `folder`."""
        names = sorted(file for file in folder.iterdir() if file.is_file())
        files = {file.name: [file.stat().st_size, file_crc32(file)] for file in names}
        header = json.loads(to_json({"magic": self.magic, "version": self.version, **content, "files": files}))
        header["checksum"] = _checksum(header)
        # The same bytes as ever: the results of experiments name a store by them.
        write_text(folder / self.file, json.dumps(header, indent=1) + "\n")

    def read(self, folder: Path) -> dict[str, Any]:
        """Return what `write` was given after a check of the format, the version and the sizes of the files.

        Raises InputError if the header or a file is missing, damaged or of another format or version.
        """
        header = self._whole(folder)
        return {key: value for key, value in header.items() if key not in _OWN_KEYS}

    def fingerprint(self, folder: Path) -> str:
        """Return the checksum of the header. It covers the content of every file. Raises InputError as `read`."""
        return _checksum(self._header(folder))

    def verify(self, folder: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Read every file. Raises InputError that names the first damaged one."""
        files = self._whole(folder)["files"]
        total, read = sum(size for size, _ in files.values()), 0

        def advance(size: int) -> None:
            nonlocal read
            read += size
            progress(read, total)

        for name, (_, checksum) in files.items():
            if file_crc32(folder / name, advance) != checksum:
                raise InputError(
                    f"{folder / name} does not have the checksum that {self.file} names: its content was changed. "
                    f"{self._again}"
                )

    def damaged(self, place: Path | str, why: object) -> InputError:
        """Return the error for a directory whose files do not agree."""
        reason = (str(why).strip() or type(why).__name__).splitlines()[0].rstrip(".")
        return InputError(f"{place} is damaged ({reason}). {self._again}")

    @property
    def _again(self) -> str:
        return f"Make the {self.what} again with `{self.command}`."

    def _whole(self, folder: Path) -> dict[str, Any]:
        header = self._header(folder)
        try:
            files = {name: (int(size), int(checksum)) for name, (size, checksum) in header["files"].items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{folder / self.file} does not list the files. {self._again}") from error
        for name, (size, _) in files.items():
            part = folder / name
            if Path(name).name != name or not part.is_file():
                raise InputError(f"{part} is missing from the {self.what}. {self._again}")
            if part.stat().st_size != size:
                raise InputError(
                    f"{part} has {part.stat().st_size} bytes where {self.file} names {size}: the file was truncated "
                    f"or changed. {self._again}"
                )
        return {**header, "files": files}

    def _header(self, folder: Path) -> dict[str, Any]:
        file = folder / self.file
        if not file.is_file():
            raise InputError(f"{folder} holds no {self.what}: {self.file} is missing. {self._again}")
        try:
            header = json.loads(file.read_text(encoding="utf-8"))
            magic, version = header["magic"], header["version"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(
                f"{file} is no header: it does not name both a magic and a version. {self._again}"
            ) from error
        if magic != self.magic:
            raise InputError(f"{file} has the magic {magic!r}, not {self.magic!r}. {self._again}")
        if version != self.version:
            raise InputError(
                f"{file} has format version {version}; this release reads version {self.version}. {self._again}"
            )
        if header.get("checksum", None if self.sealed else _checksum(header)) != _checksum(header):
            raise InputError(f"{file} does not match its own checksum: it was edited or damaged. {self._again}")
        return dict(header)


def _checksum(header: Mapping[str, Any]) -> str:
    content = {key: value for key, value in header.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
