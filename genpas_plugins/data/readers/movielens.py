"""MovieLens ratings: `ratings.dat` (fields between `::`), `u.data` (tabs) and `ratings.csv` (with a header)."""

from __future__ import annotations

from pathlib import Path

from genpas_plugins.data.raw_text import head_of
from genpas_plugins.data.source import Reader, ReadOptions, Source, files_of
from genpas_plugins.data.text_files import scan_delimited
from genpas_plugins.support.errors import InputError

RATINGS = ("ratings.dat", "ratings.csv", "u.data")
COLUMNS = ("userId", "movieId", "rating", "timestamp")
SUFFIXES = (".dat", ".data", ".csv")


def scan(source: str | Path, options: ReadOptions) -> Source:
    """Scan a ratings file or the ratings file in a MovieLens directory. The columns are COLUMNS.

    Raises InputError if a directory has no ratings file.
    """
    path = Path(source)
    if path.is_dir():
        found = [file for name in RATINGS for file in sorted(path.rglob(name))]
        if not found:
            raise InputError(f"Directory {source} holds none of {', '.join(RATINGS)}; name the ratings file.")
        path = found[0]
    files = files_of(path, SUFFIXES)
    first = _first_line(head_of(files[0], options))
    if first == ",".join(COLUMNS):
        return scan_delimited(str(path), files, ",", options, quoted=True)
    separator = "::" if "::" in first else "\t"
    return scan_delimited(str(path), files, separator, options, names=options.columns or COLUMNS)


def _first_line(head: bytes) -> str:
    return next(iter(head.decode("utf-8-sig", "replace").splitlines()), "")


def _looks_like(head: bytes) -> bool:
    """Whether the first line is MovieLens' header or has the four numbers of a rating."""
    first = _first_line(head)
    fields = first.split("::" if "::" in first else "\t")
    return (
        first == ",".join(COLUMNS)
        or (len(fields) == len(COLUMNS) and "::" in first)
        or (len(fields) == len(COLUMNS) and all(field.strip().replace(".", "").isdigit() for field in fields[2:]))
    )


READER = Reader(
    "movielens",
    "MovieLens' ratings.dat, ratings.csv or u.data",
    SUFFIXES,
    scan,
    looks_like=_looks_like,
    names=RATINGS,
)
