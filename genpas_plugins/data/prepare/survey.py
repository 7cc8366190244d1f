"""First pass: count the ids, find the type of each column, and check the values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from genpas_plugins.data.prepare.tally import Tally
from genpas_plugins.data.source import BATCH_ROWS, ROW, Source
from genpas_plugins.support.errors import InputError

# How dates and times are written in text files; a fraction of a second may follow the seconds.
_DATE_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d")
_INTEGER_TYPES = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)


@dataclass(frozen=True)
class Survey:
    """What the first pass found."""

    user: str
    """Column with the user ids."""
    item: str
    """Column with the item ids."""
    users: pl.DataFrame
    """One row an id, sorted by id: `id`, `key` (the id in the source) and `count` (interactions)."""
    items: pl.DataFrame
    """The same for items."""
    kept: dict[str, pl.Expr]
    """The expression that reads each kept column as a number."""
    n_rows: int
    """Number of interactions."""


def survey(
    source: Source,
    *,
    user: str,
    item: str,
    order: str | None,
    columns: Sequence[str],
    progress: Callable[[int], None],
) -> Survey:
    """Read the source once and check its columns.

    Parameters
    ----------
    source
        The interactions.
    user, item, order, columns
        Columns with ids, with the order, and further columns to keep.
    progress
        Called with the number of rows read.

    Raises
    ------
    InputError
        A column is absent, an id is missing or negative, an order is missing, or a column holds no numbers.
    """
    kept = list(dict.fromkeys([*([] if order is None else [order]), *columns]))
    source.require_columns([user, item, *kept])
    source.check()
    with source.reading():
        schema = source.frame.collect_schema()
        keys = {name: _id_key(source, name, schema[name]) for name in (user, item)}
        wanted = [fact for name in kept for fact in _facts(source, name, schema[name])]
        tallies, batches, n_rows = _count(source, keys, wanted, progress)
        if n_rows == 0:
            raise InputError(f"{source.name} holds no interactions; name a file with rows.")
        facts = pl.concat(batches).sum()
        return Survey(
            user=user,
            item=item,
            users=_numbered(source, tallies[user].counts(), user, keys[user]),
            items=_numbered(source, tallies[item].counts(), item, keys[item]),
            kept={name: _as_number(source, name, schema[name], facts, is_order=name == order) for name in kept},
            n_rows=n_rows,
        )


def _count(
    source: Source, keys: dict[str, pl.Expr], facts: list[pl.Expr], progress: Callable[[int], None]
) -> tuple[dict[str, Tally], list[pl.DataFrame], int]:
    """Return the tallies of the ids, the facts of every batch, and the number of rows."""
    tallies: dict[str, Tally] = {}
    batches: list[pl.DataFrame] = []
    n_rows = 0
    needed = dict.fromkeys([*keys, *(name for fact in facts for name in fact.meta.root_names())])
    frame = source.frame.select(list(needed))
    for batch in frame.collect_batches(chunk_size=BATCH_ROWS, maintain_order=False, engine="streaming"):
        for name, key in keys.items():
            ids = batch.select(key).to_series()
            tallies.setdefault(name, Tally(ids.dtype)).add(ids)
        batches.append(batch.select(pl.lit(0, pl.Int64).alias("nothing"), *(fact.cast(pl.Int64) for fact in facts)))
        n_rows += len(batch)
        progress(n_rows)
    return tallies, batches, n_rows


def _id_key(source: Source, name: str, dtype: pl.DataType) -> pl.Expr:
    """Return the expression that ids are grouped by: integers as int64, text as text."""
    if dtype in (pl.String, pl.UInt64):
        return pl.col(name)
    if dtype in _INTEGER_TYPES:
        return pl.col(name).cast(pl.Int64)
    if isinstance(dtype, (pl.Categorical, pl.Enum)):
        return pl.col(name).cast(pl.String)
    raise InputError(
        f"{source.name}: column {name!r} is of type {dtype}, but ids are integers or text; "
        "convert the column or name another."
    )


def _numbered(source: Source, counts: pl.DataFrame, name: str, key: pl.Expr) -> pl.DataFrame:
    """Sort the distinct ids; raise InputError for one that is missing or negative."""
    is_text = counts.schema["key"] == pl.String
    if counts["key"].has_nulls() or (is_text and (counts["key"] == "").any()):
        missing = key.is_null() | (key == "") if is_text else key.is_null()
        rows, place = _first_row(source, missing)
        raise InputError(
            f"{place}: {name!r} is missing, as in {_rows(rows)} altogether; fill in the ids or drop the rows."
        )
    ids = counts["key"]
    if source.is_text:
        integers = ids.cast(pl.Int64, strict=False)
        # Only where nothing is lost: "07" and "7" are two ids, and so everything stays text.
        if (integers.cast(pl.String) == ids).fill_null(False).all():
            ids = integers
    if ids.dtype != pl.String and int(ids.min()) < 0:  # type: ignore[arg-type]  # polars types min() as any Python value
        negative = key.cast(pl.Int64) < 0
        rows, place = _first_row(source, negative)
        raise InputError(
            f"{place}: {name!r} is negative, as in {_rows(rows)} altogether; ids are 0 or more, or text. "
            "Renumber them or drop the rows."
        )
    return counts.with_columns(id=ids).sort("id")


def _facts(source: Source, name: str, dtype: pl.DataType) -> list[pl.Expr]:
    """Return what is to be counted about a column: values missing, no integers, no numbers."""
    column = pl.col(name)
    if source.is_text:
        present = column.str.strip_chars() != ""
        return [
            (column.is_null() | ~present).sum().alias(f"missing:{name}"),
            (present & _text_to(column, pl.Int64).is_null()).sum().alias(f"not_integer:{name}"),
            (present & _text_to(column, pl.Float64).is_null()).sum().alias(f"not_number:{name}"),
            _text_to(column, pl.Float64).is_nan().sum().alias(f"nan:{name}"),
        ]
    nan = [column.is_nan().sum().alias(f"nan:{name}")] if dtype.is_float() else []
    return [column.is_null().sum().alias(f"missing:{name}"), *nan]


def _text_to(column: pl.Expr, dtype: type[pl.DataType]) -> pl.Expr:
    return column.str.strip_chars().cast(dtype, strict=False)


def _as_number(source: Source, name: str, dtype: pl.DataType, facts: pl.DataFrame, *, is_order: bool) -> pl.Expr:
    """Return the expression that reads a kept column as numbers; raise InputError where it is none or incomplete."""
    column = pl.col(name)
    if source.is_text:
        number = _text_as_number(source, name, facts)
        absent = column.is_null() | (column.str.strip_chars() == "")
        is_float = facts.item(0, f"not_integer:{name}") > 0 and facts.item(0, f"not_number:{name}") == 0
    else:
        absent, is_float = column.is_null(), dtype.is_float()
        if dtype in (*_INTEGER_TYPES, pl.Float32, pl.Float64, pl.Boolean):
            number = column
        elif isinstance(dtype, pl.Datetime) or dtype == pl.Date:
            number = column.cast(pl.Datetime("us")).dt.timestamp("us")
        else:
            raise InputError(
                f"{source.name}: column {name!r} is of type {dtype}; an order or a kept column is of numbers, "
                "booleans, dates or times. Convert it or leave it out."
            )
    if is_float:
        if not is_order:
            return number.fill_null(float("nan"))
        absent = absent | number.is_nan()
    missing = facts.item(0, f"missing:{name}") + (facts.item(0, f"nan:{name}") if is_float else 0)
    if missing:
        _, place = _first_row(source, absent)
        remedy = "order by another column" if is_order else "leave the column out"
        raise InputError(
            f"{place}: {name!r} is missing, as in {_rows(missing)} altogether; "
            f"{remedy}, fill in the values or drop the rows."
        )
    return number


def _text_as_number(source: Source, name: str, facts: pl.DataFrame) -> pl.Expr:
    column = pl.col(name)
    if facts.item(0, f"not_integer:{name}") == 0:
        return _text_to(column, pl.Int64)
    if facts.item(0, f"not_number:{name}") == 0:
        return _text_to(column, pl.Float64)
    present = column.str.strip_chars() != ""
    for form in _DATE_FORMATS:
        time = column.str.strip_chars().str.to_datetime(form, time_unit="us", strict=False)
        if not source.frame.select((present & time.is_null()).any()).collect(engine="streaming").item():
            return time.dt.timestamp("us")
    rows, place = _first_row(source, present & _text_to(column, pl.Float64).is_null())
    line = source.frame.filter(present & _text_to(column, pl.Float64).is_null()).select(name).head(1)
    value = line.collect(engine="streaming").item()
    raise InputError(
        f"{place}: {name!r} is {value!r}, which is no number, as in {_rows(rows)} altogether; "
        "an order or a kept column is of numbers, or in every row a date like "
        "2014-07-23 or 2014-07-23 15:00:00. Fix it or name another column."
    )


def _first_row(source: Source, condition: pl.Expr) -> tuple[int, str]:
    """Return how many rows meet the condition, and the place of the first of them."""
    found = source.frame.filter(condition).select(pl.len(), pl.col(ROW).min()).collect(engine="streaming")
    return int(found.item(0, 0)), source.place(int(found.item(0, 1)))


def _rows(count: int) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"
