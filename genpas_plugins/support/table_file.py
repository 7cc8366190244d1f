"""Arrow tables in one file. The file's suffix chooses parquet, JSON lines or CSV."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from genpas_plugins.support.atomic import replace_file
from genpas_plugins.support.errors import InputError

SUFFIXES = (".parquet", ".jsonl", ".csv")


def check_table_file(file: Path, *, overwrite: bool) -> None:
    """Raise InputError for another suffix or for an existing file without `overwrite`."""
    if file.suffix.lower() not in SUFFIXES:
        raise InputError(f"{file} must end with {', '.join(SUFFIXES)}: the suffix says which format to write.")
    if file.exists() and not (overwrite and file.is_file()):
        raise InputError(f"{file} exists already. Choose another output file or replace it with --overwrite.")


@contextmanager
def table_file(file: Path, schema: pa.Schema) -> Iterator[Callable[[pa.Table], object]]:
    """Yield a function that appends a table of this schema to the file. Writing is atomic.

    CSV has a list as JSON text. JSON lines have ids of a type that JSON lacks (dates, bytes) as text.
    """
    suffix = file.suffix.lower()
    with replace_file(file) as temporary:
        if suffix == ".jsonl":
            with temporary.open("w", encoding="utf-8") as stream:
                yield lambda table: stream.writelines(_json(row) + "\n" for row in table.to_pylist())
        elif suffix == ".csv":
            from pyarrow import csv

            with csv.CSVWriter(temporary, _flat(schema.empty_table()).schema) as writer:
                yield lambda table: writer.write_table(_flat(table))
        else:
            from pyarrow import parquet

            with parquet.ParquetWriter(temporary, schema) as writer:
                yield writer.write_table


def _json(value: object) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)


def _flat(table: pa.Table) -> pa.Table:
    for place, field in enumerate(table.schema):
        if pa.types.is_list(field.type):
            texts = pa.array(map(_json, table.column(place).to_pylist()), pa.string())
            table = table.set_column(place, field.name, texts)
    return table
