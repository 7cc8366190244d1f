"""Amazon review JSON lines, plain or gzipped: the 2014 and 2018 field names, and those of 2023."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from genpas_plugins.data.readers.delimited import open_text
from genpas_plugins.data.readers.source import ROW, Source, files_of, place_of
from genpas_plugins.support.errors import InputError

SUFFIXES = (".json", ".jsonl", ".json.gz", ".jsonl.gz")

# Fields with one value an interaction; ids are text always, as "0001" and "1" are different products.
FIELDS: dict[str, type[pl.DataType]] = {
    "reviewerID": pl.String,
    "asin": pl.String,
    "unixReviewTime": pl.Int64,
    "overall": pl.Float64,
    "verified": pl.Boolean,
    "user_id": pl.String,
    "parent_asin": pl.String,
    "timestamp": pl.Int64,
    "rating": pl.Float64,
    "verified_purchase": pl.Boolean,
    "helpful_vote": pl.Int64,
}
_LINES_TO_SEE_FIELDS = 100


def scan(source: str | Path) -> Source:
    """Scan review files; the columns are those of `FIELDS` that the first lines have.

    Raises InputError naming file and line where a line is not a JSON object.
    """
    files = files_of(source, SUFFIXES)
    seen: set[str] = set()
    for number, (_, review) in enumerate(_reviews(files[0])):
        seen.update(review)
        if number == _LINES_TO_SEE_FIELDS:
            break
    if not seen:
        raise InputError(f"{files[0]} holds no reviews; name a file with one JSON object a line.")
    fields = {name: dtype for name, dtype in FIELDS.items() if name in seen}
    if not fields:
        raise InputError(
            f"{files[0]}, line 1: none of the fields of Amazon reviews ({', '.join(FIELDS)}) is there, only "
            f"{', '.join(sorted(seen))}; convert the file to parquet or CSV."
        )
    return Source(
        name=str(source),
        frame=pl.scan_ndjson(files, schema=fields, row_index_name=ROW),
        columns=tuple(fields),
        is_text=False,
        place=place_of(files, lambda file: sum(1 for _ in _lines(file)), _place_in),
        diagnose=lambda: _diagnose(files, fields),
    )


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank with their numbers, from 1."""
    number = 0
    try:
        with open_text(file) as stream:
            for number, line in enumerate(stream, start=1):
                if not line.isspace():
                    yield number, line
    except UnicodeDecodeError as error:
        raise InputError(f"{file}, line {number + 1} is not UTF-8 text; convert the file to UTF-8.") from error
    except (OSError, EOFError) as error:
        raise InputError(f"{file} breaks off after line {number} ({error}); copy it again.") from error


def _reviews(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in _lines(file):
        try:
            review = json.loads(line)
        except ValueError as error:
            raise InputError(f"{file}, line {number} is not JSON ({error}); mend or delete the line.") from error
        if not isinstance(review, dict):
            raise InputError(f"{file}, line {number} is not a JSON object; write one review a line.")
        yield number, review


def _place_in(file: Path, row: int) -> str:
    return next(f"line {number}" for index, (number, _) in enumerate(_lines(file)) if index == row)


def _diagnose(files: list[Path], fields: dict[str, type[pl.DataType]]) -> None:
    wanted: dict[type[pl.DataType], tuple[type, ...]] = {
        pl.Int64: (int,),
        pl.Float64: (int, float),
        pl.Boolean: (bool,),
    }
    for file in files:
        for number, review in _reviews(file):
            for name, dtype in fields.items():
                value = review.get(name)
                if dtype in wanted and value is not None and not isinstance(value, wanted[dtype]):
                    raise InputError(
                        f"{file}, line {number}: field {name!r} is {value!r} where {dtype.__name__} is needed; "
                        "mend the line."
                    )
