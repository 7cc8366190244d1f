"""Readers of interactions. Each format is one file with a `READER` and `READERS` has all by name."""

from __future__ import annotations

import glob
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules

from genpas_plugins.data.raw_text import head_of, inner_name
from genpas_plugins.data.source import AS_FOUND, Reader, ReadOptions, Source, check_address, files_in, has_suffix
from genpas_plugins.data.storage import HEADER
from genpas_plugins.support.errors import InputError, nearest

READERS: dict[str, Reader] = {
    reader.name: reader
    for reader in (import_module(f"{__name__}.{info.name}").READER for info in iter_modules(__path__))
}


def read(source: str | Path, format: str | None = None, options: ReadOptions = AS_FOUND) -> Source:
    """Look at interactions without reading them.

    Parameters
    ----------
    source
        A file, a directory of part files or a glob pattern.
    format
        A key of `READERS`. None: the content of the files decides and then their names.
    options
        What text files do not say about themselves.

    Raises
    ------
    InputError
        The format is unknown. The files are missing, empty or not what they seem.
    """
    return reader_of(source, format, options).scan(source, options)


def reader_of(source: str | Path, format: str | None = None, options: ReadOptions = AS_FOUND) -> Reader:
    """Return the reader of a source; see `read`."""
    check_address(source)
    if find_spec("polars") is None:
        raise InputError("Reading a source needs polars: pip install 'genpas-plugins[readers]'.")
    if format is not None and format not in READERS:
        raise InputError(f"Unknown format {format!r}.{nearest(format, READERS)}")
    if format is not None:
        return READERS[format]
    path, valid = Path(source), ", ".join(READERS)
    if not path.is_dir():
        found = sorted(Path(file) for file in glob.glob(str(source), recursive=True))  # noqa: PTH207 – absolute patterns
        reader = _reader_of_file(path if path.exists() or not found else found[0], options)
        if reader is not None:
            return reader
        if not path.exists():
            raise InputError(f"{source} does not exist; check the path.")
        raise InputError(f"The name of {source} does not tell its format; name one with --format: {valid}.")
    if (path / HEADER).is_file():
        raise InputError(f"{source} is a sequence store, not a source of interactions; use it as it is.")
    suffixes = tuple(suffix for reader in READERS.values() for suffix in reader.suffixes)
    files = [file for file in files_in(path) if has_suffix(file, suffixes)]
    named = [reader for reader in READERS.values() if {file.name for file in files} & set(reader.names)]
    if named:
        return named[0]
    of_files = (reader for file in files if (reader := _reader_of_file(file, options)) is not None)
    known = sorted(set(of_files), key=lambda reader: reader.name)
    if len(known) != 1:
        held = f"files of several formats ({', '.join(reader.name for reader in known)})"
        held = held if known else "no file of a known format"
        raise InputError(f"Directory {source} holds {held}; name the file, or one of the formats {valid}.")
    return known[0]


def _reader_of_file(file: Path, options: ReadOptions) -> Reader | None:
    """Return the reader that knows the content or else the reader of the suffix."""
    name = inner_name(file)
    named = [reader for reader in READERS.values() if has_suffix(name, reader.suffixes)]
    general = [reader for reader in named if reader.looks_like is None]
    knowing: list[Reader] = []
    if file.is_file() and file.stat().st_size:
        head = head_of(file, options)
        knowing = [reader for reader in READERS.values() if reader.looks_like and reader.looks_like(head)]
    if options.columns:  # only text without a header line has none of its own
        knowing = [reader for reader in knowing if reader.name in ("parquet", "json")]
        return (knowing or [READERS["csv"]])[0]
    both = [reader for reader in named if reader in knowing]
    return next(iter(both or knowing or general or named), None)
