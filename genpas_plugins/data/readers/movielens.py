"""MovieLens ratings: `ratings.dat` (fields between `::`), `u.data` (tabs) and `ratings.csv` (with a header)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from genpas_plugins.data.source import ROW, Reader, Source, files_of, place_of
from genpas_plugins.data.text_files import header_of, open_text, scan_delimited
from genpas_plugins.support.errors import InputError

RATINGS = ("ratings.dat", "ratings.csv", "u.data")
COLUMNS = ("userId", "movieId", "rating", "timestamp")
SUFFIXES = (".dat", ".data", ".csv")


def scan(source: str | Path) -> Source:
    """Scan a ratings file, or the ratings file in a MovieLens directory. The columns are COLUMNS.

    Raises InputError if a directory has no ratings file.
    """
    import polars as pl

    path = Path(source)
    if path.is_dir():
        path = next((path / name for name in RATINGS if (path / name).is_file()), path)
        if path.is_dir():
            raise InputError(f"Directory {source} holds none of {', '.join(RATINGS)}; name the ratings file.")
    files = files_of(path, SUFFIXES)
    if path.suffix == ".csv":
        return scan_delimited(str(path), files, ",")
    if path.suffix == ".data":
        return scan_delimited(str(path), files, "\t", names=COLUMNS)
    fields = pl.col("line").str.split("::")
    columns = [fields.list.get(index, null_on_oob=True).alias(name) for index, name in enumerate(COLUMNS)]
    return Source(
        name=str(path),
        frame=pl.scan_lines(files, glob=False, row_index_name=ROW).select(ROW, *columns),
        columns=COLUMNS,
        is_text=True,
        place=place_of(files, lambda file: sum(1 for _ in _lines(file)), lambda _, row: f"line {row + 1}"),
        check=lambda: _check_fields(files),
        diagnose=lambda: _check_fields(files),
    )


def _looks_like(file: Path) -> bool:
    """Whether the file is no CSV, or a CSV with MovieLens' header."""
    return file.suffix != ".csv" or (file.stat().st_size > 0 and header_of(file, ",") == list(COLUMNS))


def _lines(file: Path) -> Iterator[str]:
    with open_text(file) as stream:
        yield from stream


def _check_fields(files: list[Path]) -> None:
    import polars as pl

    wrong = pl.col("line").str.count_matches("::", literal=True) != len(COLUMNS) - 1
    for file in files:
        lines = pl.scan_lines(file, glob=False, row_index_name=ROW)
        try:
            bad = lines.filter(wrong).head(1).collect(engine="streaming")
        except (pl.exceptions.PolarsError, OSError) as error:
            raise InputError(f"{file} is not UTF-8 text ({error}); convert the file to UTF-8.") from error
        if len(bad):
            row, line = bad.row(0)
            raise InputError(
                f"{file}, line {row + 1}: {len(line.split('::'))} fields where {len(COLUMNS)} are needed "
                f"({'::'.join(COLUMNS)}); fix the line."
            )


READER = Reader(
    "movielens",
    "MovieLens' ratings.dat, ratings.csv or u.data",
    SUFFIXES,
    scan,
    columns=(("userId", "movieId", "timestamp"),),
    looks_like=_looks_like,
    names=RATINGS,
)
