"""Parquet files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from genpas_plugins.data.source import ROW, Reader, Source, files_of, first_line, place_of
from genpas_plugins.support.errors import InputError

if TYPE_CHECKING:
    from pyarrow.parquet import FileMetaData

SUFFIXES = (".parquet", ".pq")


def scan(source: str | Path) -> Source:
    """Scan parquet files with equal columns. Messages count rows from 1.

    Raises InputError that names the first file that is not parquet, or has other columns than the first file.
    """
    import polars as pl

    files = files_of(source, SUFFIXES)
    footers = {file: _footer(file) for file in files}
    names = footers[files[0]].schema.to_arrow_schema().names
    for file, footer in footers.items():
        if (other := footer.schema.to_arrow_schema().names) != names:
            raise InputError(
                f"{file} has the columns {', '.join(other)} where {files[0]} has {', '.join(names)}; "
                "write all part files with the same columns, or name one file."
            )
    frame = pl.scan_parquet(files, glob=False, hive_partitioning=False, row_index_name=ROW)
    return Source(
        name=str(source),
        frame=frame,
        columns=tuple(names),
        is_text=False,
        place=place_of(files, lambda file: footers[file].num_rows, lambda _, row: f"row {row + 1}"),
        diagnose=lambda: _read_everything(files),
    )


def _footer(file: Path) -> FileMetaData:
    from pyarrow.parquet import read_metadata

    try:
        return read_metadata(file)
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


READER = Reader("parquet", "parquet", SUFFIXES, scan)
