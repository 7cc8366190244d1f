"""Delimited text: polars scans it, a second pass checks it and messages read it line by line."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from genpas_plugins.data.raw_text import open_bytes, open_text, plain_files, undamaged
from genpas_plugins.data.source import (
    PATH,
    ROW,
    ReadOptions,
    Source,
    folder_values,
    place_of,
    with_folder_values,
)
from genpas_plugins.support.errors import InputError

if TYPE_CHECKING:
    from pyarrow.csv import InvalidRow

INDEX = "Unnamed: 0"
"""What pandas and this reader call a first column without a name."""


def scan_delimited(
    name: str,
    files: list[Path],
    separator: str,
    options: ReadOptions,
    *,
    names: Sequence[str] | None = None,
    rename: Callable[[Path, list[str]], list[str]] | None = None,
    quoted: bool = False,
) -> Source:
    """Scan delimited text with all columns as text.

    Parameters
    ----------
    name
        The path for messages.
    files
        Files with the same columns.
    separator
        Characters between fields.
    options
        How to decode the text.
    names
        Columns of files without a header. None: the first line is the header.
    rename
        Turns the header of a file into column names.
    quoted
        Whether fields may be in double quotes. If not, a quote is a character.

    Returns
    -------
    Source
        Its `check` counts the rows and the fields of every row without polars' parser.
    """
    import polars as pl

    plain, held = plain_files(files, options)
    named = dict(zip(plain, files, strict=True))
    has_header, notes = names is None, []
    if names is None:
        headers = {file: header_of(file, separator, quoted=quoted, shown=named[file]) for file in plain}
        if rename is not None:
            headers = {file: rename(named[file], header) for file, header in headers.items()}
        names = headers[plain[0]]
        for file, header in headers.items():
            if len(header) > 1 and header[0] == "":
                header[0] = INDEX
                notes.append(f"{named[file]}: the first column has no name, as pandas writes its index; it is ignored.")
            if len(set(header)) < len(header) or "" in header:
                twice = next((field for field in header if header.count(field) > 1), "")
                raise InputError(
                    f"{named[file]}, line 1: two columns are named {twice!r}, or one has no name; rename them. "
                    "If the file has no header line, name its columns with --columns."
                )
            if header != names:
                raise InputError(
                    f"{named[file]}, line 1: the columns are {', '.join(header)} where {files[0]} has "
                    f"{', '.join(names)}; write all part files with the same header, or name one file."
                )
    columns = list(names)
    folders = {name: values for name, values in folder_values(files).items() if name not in columns}
    path = PATH if folders else None
    if quoted or len(separator) == 1:
        frame = pl.scan_csv(
            plain,
            glob=False,
            has_header=has_header,
            new_columns=columns,
            separator=separator,
            quote_char='"' if quoted else None,
            infer_schema=False,
            empty_string_is_null=False,
            row_index_name=ROW,
            include_file_paths=path,
        )
    else:
        fields = pl.col("line").str.strip_suffix("\r").str.split(separator)
        parts = [fields.list.get(index, null_on_oob=True).alias(field) for index, field in enumerate(columns)]
        lines = pl.concat(
            [pl.scan_lines(file, glob=False, include_file_paths=path).slice(int(has_header)) for file in plain]
        )
        frame = lines.with_row_index(ROW).select(ROW, *parts, *([PATH] if folders else []))

    def line(file: Path, row: int) -> str:
        number = row + 1 + has_header
        return f"line {_line_of_record(open_of[file], separator, row + has_header) if quoted else number}"

    open_of = {shown: file for file, shown in named.items()}
    count = _count_quoted if quoted else _count_lines
    return Source(
        name=name,
        frame=with_folder_values(frame, plain, folders),
        columns=tuple(column for column in (*columns, *folders) if column != INDEX),
        is_text=True,
        place=place_of(
            files,
            lambda file: sum(1 for _ in _records(open_of[file], separator, quoted=quoted)) - has_header,
            line,
        ),
        check=lambda: sum(count(file, separator, columns, has_header, named[file]) for file in plain),
        diagnose=lambda: _check_quotes(named, separator, quoted=quoted),
        notes=tuple(notes),
        held=held,
    )


def header_of(file: Path, separator: str, *, quoted: bool = True, shown: Path | None = None) -> list[str]:
    """Return the fields of the first line. Raises InputError if that line is blank or not text."""
    with undamaged(file):
        _, header = next(_records(file, separator, quoted=quoted), (0, []))
    if not header:
        raise InputError(f"{shown or file}, line 1: the header is blank; begin the file with a line of column names.")
    return header


def _records(
    file: Path, separator: str, *, strict: bool = False, quoted: bool = True
) -> Iterator[tuple[int, list[str]]]:
    """Yield each record with its first line number from 1. Blank lines count. `strict` refuses open quotes."""
    with open_text(file) as stream:
        if not quoted:
            for number, line in enumerate(stream, start=1):
                text = line.rstrip("\r\n")
                yield number, text.split(separator) if text else []
            return
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


def _count_lines(file: Path, separator: str, columns: list[str], has_header: bool, shown: Path) -> int:
    """Return the rows that are not blank. Raises InputError for the first with another number of fields."""
    import polars as pl

    line = pl.col("line").str.strip_suffix("\r")
    lines = pl.scan_lines(file, glob=False, row_index_name=ROW).slice(int(has_header)).filter(line != "")
    fields = line.str.count_matches(separator, literal=True) + 1
    with undamaged(file):
        try:
            bad = lines.filter(fields != len(columns)).head(1).collect(engine="streaming")
            rows = int(lines.select(pl.len()).collect(engine="streaming").item())
        except pl.exceptions.PolarsError as error:
            raise OSError(str(error)) from error
    if len(bad):
        row, text = bad.row(0)
        _raise_wrong_fields(shown, row + 1, len(text.split(separator)), columns, separator, quoted=False)
    if not rows and has_header:
        raise InputError(f"{shown} holds no interactions, only a header; name a file with rows.")
    return rows


def _count_quoted(file: Path, separator: str, columns: list[str], has_header: bool, shown: Path) -> int:
    """Return the rows that are not blank. Raises InputError for the first with another number of fields."""
    from pyarrow import csv as csv_files

    # pyarrow counts the fields of every row in compiled code; Python's csv module is asked only where a bad row begins.
    bad: list[InvalidRow] = []
    rows = 0

    def handle(row: InvalidRow) -> str:
        # The file is read to its end all the same: pyarrow aborts the process now and then if its reader is dropped
        # while it reads ahead.
        if not bad:
            bad.append(row)
        return "skip"

    with undamaged(file), open_bytes(file) as stream:
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
                for batch in reader:
                    rows += batch.num_rows
        except pa.ArrowInvalid as error:
            if "Empty CSV" in str(error):
                raise InputError(f"{shown} holds no interactions, only a header; name a file with rows.") from error
            raise
    if bad:
        wrong = (line for line, record in _records(file, separator) if record and len(record) != len(columns))
        line = next(wrong, bad[0].number)
        _raise_wrong_fields(shown, line, bad[0].actual_columns, columns, separator, quoted=True)
    return rows


def _check_quotes(named: dict[Path, Path], separator: str, *, quoted: bool) -> None:
    for file in named:
        with undamaged(file):
            for _ in _records(file, separator, strict=True, quoted=quoted):
                pass


def _raise_wrong_fields(file: Path, line: int, count: int, columns: list[str], separator: str, *, quoted: bool) -> None:
    advice = f"fix the line, and quote fields that contain {separator!r}" if quoted else "fix the line"
    raise InputError(
        f"{file}, line {line}: {count} fields where {len(columns)} are needed ({', '.join(columns)}); {advice}."
    )
