"""What a reader is and what it returns: a lazy table of interactions and the place of every row."""

from __future__ import annotations

import glob
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from genpas_plugins.support.errors import InputError, is_full_disk, nearest

if TYPE_CHECKING:
    import polars as pl

ROW = "__row__"
BATCH_ROWS = 1_000_000

PATH = "__path__"
_USUAL_IDS = (("user_id", "item_id"), ("userId", "movieId"), ("reviewerID", "asin"), ("user_id", "parent_asin"))
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_USUAL_TIMES = ("timestamp", "unixReviewTime")


@dataclass(frozen=True)
class ReadOptions:
    """What a file does not say about itself."""

    columns: tuple[str, ...] = ()
    """Names of the columns of text files without a header line."""
    encoding: str = "utf-8"
    """Encoding of text files. UTF-16 with a byte-order mark is recognised."""
    max_line: int = 1 << 24
    """Bytes that a line of text may have."""

    def __post_init__(self) -> None:
        try:
            "".encode(self.encoding)
        except LookupError as error:
            raise InputError(f"encoding {self.encoding!r}: {error}; use a name such as utf-8 or latin-1.") from error


AS_FOUND = ReadOptions()
"""UTF-8 with a header line."""


@dataclass(frozen=True)
class Reader:
    """A file format. Every module of `genpas_plugins.data.readers` has one as READER."""

    name: str
    """What `--format` takes."""
    what: str
    """The format in a few words, for help texts."""
    suffixes: tuple[str, ...]
    """How names of such files end."""
    scan: Callable[[str | Path, ReadOptions], Source]
    """Look at a file, a directory or a glob pattern, and return its interactions."""
    looks_like: Callable[[bytes], bool] | None = None
    """Whether a file that begins with these bytes has this format. None: the suffix decides."""
    names: tuple[str, ...] = ()
    """File names that decide for this format in a directory."""


def usual_columns(present: Collection[str]) -> tuple[str, str, str | None]:
    """Return the usual columns of the user, the item and the time in public data of any format.

    The time is None if no usual name is among the columns `present`.
    """
    user, item = max(_USUAL_IDS, key=lambda usual: len({*usual} & {*present}))
    return user, item, next((time for time in _USUAL_TIMES if time in present), None)


def _nothing_to_check() -> None:
    return None


def check_address(source: str | Path) -> None:
    """Raise InputError if the source is a remote address or a pipe. These cannot be read several times."""
    scheme, found, path = str(source).partition("://")
    if found and scheme == "file":
        raise InputError(f"{source} is an address, and a source is a path; name {path}.")
    if found:
        raise InputError(f"{source} is a remote address ({scheme}); copy the files to a local folder and name it.")
    if not str(source):
        raise InputError("The source is an empty text; name a file, a directory or a pattern.")
    if str(source) == "-" or (Path(source).exists() and not (Path(source).is_file() or Path(source).is_dir())):
        raise InputError(f"{source} is a pipe or device, but a source is read several times; save it as a file.")


@dataclass(frozen=True)
class Source:
    """Interactions in their files before reading."""

    name: str
    """The path as the user gave it, for messages."""
    frame: pl.LazyFrame
    """Lazy table with the named columns and `ROW`, the row's place over all files, from 0."""
    columns: tuple[str, ...]
    """Names of the columns, without `ROW`."""
    is_text: bool
    """Whether every column is text as written in the file, and its type is still to be found."""
    place: Callable[[int], str]
    """Return the place of a row: "ratings.csv, line 7"."""
    check: Callable[[], int | None] = _nothing_to_check
    """Find faults that polars passes over, and count the rows without it. Raises InputError that names the line."""
    diagnose: Callable[[], None] = _nothing_to_check
    """Find the fault after polars failed. Raises InputError that names file and line."""
    has_text_ids: bool = False
    """Whether ids stay text even if all are written as integers."""
    check_ids: Callable[[str], None] = lambda name: None
    """Find a list or an object in a column of ids, which is read as its text. Raises InputError that names the line."""
    notes: tuple[str, ...] = ()
    """What the user must know about how the files are read."""
    held: object = None
    """Temporary files that live as long as the source."""

    def require_columns(self, names: Collection[str]) -> None:
        """Raise InputError for the first of `names` that the source does not have."""
        for name in names:
            if name not in self.columns:
                # Numbers as names are most likely the first row.
                headless = self.is_text and any(column[:1].isdigit() for column in self.columns)
                advice = " If the file has no header line, name its columns with --columns." if headless else ""
                raise InputError(f"{self.name} has no column {name!r}.{nearest(name, self.columns)}{advice}")

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Turn an error of polars inside the block into an InputError that names file and line."""
        from polars.exceptions import PanicException, PolarsError

        try:
            yield
        except (PolarsError, PanicException, OSError) as error:
            if is_full_disk(error):
                raise  # the disk of the output
            self.diagnose()
            raise InputError(
                f"{self.name} could not be read ({first_line(error)}); write it again, with columns of plain types."
            ) from error


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message without a full stop."""
    return str(error).strip().split("\n", maxsplit=1)[0].rstrip(".")


def files_in(directory: Path) -> list[Path]:
    """Return the files under a directory by path. Names that begin with a dot or an underscore are left out."""
    return sorted(file for file in directory.rglob("*") if not file.name.startswith((".", "_")) and file.is_file())


def files_of(source: str | Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Return the files of a path: itself, a directory's files with these suffixes or the matches of a glob pattern.

    Raises InputError if there is none or if one is empty.
    """
    check_address(source)
    path = Path(source)
    if path.is_dir():
        files = [file for file in files_in(path) if has_suffix(file, suffixes)]
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


COMPRESSIONS = (".gz", ".bz2", ".xz", ".zst")


def has_suffix(file: Path, suffixes: tuple[str, ...]) -> bool:
    """Whether a name ends with one of the suffixes in any case. The suffix of a compression may follow."""
    name = file.name.lower()
    return name.removesuffix(next((s for s in COMPRESSIONS if name.endswith(s)), "")).endswith(suffixes)


def folder_values(files: list[Path]) -> dict[str, list[str | None]]:
    """Return the columns that folders such as `day=2014-07-23` name with a value for each file.

    Raises InputError if the files are in folders of different names.
    """
    folders = [dict(part.split("=", 1) for part in file.parent.parts if "=" in part) for file in files]
    for file, found in zip(files, folders, strict=True):
        if found.keys() != folders[0].keys():
            raise InputError(
                f"{file} is in folders of the columns {', '.join(found) or 'none'}, {files[0]} of "
                f"{', '.join(folders[0]) or 'none'}; name files with the same folders."
            )
    return {
        name: [None if found[name] == _NO_VALUE else unquote(found[name]) for found in folders] for name in folders[0]
    }


def with_folder_values(frame: pl.LazyFrame, paths: list[Path], values: dict[str, list[str | None]]) -> pl.LazyFrame:
    """Replace the column `PATH` of `paths` by the columns of `folder_values`."""
    import polars as pl

    columns = (
        pl.col(PATH).replace_strict([*map(str, paths)], of_file, return_dtype=pl.String).alias(name)
        for name, of_file in values.items()
    )
    return frame.with_columns(*columns).drop(PATH) if values else frame


def place_of(
    files: list[Path], rows_in: Callable[[Path], int], place_in: Callable[[Path, int], str]
) -> Callable[[int], str]:
    """Return the function that names the place of a row of several files.

    Parameters
    ----------
    files
        Files in the order in which they are read.
    rows_in
        Counts the rows of a file. Called on demand.
    place_in
        Names the place of a row in a file such as "line 7". Called on demand.
    """

    def place(row: int) -> str:
        for file in files[:-1]:
            count = rows_in(file)
            if row < count:
                return f"{file}, {place_in(file, row)}"
            row -= count
        return f"{files[-1]}, {place_in(files[-1], row)}"

    return place
