"""Readers of interactions, one file a format. Each module has a `READER`, and `READERS` has them all by name."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules

from genpas_plugins.data.source import Reader, Source, files_in
from genpas_plugins.support.errors import InputError, nearest

READERS: dict[str, Reader] = {
    reader.name: reader
    for reader in (import_module(f"{__name__}.{info.name}").READER for info in iter_modules(__path__))
}


def read(source: str | Path, format: str | None = None) -> Source:
    """Look at interactions without reading them.

    Parameters
    ----------
    source
        A file, a directory of part files, or a glob pattern.
    format
        A key of `READERS`. None: the names and the content of the files decide.

    Raises
    ------
    InputError
        The format is unknown, or the files are missing, empty or not what they seem.
    """
    return reader_of(source, format).scan(source)


def reader_of(source: str | Path, format: str | None = None) -> Reader:
    """Return the reader of a source; see `read`."""
    if find_spec("polars") is None:
        raise InputError("Reading a source needs polars: pip install 'genpas-plugins[readers]'.")
    if format is not None and format not in READERS:
        raise InputError(f"Unknown format {format!r}.{nearest(format, READERS)}")
    if format is not None:
        return READERS[format]
    path, valid = Path(source), ", ".join(READERS)
    if not path.is_dir():
        reader = _reader_of_file(path)
        if reader is not None:
            return reader
        if not path.exists():
            raise InputError(f"{source} does not exist; check the path.")
        raise InputError(f"The name of {source} does not tell its format; name one with --format: {valid}.")
    files = files_in(path)
    found = [reader for reader in READERS.values() if {file.name for file in files} & set(reader.names)]
    found = found or sorted(
        {reader for file in files if (reader := _reader_of_file(file)) is not None}, key=lambda reader: reader.name
    )
    if len(found) != 1:
        held = f"files of several formats ({', '.join(reader.name for reader in found)})"
        held = held if found else "no file of a known format"
        raise InputError(f"Directory {source} holds {held}; name the file, or one of the formats {valid}.")
    return found[0]


def _reader_of_file(file: Path) -> Reader | None:
    """Return the reader by the suffix. Where several have the suffix, one that knows the content goes first."""
    named = [reader for reader in READERS.values() if file.name.endswith(reader.suffixes)]
    if len(named) > 1:
        knowing = [reader for reader in named if reader.looks_like and file.is_file() and reader.looks_like(file)]
        named = knowing or [reader for reader in named if reader.looks_like is None]
    return named[0] if named else None
