"""JSON lines such as Amazon reviews. Python literals (one a line) are read too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genpas_plugins.data.raw_text import open_text, plain_files, undamaged
from genpas_plugins.data.source import (
    PATH,
    ROW,
    Reader,
    ReadOptions,
    Source,
    files_of,
    folder_values,
    place_of,
    with_folder_values,
)
from genpas_plugins.support.errors import InputError

if TYPE_CHECKING:
    import polars as pl

SUFFIXES = (".json", ".jsonl", ".ndjson")
_LINES_TO_SEE_FIELDS = 1000
# The parsers of Python and of polars end at about 1,000 levels, and no option raises both.
_DEPTH_ADVICE = "write the line without the fields of more than 900 levels."
_LINES_ADVICE = "write one object a line, for example with jq -c '.[]' for a list of objects, and jq -c . for others."


def scan(source: str | Path, options: ReadOptions) -> Source:
    """Scan JSON lines. The columns are the fields in the first lines as text or lists of text.

    Ids stay text because "0001" and "1" are different products. A field that is a list in one of the first lines is
    a column of lists. A file with one object `{user: [items]}` has the columns `user_id` and `item_id`.

    Raises InputError that names file and line where a line is not a JSON object.
    """
    import polars as pl

    files = files_of(source, SUFFIXES)
    plain, held = plain_files(files, options)
    named = dict(zip(plain, files, strict=True))
    seen: dict[str, bool] = {}  # whether the field is a list
    first: dict[str, Any] = {}
    for number, (_, review) in enumerate(_objects(plain[0], files[0], options)):
        first = first or review
        seen |= {name: isinstance(value, list) or seen.get(name, False) for name, value in review.items()}
        if number == _LINES_TO_SEE_FIELDS:
            break
    if not seen:
        raise InputError(f"{files[0]} holds no objects; name a file with one JSON object a line.")
    if len(files) == 1 and all(isinstance(value, list) for value in first.values()):
        return _sequences(str(source), first)

    def place_in(file: Path, row: int) -> str:
        return next(f"line {number}" for index, (number, _) in enumerate(_lines(of[file], options)) if index == row)

    of = {shown: file for file, shown in named.items()}
    folders = {name: values for name, values in folder_values(files).items() if name not in seen}
    frame = pl.scan_ndjson(
        plain, schema=dict.fromkeys(seen, pl.String), row_index_name=ROW, include_file_paths=PATH if folders else None
    )
    lists = [_as_list(pl.col(name)) for name, is_list in seen.items() if is_list]
    lines = pl.scan_lines(plain, glob=False).filter(pl.col("line").str.strip_chars() != "").select(pl.len())
    return Source(
        name=str(source),
        frame=with_folder_values(frame.with_columns(lists), plain, folders),
        columns=(*seen, *folders),
        is_text=True,
        place=place_of(files, lambda file: sum(1 for _ in _lines(of[file], options)), place_in),
        check=lambda: int(lines.collect(engine="streaming").item()),
        diagnose=lambda: _diagnose(named, options),
        has_text_ids=True,
        check_ids=lambda name: _check_ids(named, options, name, is_list=seen[name]),
        held=held,
    )


def _as_list(column: pl.Expr) -> pl.Expr:
    import polars as pl

    is_list = column.str.starts_with("[")
    decoded = pl.when(is_list).then(column).otherwise(pl.lit("[]")).str.json_decode(pl.List(pl.String))
    return pl.when(is_list.fill_null(True)).then(decoded).otherwise(pl.concat_list(column)).name.keep()


def _sequences(name: str, of_user: dict[str, Any]) -> Source:
    import polars as pl

    items = [json.dumps(list(map(str, values))) for values in of_user.values()]
    frame = pl.DataFrame({"user_id": list(of_user), "item_id": items}).with_columns(
        pl.col("item_id").str.json_decode(pl.List(pl.String))
    )
    return Source(
        name=name,
        frame=frame.with_row_index(ROW).lazy(),
        columns=("user_id", "item_id"),
        is_text=True,
        place=lambda row: f"{name}, user {frame.item(row, 0)!r}",
    )


def _lines(file: Path, options: ReadOptions) -> Iterator[tuple[int, str]]:
    """Yield the nonblank lines with their numbers from 1."""
    with undamaged(file), open_text(file) as stream:
        number = 0
        while line := stream.readline(options.max_line + 1):
            number += 1
            if len(line) > options.max_line:
                raise InputError(
                    f"{file}, line {number} is longer than {options.max_line:,} bytes; raise --max-line, or write one "
                    "object a line."
                )
            if not line.isspace():
                yield number, line


def _objects(file: Path, shown: Path, options: ReadOptions) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in _lines(file, options):
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            if isinstance(error, RecursionError):
                raise InputError(f"{shown}, line {number} is nested too deep; {_DEPTH_ADVICE}") from error
            if line.strip() in ("{", "["):
                raise InputError(
                    f"{shown}, line {number} begins an object of several lines; {_LINES_ADVICE}"
                ) from error
            raise InputError(f"{shown}, line {number} is not JSON ({error}); fix or delete the line.") from error
        if not isinstance(found, dict):
            raise InputError(f"{shown}, line {number} is not a JSON object; {_LINES_ADVICE}")
        yield number, found


def _check_ids(named: dict[Path, Path], options: ReadOptions, name: str, *, is_list: bool) -> None:
    for file, shown in named.items():
        for number, found in _objects(file, shown, options):
            value = found.get(name)
            for one in value if is_list and isinstance(value, list) else [value]:
                if isinstance(one, (list, dict)):
                    kind = "an object" if isinstance(one, dict) else "a list"
                    raise InputError(
                        f"{shown}, line {number}: {name!r} holds {kind}, but ids are numbers or text; "
                        "write its id as a field."
                    )


def _diagnose(named: dict[Path, Path], options: ReadOptions) -> None:
    for file, shown in named.items():
        for _ in _objects(file, shown, options):
            pass


READER = Reader(
    "json",
    "JSON lines, Amazon reviews for example",
    SUFFIXES,
    scan,
    looks_like=lambda head: head.lstrip().startswith(b"{"),
)
