"""Readers: interactions in a file of any of these formats → a SequenceStore.

Each format is one module whose `scan(path)` returns a `Source`; `FORMATS` is the switch. `build_store` groups
and sorts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from genpas_plugins.data.readers import amazon_reviews, delimited, movielens, parquet_files, recbole_atomic
from genpas_plugins.data.readers.grouping import BUCKET_ROWS, Progress, group_and_sort
from genpas_plugins.data.readers.source import ROW, Source, nearest
from genpas_plugins.data.sequences import SequenceStore
from genpas_plugins.support.errors import InputError

__all__ = ["FORMATS", "ROW", "Progress", "Source", "build_store", "detect_format", "read"]

FORMATS: dict[str, Callable[[str | Path], Source]] = {
    "parquet": parquet_files.scan,
    "csv": delimited.scan,
    "recbole": recbole_atomic.scan,
    "amazon": amazon_reviews.scan,
    "movielens": movielens.scan,
}
_SUFFIXES = {
    "parquet": parquet_files.SUFFIXES,
    "csv": delimited.SUFFIXES,
    "recbole": recbole_atomic.SUFFIXES,
    "amazon": amazon_reviews.SUFFIXES,
    "movielens": (".dat", ".data"),
}


def read(source: str | Path, format: str | None = None) -> Source:
    """Look at a file, a directory of part files or a glob pattern, and return its interactions, not read yet.

    `format` is a key of `FORMATS`; None goes by the file name. Raises InputError where neither leads to a reader, or
    where the files are missing, empty or not what their name says.
    """
    name = format if format is not None else detect_format(source)
    if name not in FORMATS:
        raise InputError(f"Unknown format {name!r}; the formats are {', '.join(FORMATS)}." + nearest(name, FORMATS))
    return FORMATS[name](source)


def detect_format(source: str | Path) -> str:
    """Return the format that the name of a file, of a directory's files or of a glob pattern tells.

    Raises InputError if it tells none, or if a directory holds files of several formats.
    """
    path = Path(source)
    if not path.is_dir():
        found = _formats_of([path.name])
        if not found:
            raise InputError(
                f"The format of {source} cannot be told from its name; name one: {', '.join(FORMATS)}."
                if path.exists()
                else f"{source} does not exist; check the path."
            )
        return found[0]
    names = [file.name for file in path.rglob("*") if not file.name.startswith((".", "_"))]
    if set(names) & set(movielens.RATINGS):
        return "movielens"
    found = _formats_of(names)
    if len(found) != 1:
        held = f"files of several formats ({', '.join(found)})" if found else "no file of a known format"
        raise InputError(f"Directory {source} holds {held}; name the file, or a format out of {', '.join(FORMATS)}.")
    return found[0]


def build_store(
    source: str | Path,
    out: str | Path,
    *,
    user: str,
    item: str,
    order: str | None = None,
    columns: Sequence[str] = (),
    k_core: int = 0,
    user_core: int | None = None,
    item_core: int | None = None,
    format: str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    bucket_rows: int = BUCKET_ROWS,
) -> SequenceStore:
    """Read interactions, group them by user, sort each user's by `order`, and save them as the store `out`.

    Users and items are numbered in the order of their ids, so the store does not depend on how the files are cut.
    Text files' ids are integers where every one is written as an integer is ("7", not "07"), else text.

    Parameters
    ----------
    source : a file, a directory of part files or a glob pattern
    out : directory to make; it appears complete, under its final name, or not at all
    user, item : columns with the ids, integers or text
    order : column with the time or place of an interaction, kept as a column of the store; ties keep the order of the
        file. None: the file is in order already.
    columns : further numeric, boolean or date columns to keep; dates and times become int64 microseconds since 1970
        (without time zone: as written)
    k_core : drop users and items with fewer interactions than this, again and again until none is left to drop;
        repeated interactions of a user with an item count each. `user_core` and `item_core` override it for one side.
    format : key of `FORMATS`; None goes by the file name
    overwrite : replace a store that stands under `out`
    progress : called as progress(step, done, total) with rows, total None where it is not known
    bucket_rows : rows sorted in memory at a time (and at least those of the user with the most)

    Raises InputError for bad input, naming file, row or line, and the mend.
    """
    return group_and_sort(
        read(source, format),
        Path(out),
        user=user,
        item=item,
        order=order,
        columns=columns,
        user_core=k_core if user_core is None else user_core,
        item_core=k_core if item_core is None else item_core,
        overwrite=overwrite,
        progress=progress,
        bucket_rows=bucket_rows,
    )


def _formats_of(names: list[str]) -> list[str]:
    return [format for format, suffixes in _SUFFIXES.items() if any(name.endswith(suffixes) for name in names)]
