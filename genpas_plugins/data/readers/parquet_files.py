"""Parquet files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from genpas_plugins.data.source import ROW, Reader, ReadOptions, Source, files_of, first_line, place_of
from genpas_plugins.support.errors import InputError

if TYPE_CHECKING:
    from pyarrow.parquet import FileMetaData

SUFFIXES = (".parquet", ".pq")


def scan(source: str | Path, options: ReadOptions) -> Source:
    """Scan parquet files with equal columns. Messages count rows from 1.

    Raises InputError with the first file that is not parquet or has other columns than the first file.
    """
    import polars as pl

    del options  # they are of text
    files = files_of(source, SUFFIXES)
    footers = {file: _footer(file) for file in files}
    schemas = {file: footer.schema.to_arrow_schema() for file, footer in footers.items()}
    first = schemas[files[0]]
    for file, schema in schemas.items():
        if schema.names != first.names:
            raise InputError(
                f"{file} has the columns {', '.join(schema.names)} where {files[0]} has {', '.join(first.names)}; "
                "write all part files with the same columns, or name one file."
            )
        for name in first.names:
            mine, other = schema.field(name).type, first.field(name).type
            if mine != other and not _both(mine, other):
                raise InputError(
                    f"{file}: column {name!r} is of type {mine}, but of type {other} in {files[0]}; "
                    "write all part files with the same types, or name one file."
                )
    # Folders such as day=2014-07-23 are columns.
    is_hive = any("=" in part for part in files[0].parent.parts)
    if all(schema.types == first.types for schema in schemas.values()):
        frame = pl.scan_parquet(files, glob=False, hive_partitioning=is_hive, row_index_name=ROW)
    else:
        parts = [pl.scan_parquet(file, glob=False, hive_partitioning=is_hive) for file in files]
        frame = pl.concat(parts, how="vertical_relaxed").with_row_index(ROW)
    try:
        names = frame.collect_schema().names()
    except pl.exceptions.PolarsError as error:
        raise InputError(
            f"{files[0]} is not a whole parquet file ({first_line(error)}); write or copy it again."
        ) from error
    return Source(
        name=str(source),
        frame=frame,
        columns=tuple(name for name in names if name != ROW),
        is_text=False,
        place=place_of(files, lambda file: footers[file].num_rows, lambda _, row: f"row {row + 1}"),
        check=lambda: sum(footer.num_rows for footer in footers.values()),
        diagnose=lambda: _read_everything(files),
    )


def _both(one: pa.DataType, other: pa.DataType) -> bool:
    """Whether two types are both numbers, texts or times. polars then finds the common type."""
    types = pa.types
    kinds = (
        lambda t: types.is_integer(t) or types.is_floating(t),
        lambda t: types.is_string(t) or types.is_large_string(t) or types.is_dictionary(t),
        types.is_timestamp,
    )
    return any(kind(one) and kind(other) for kind in kinds)


def _footer(file: Path) -> FileMetaData:
    from pyarrow.parquet import read_metadata

    try:
        return read_metadata(file)
    except pa.ArrowNotImplementedError as error:
        raise InputError(
            f"{file} has a column of a type that pyarrow cannot read ({first_line(error)}); "
            "write it with integers of 64 bits, floats, text, dates or times."
        ) from error
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{file} is not a whole parquet file ({first_line(error)}); write or copy it again."
        ) from error


def _read_everything(files: list[Path]) -> None:
    from pyarrow.parquet import ParquetFile

    for file in files:
        row = 0
        try:
            with ParquetFile(file) as parquet:
                for batch in parquet.iter_batches():
                    row += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                f"{file} is damaged after row {row} ({first_line(error)}); write or copy it again."
            ) from error


READER = Reader("parquet", "parquet", SUFFIXES, scan, looks_like=lambda head: head.startswith(b"PAR1"))
