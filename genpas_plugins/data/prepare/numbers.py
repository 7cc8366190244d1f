"""Columns as numbers: what the store keeps and keys that sort as exactly as the source is written."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from genpas_plugins.data.source import ROW, Source
from genpas_plugins.support.errors import InputError

_INTEGERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)
# Integer part and at most 18 digits after the point: both fit into 64 bits.
_DECIMAL = r"^([+-]?)0*(\d{0,19})(?:\.(\d{0,18})0*)?$"
_DIGITS_OF_A_FLOAT = 17
_ZONE = r"[+-]\d\d:\d\d$"
_TIME = "%Y-%m-%d %H:%M:%S%.f%:z"


@dataclass(frozen=True)
class Numbers:
    """How a column is read."""

    value: pl.Expr
    """What the store keeps."""
    keys: tuple[pl.Expr, ...]
    """What rows are sorted by, the most important first."""
    absent: pl.Expr
    """Whether a row has no value."""


@dataclass(frozen=True)
class Reading:
    """A way to read texts: the texts it can read, the value and the keys."""

    known: pl.Expr
    value: pl.Expr
    keys: tuple[pl.Expr, ...]


def readings(column: pl.Expr, time_format: str | None) -> list[Reading]:
    """Return the ways to read a column of text. The first that knows all texts is right."""
    text = column.str.strip_chars()
    if time_format is not None:
        return [_time(text, text.str.to_datetime(time_format, time_unit="us", strict=False))]
    ways = []
    for kind in (pl.Int64, pl.UInt64):
        number = text.cast(kind, strict=False)
        ways.append(Reading(number.is_not_null(), number, (number,)))
    number = text.cast(pl.Float64, strict=False)
    sign = pl.when(text.str.starts_with("-")).then(-1).otherwise(1)
    whole = ("0" + text.str.extract(_DECIMAL, 2)).cast(pl.Int64, strict=False)
    part = text.str.extract(_DECIMAL, 3).fill_null("").str.pad_end(18, "0").cast(pl.Int64)
    is_decimal = whole.is_not_null() & number.is_not_null()
    ways.append(Reading(is_decimal, number, (sign * whole, sign * part)))
    digits = text.str.replace(r"[eE].*$", "").str.replace_all(r"[^\d]", "").str.strip_chars_start("0").str.len_chars()
    ways.append(Reading(number.is_not_null() & (digits <= _DIGITS_OF_A_FLOAT), number, (number,)))
    lower = text.str.to_lowercase()
    truth = lower == "true"
    ways.append(Reading(truth | (lower == "false"), truth, (truth,)))
    clock = (
        text.str.replace(r"^(\d{4}-\d\d-\d\d)$", "$1 00:00:00")
        .str.replace(r"^(\d{4}-\d\d-\d\d)T", "$1 ")
        .str.replace(r" ?(Z|UTC)$", "+00:00")
        .str.replace(r"(:\d\d(?:\.\d+)?) ?([+-]\d\d):?(\d\d)?$", "$1$2:$3")
        .str.replace(r"([+-]\d\d:)$", "${1}00")
        .str.replace(r"^(\S+ \d\d:\d\d)([+-]\d\d:\d\d)?$", "$1:00$2")
    )
    zoned = clock.str.contains(_ZONE)
    for has_zone, full in ((zoned, clock), (~zoned, clock + "+00:00")):
        way = _time(text, full.str.to_datetime(_TIME, time_unit="us", strict=False))
        ways.append(Reading(way.known & has_zone, way.value, way.keys))
    return ways


def _time(text: pl.Expr, moment: pl.Expr) -> Reading:
    # Microseconds reach from year 1 to 9999; the digits after them are a key of their own.
    nanoseconds = text.str.extract(r"\.\d{6}(\d{1,3})").fill_null("").str.pad_end(3, "0").cast(pl.Int16)
    microseconds = moment.dt.timestamp("us")
    return Reading(moment.is_not_null(), microseconds, (microseconds, nanoseconds))


def typed(source: Source, name: str, dtype: pl.DataType) -> Numbers | None:
    """Return how a column of numbers, booleans or times is read. None for text and decimals."""
    column = pl.col(name)
    if isinstance(dtype, pl.Decimal) or dtype == pl.String:
        return None
    if dtype in (*_INTEGERS, pl.Boolean):
        return Numbers(column, (column,), column.is_null())
    if dtype.is_float():
        value = column.cast(pl.Float64) if dtype not in (pl.Float32, pl.Float64) else column
        return Numbers(value.fill_null(float("nan")), (value,), column.is_null() | column.is_nan())
    if isinstance(dtype, pl.Datetime) or dtype == pl.Date:
        value = column.cast(pl.Datetime("us")).dt.timestamp("us")
        return Numbers(value, (column.to_physical(),), column.is_null())
    if dtype.is_temporal():  # a time of the day or a duration
        return Numbers(column.to_physical(), (column.to_physical(),), column.is_null())
    raise InputError(
        f"{source.name}: column {name!r} is of type {dtype}; an order or a kept column is of numbers, "
        "booleans, dates or times. Convert it or leave it out."
    )


def text_numbers(
    source: Source, frame: pl.LazyFrame, name: str, *, is_integer: bool, time_format: str | None
) -> Numbers:
    """Return how a column of text or decimals is read.

    Parameters
    ----------
    source, frame
        The interactions for messages and as read.
    name
        The column.
    is_integer
        Whether every text is an integer of 64 bits.
    time_format
        Format of times for `strptime`. None: numbers or ISO 8601 dates.

    Raises
    ------
    InputError
        No way of reading knows all texts.
    """
    column = pl.col(name).cast(pl.String)
    present = column.str.strip_chars() != ""
    absent = ~present.fill_null(False)
    ways = readings(column, time_format)
    if not is_integer or time_format is not None:
        unknown = [(present & ~way.known.fill_null(False)).sum().alias(str(n)) for n, way in enumerate(ways)]
        counts = frame.select(unknown).collect(engine="streaming").row(0)
        right = next((number for number, count in enumerate(counts) if count == 0), None)
        if right is None:
            # A number among dates or a date among numbers: most texts are right.
            nearest = ways[min(range(len(ways)), key=lambda number: (counts[number], number))]
            rows = frame.filter(present & ~nearest.known.fill_null(False)).select(ROW, column.alias("text"))
            raise _unknown(source, name, rows.head(1).collect().row(0), min(counts), time_format)
        ways = ways[right:]
    keys = ways[0].keys
    value = ways[0].value
    return Numbers(value, keys, absent | (text_is_nan(column) if len(keys) == 1 else pl.lit(False)))


def text_is_nan(column: pl.Expr) -> pl.Expr:
    """Whether a text is a float that is not a number."""
    return column.str.strip_chars().cast(pl.Float64, strict=False).is_nan().fill_null(False)


def _unknown(source: Source, name: str, first: tuple[int, str], count: int, time_format: str | None) -> InputError:
    row, value = first
    wanted = (
        f"a time of the form {time_format!r}"
        if time_format is not None
        else "a number of at most 17 digits, or in every row a date such as 2014-07-23 or 2014-07-23T15:00:00.5+02:00 "
        "(with a zone in every row or in none)"
    )
    return InputError(
        f"{source.place(row)}: {name!r} is {value!r}, as one of {rows_text(count)}, where an order or a kept column "
        f"needs {wanted}. Fix it, name another column, or give the form with --time-format."
    )


def rows_text(count: int) -> str:
    """Return a number of rows as text."""
    return f"{count} row" if count == 1 else f"{count} rows"
