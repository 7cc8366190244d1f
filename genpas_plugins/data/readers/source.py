"""What a reader returns: a lazy table of interactions, and how to name the place of any of its rows."""

from __future__ import annotations

import difflib
import glob
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from genpas_plugins.support.errors import InputError

ROW = "__row__"
BATCH_ROWS = 1_000_000


def _nothing_to_check() -> None:
    return None


@dataclass(frozen=True)
class Source:
    """Interactions as they stand in their files, not read yet.

    name     : the path as the user gave it, for messages
    frame    : lazy table with the named columns and `ROW`, the row's place over all files, from 0
    columns  : names of the columns, without `ROW`
    is_text  : every column is text as written in the file, its type still to be found
    place    : row → where it stands, "ratings.csv, line 7"
    check    : reads the files for faults that polars passes over; raises InputError naming file and line
    diagnose : called after polars failed; raises InputError naming file and line if it finds the fault
    """

    name: str
    frame: pl.LazyFrame
    columns: tuple[str, ...]
    is_text: bool
    place: Callable[[int], str]
    check: Callable[[], None] = _nothing_to_check
    diagnose: Callable[[], None] = _nothing_to_check

    def require_columns(self, names: Collection[str]) -> None:
        """Raise InputError naming the first of `names` that the source lacks, and the nearest that it has."""
        for name in names:
            if name not in self.columns:
                raise InputError(
                    f"{self.name} has no column {name!r}; its columns are {', '.join(self.columns)}."
                    + nearest(name, self.columns)
                )

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Turn what polars raises inside the block into an InputError that names file and line."""
        try:
            yield
        except (pl.exceptions.PolarsError, OSError) as error:
            self.diagnose()
            reason = str(error).strip().split("\n")[0].rstrip(".")
            raise InputError(
                f"{self.name} could not be read ({reason}); "
                "check that the file is whole and of the format its name says."
            ) from error


def nearest(name: str, known: Collection[str]) -> str:
    """Return a sentence with the name out of `known` that is most like `name`; empty if none is."""
    folded = {candidate.casefold(): candidate for candidate in reversed(list(known))}
    match = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)
    return f" Did you mean {folded[match[0]]!r}?" if match else " Name one of them."


def files_of(source: str | Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Return the files behind a path: itself, a directory's files with these suffixes, or a glob pattern's matches.

    They are sorted by path; names that begin with a dot or an underscore are left out of directories.
    Raises InputError if there is none, or if one is empty.
    """
    path = Path(source)
    if path.is_dir():
        files = sorted(
            file
            for file in path.rglob("*")
            if file.name.endswith(suffixes) and not file.name.startswith((".", "_")) and file.is_file()
        )
        if not files:
            raise InputError(f"Directory {source} holds no file that ends with {' or '.join(suffixes)}; name the file.")
    elif path.exists() or not glob.has_magic(str(source)):
        files = [path]
    else:
        matches = glob.glob(str(source), recursive=True)  # noqa: PTH207 – Path.glob refuses absolute patterns
        files = sorted(Path(match) for match in matches if Path(match).is_file())
        if not files:
            raise InputError(f"No file matches {source}; check the pattern.")
    for file in files:
        if not file.is_file():
            raise InputError(f"{file} does not exist; check the path.")
        if file.stat().st_size == 0:
            raise InputError(f"{file} is empty; name a file with interactions or delete it.")
    return files


def place_of(
    files: list[Path], rows_in: Callable[[Path], int], place_in: Callable[[Path, int], str]
) -> Callable[[int], str]:
    """Return the function that names the place of a row of several files read one after the other.

    `rows_in` counts a file's rows and `place_in` names a row's place in it, "line 7" say; both are called on demand.
    """

    def place(row: int) -> str:
        for file in files[:-1]:
            count = rows_in(file)
            if row < count:
                return f"{file}, {place_in(file, row)}"
            row -= count
        return f"{files[-1]}, {place_in(files[-1], row)}"

    return place
