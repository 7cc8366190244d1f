"""Amazon reviews as JSON lines, plain or gzipped, with the field names of 2014, 2018 and 2023."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from genpas_plugins.data.source import ROW, Reader, Source, files_of, place_of
from genpas_plugins.data.text_files import open_text
from genpas_plugins.support.errors import InputError

SUFFIXES = (".json", ".jsonl", ".json.gz", ".jsonl.gz")

# Fields with one value an interaction. Ids are always text, as "0001" and "1" are different products.
FIELDS: dict[str, type] = {
    "reviewerID": str,
    "asin": str,
    "unixReviewTime": int,
    "overall": float,
    "verified": bool,
    "user_id": str,
    "parent_asin": str,
    "timestamp": int,
    "rating": float,
    "verified_purchase": bool,
    "helpful_vote": int,
}
_LINES_TO_SEE_FIELDS = 100


def scan(source: str | Path) -> Source:
    """Scan review files. The columns are the `FIELDS` in the first lines.

    Raises InputError that names file and line where a line is not a JSON object.
    """
    import polars as pl

    files = files_of(source, SUFFIXES)
    seen: set[str] = set()
    for number, (_, review) in enumerate(_reviews(files[0])):
        seen.update(review)
        if number == _LINES_TO_SEE_FIELDS:
            break
    if not seen:
        raise InputError(f"{files[0]} holds no reviews; name a file with one JSON object a line.")
    fields = {name: kind for name, kind in FIELDS.items() if name in seen}
    if not fields:
        raise InputError(
            f"{files[0]}, line 1: none of the fields of Amazon reviews ({', '.join(FIELDS)}) is there, only "
            f"{', '.join(sorted(seen))}; convert the file to parquet or CSV."
        )
    types = {str: pl.String, int: pl.Int64, float: pl.Float64, bool: pl.Boolean}
    schema = {name: types[kind] for name, kind in fields.items()}
    return Source(
        name=str(source),
        frame=pl.scan_ndjson(files, schema=schema, row_index_name=ROW),
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
            raise InputError(f"{file}, line {number} is not JSON ({error}); fix or delete the line.") from error
        if not isinstance(review, dict):
            raise InputError(f"{file}, line {number} is not a JSON object; write one review a line.")
        yield number, review


def _place_in(file: Path, row: int) -> str:
    return next(f"line {number}" for index, (number, _) in enumerate(_lines(file)) if index == row)


def _diagnose(files: list[Path], fields: dict[str, type]) -> None:
    wanted: dict[type, tuple[type, ...]] = {int: (int,), float: (int, float), bool: (bool,)}
    for file in files:
        for number, review in _reviews(file):
            for name, kind in fields.items():
                value = review.get(name)
                if kind in wanted and value is not None and not isinstance(value, wanted[kind]):
                    raise InputError(
                        f"{file}, line {number}: field {name!r} is {value!r} where {kind.__name__} is needed; "
                        "fix the line."
                    )


READER = Reader(
    "amazon",
    "Amazon reviews as JSON lines",
    SUFFIXES,
    scan,
    columns=(("reviewerID", "asin", "unixReviewTime"), ("user_id", "parent_asin", "timestamp")),
)
