"""Delimited text, plain or gzipped: scanned by polars, checked by pyarrow, and read line by line for messages."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import pyarrow as pa

from genpas_plugins.data.source import ROW, Source, first_line, place_of
from genpas_plugins.support.errors import InputError

if TYPE_CHECKING:
    from pyarrow.csv import InvalidRow


def scan_delimited(
    name: str,
    files: list[Path],
    separator: str,
    *,
    names: Sequence[str] | None = None,
    rename: Callable[[Path, list[str]], list[str]] | None = None,
) -> Source:
    """Scan delimited text, all columns as text.

    Parameters
    ----------
    name
        The path for messages.
    files
        Files with the same columns.
    separator
        Character between fields.
    names
        Columns of files without a header. None: the first line is the header.
    rename
        Turns the header of a file into column names.

    Returns
    -------
    Source
        Its `check` counts the fields of every row, which polars does not.
    """
    import polars as pl

    has_header = names is None
    if names is None:
        headers = {file: header_of(file, separator) for file in files}
        if rename is not None:
            headers = {file: rename(file, header) for file, header in headers.items()}
        names = headers[files[0]]
        for file, header in headers.items():
            if len(set(header)) < len(header) or "" in header:
                twice = next((field for field in header if header.count(field) > 1), "")
                raise InputError(f"{file}, line 1: two columns are named {twice!r}, or one has no name; rename them.")
            if header != names:
                raise InputError(
                    f"{file}, line 1: the columns are {', '.join(header)} where {files[0]} has {', '.join(names)}; "
                    "write all part files with the same header, or name one file."
                )
    columns = list(names)
    frame = pl.scan_csv(
        files,
        glob=False,
        has_header=has_header,
        new_columns=columns,
        separator=separator,
        infer_schema=False,
        empty_string_is_null=False,
        row_index_name=ROW,
    )

    def line(file: Path, row: int) -> str:
        return f"line {_line_of_record(file, separator, row + has_header)}"

    return Source(
        name=name,
        frame=frame,
        columns=tuple(columns),
        is_text=True,
        place=place_of(files, lambda file: sum(1 for _ in _records(file, separator)) - has_header, line),
        check=lambda: _check_fields(files, separator, columns, has_header),
        diagnose=lambda: _check_quotes(files, separator),
    )


def header_of(file: Path, separator: str) -> list[str]:
    """Return the fields of the first line. Raises InputError if that line is blank or not text."""
    with _undamaged(file):
        _, header = next(_records(file, separator), (0, []))
    if not header:
        raise InputError(f"{file}, line 1: the header is blank; begin the file with a line of column names.")
    return header


def open_text(file: Path) -> TextIO:
    """Open a plain or gzipped UTF-8 file. Line ends stay, a byte-order mark goes."""
    if file.suffix == ".gz":
        return io.TextIOWrapper(gzip.open(file, "rb"), encoding="utf-8-sig", newline="")
    return file.open(encoding="utf-8-sig", newline="")


def _records(file: Path, separator: str, *, strict: bool = False) -> Iterator[tuple[int, list[str]]]:
    """Yield each record with the line it begins on, from 1, blank lines included; `strict` refuses open quotes."""
    with open_text(file) as stream:
        reader = csv.reader(stream, delimiter=separator, strict=strict)
        first = 1
        try:
            for record in reader:
                yield first, record
                first = reader.line_num + 1
        except csv.Error as error:
            raise InputError(
                f"{file}, line {first}: no row can be read from here on ({error}); "
                "close its quotes, and write a quote inside a quoted field twice."
            ) from error


def _line_of_record(file: Path, separator: str, number: int) -> int:
    return next((line for index, (line, _) in enumerate(_records(file, separator)) if index == number), number + 1)


def _check_fields(files: list[Path], separator: str, columns: list[str], has_header: bool) -> None:
    """Raise InputError for the first row with another number of fields than there are columns."""
    from pyarrow import csv as csv_files

    # pyarrow counts the fields of every row in compiled code; Python's csv module is asked only where a bad row begins.
    for file in files:
        bad: list[InvalidRow] = []

        def handle(row: InvalidRow, bad: list[InvalidRow] = bad) -> str:
            # The file is read to its end all the same: pyarrow aborts the process now and then if its reader is dropped
            # while it reads ahead.
            if not bad:
                bad.append(row)
            return "skip"

        with _undamaged(file), pa.OSFile(str(file)) as raw:
            stream = pa.CompressedInputStream(raw, "gzip") if file.suffix == ".gz" else raw
            try:
                with csv_files.open_csv(
                    stream,
                    read_options=csv_files.ReadOptions(
                        use_threads=False, column_names=columns, skip_rows=int(has_header), block_size=1 << 22
                    ),
                    parse_options=csv_files.ParseOptions(
                        delimiter=separator, newlines_in_values=True, invalid_row_handler=handle
                    ),
                    convert_options=csv_files.ConvertOptions(
                        include_columns=columns[:1], column_types={columns[0]: pa.string()}
                    ),
                ) as reader:
                    for _ in reader:
                        pass
            except pa.ArrowInvalid as error:
                if "Empty CSV" in str(error):
                    raise InputError(f"{file} holds no interactions, only a header; name a file with rows.") from error
                raise
        if bad:
            _raise_wrong_row(file, separator, columns, bad[0])


def _check_quotes(files: list[Path], separator: str) -> None:
    for file in files:
        with _undamaged(file):
            for _ in _records(file, separator, strict=True):
                pass


def _raise_wrong_row(file: Path, separator: str, columns: list[str], row: InvalidRow) -> None:
    line = next(
        (line for line, record in _records(file, separator) if record and len(record) != len(columns)),
        row.number,
    )
    raise InputError(
        f"{file}, line {line}: {row.actual_columns} fields where {len(columns)} are needed "
        f"({', '.join(columns)}); fix the line, and quote fields that contain {separator!r}."
    )


@contextmanager
def _undamaged(file: Path) -> Iterator[None]:
    """Turn undecodable text or a broken gzip stream inside the block into an InputError with file and line."""
    try:
        yield
    except (UnicodeDecodeError, OSError, EOFError, pa.ArrowException) as error:
        line = 0
        try:
            with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
                for raw in stream:
                    line += 1
                    raw.decode("utf-8")
        except UnicodeDecodeError:
            raise InputError(f"{file}, line {line} is not UTF-8 text; convert the file to UTF-8.") from error
        except (OSError, EOFError) as damage:
            raise InputError(f"{file} breaks off after line {line} ({damage}); copy it again.") from damage
        raise InputError(
            f"{file} could not be read as text ({first_line(error)}); check its quotes and separators."
        ) from error
