"""First pass: count the ids, find the type of each column and check the values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import polars as pl

from genpas_plugins.data.ids import NULL_WORDS
from genpas_plugins.data.prepare.numbers import Numbers, rows_text, text_numbers, typed
from genpas_plugins.data.prepare.tally import Tally, sort_by
from genpas_plugins.data.source import BATCH_ROWS, ROW, Source
from genpas_plugins.support.errors import InputError

_INTEGER_TYPES = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)
_PLACE = 1 << 32  # more items than a list in one row has


@dataclass(frozen=True)
class Wanted:
    """What is read of a source."""

    user: str
    """Column with the user ids."""
    item: str
    """Column with the item ids."""
    order: tuple[str, ...] = ()
    """Columns that sort a user's interactions, the most important first."""
    columns: tuple[str, ...] = ()
    """Further columns to keep."""
    time_format: str | None = None
    """How the columns of `order` are written, for `strptime`."""
    null_values: tuple[str, ...] = ()
    """Ids that mean a missing value: their rows are dropped."""
    strip: bool = False
    """Whether blanks around ids are removed."""


@dataclass(frozen=True)
class Survey:
    """What the first pass found."""

    wanted: Wanted
    """The columns."""
    frame: pl.LazyFrame
    """The rows that are kept."""
    users: pl.DataFrame
    """One row an id, sorted by id: `id`, `key` (the id in the source) and `count` (interactions, unsigned)."""
    items: pl.DataFrame
    """The same for items."""
    kept: dict[str, pl.Expr]
    """The expression that reads each kept column as a number."""
    keys: dict[str, pl.Expr]
    """The expressions to sort by, under names of `kept` where they are the same."""
    n_rows: int
    """Number of interactions."""
    notes: list[str] = field(default_factory=list)
    """What the user must know about the rows."""


def survey(source: Source, wanted: Wanted, progress: Callable[[int], None]) -> Survey:
    """Read the source once and check its columns. `progress` is called with the number of rows read.

    Raises
    ------
    InputError
        A column is absent or holds no numbers. An id is missing or negative or an order is missing. Two ways of
        counting the rows differ.
    """
    names = list(dict.fromkeys([*wanted.order, *wanted.columns]))
    if wanted.user == wanted.item:
        raise InputError(f"User and item are both the column {wanted.user!r}; name two columns.")
    source.require_columns([wanted.user, wanted.item, *names])
    n_checked = source.check()
    with source.reading():
        source, exploded = _one_item_a_row(source, wanted)
        schema = source.frame.collect_schema()
        used = list(dict.fromkeys([wanted.user, wanted.item, *names]))
        ids = [name for name in (wanted.user, wanted.item) if schema[name] == pl.String]
        blank = pl.all_horizontal(_is_blank(name, schema[name]) for name in used) if source.is_text else pl.lit(False)
        if wanted.strip:
            source = replace(source, frame=source.frame.with_columns(pl.col(ids).str.strip_chars()))
        null = pl.any_horizontal(
            pl.lit(False), *(pl.col(name).is_in(wanted.null_values).fill_null(False) for name in ids)
        )
        keys = {name: _id_key(source, name, schema[name]) for name in (wanted.user, wanted.item)}
        numbers = {name: typed(source, name, schema[name]) for name in names}
        facts = [fact for name in names for fact in _facts(name, numbers[name])]
        dropping = source.is_text or wanted.null_values
        tallies, batches, n_rows, n_null = _count(source, keys, facts, (blank, null) if dropping else None, progress)
        if n_checked is not None and not exploded and n_checked != n_rows + n_null:
            source.diagnose()
            raise InputError(
                f"{source.name}: {n_rows + n_null} rows are read where {n_checked} are counted; "
                "check the quotes, line ends and empty rows of the file."
            )
        if n_rows == 0:
            raise InputError(f"{source.name} holds no interactions; name a file with rows.")
        frame = source.frame.filter(~blank & ~null) if dropping else source.frame
        source = replace(source, frame=frame)
        counts = pl.concat(batches).sum()
        sides = [
            # Rechunked here, where the unsorted counts are gone.
            _number(source, tallies.pop(name).counts(), name, keys[name]).rechunk()
            for name in (wanted.user, wanted.item)
        ]
        read = {name: _numbers(source, name, numbers[name], counts, wanted) for name in names}
    kept = {name: numbers.value for name, numbers in read.items()}
    sort_keys: dict[str, pl.Expr] = {}
    for name in wanted.order:
        first, *others = read[name].keys
        same = first.meta.eq(kept[name])
        sort_keys |= {name if same else f"__key 0 {name}__": first}
        sort_keys |= {f"__key {number} {name}__": key for number, key in enumerate(others, start=1)}
    notes = [*source.notes]
    if n_null:
        notes.append(f"{rows_text(n_null)} with an id out of {', '.join(wanted.null_values)} are dropped.")
    for name, side in zip((wanted.user, wanted.item), sides, strict=True):
        notes += _odd_ids(name, side)
    users, items = sides
    return Survey(wanted, frame, users, items, kept, sort_keys, n_rows, notes)


def _one_item_a_row(source: Source, wanted: Wanted) -> tuple[Source, bool]:
    """Unfold a column of lists of items and the lists in other columns. The place of a list is in the high bits."""
    schema = source.frame.collect_schema()
    if not isinstance(schema[wanted.item], pl.List):
        return source, False
    used = dict.fromkeys([wanted.item, wanted.user, *wanted.order, *wanted.columns])
    lists = [name for name in used if isinstance(schema[name], pl.List)]
    place = pl.int_ranges(0, pl.col(wanted.item).list.len()).alias("__place__")
    for name in lists[1:]:  # the first is the items
        uneven = pl.col(name).list.len() != pl.col(wanted.item).list.len()
        n_uneven, where = _first_row(source, uneven.fill_null(pl.col(wanted.item).list.len() > 0))
        if n_uneven:
            raise InputError(
                f"{where}: the list {name!r} is of another length than {wanted.item!r}, as in {rows_text(n_uneven)} "
                "altogether; fix the rows."
            )
    frame = source.frame.select(ROW, *used).with_columns(place).filter(pl.col("__place__").list.len() > 0)
    row = pl.col(ROW).cast(pl.UInt64) * _PLACE + pl.col("__place__").cast(pl.UInt64)
    frame = frame.explode(*lists, "__place__").with_columns(row).drop("__place__")
    return replace(source, frame=frame, place=lambda row: source.place(row // _PLACE)), True


def _is_blank(name: str, dtype: pl.DataType) -> pl.Expr:
    return pl.col(name).is_null() | (pl.col(name) == "") if dtype == pl.String else pl.col(name).is_null()


def _count(
    source: Source,
    keys: dict[str, pl.Expr],
    facts: list[pl.Expr],
    dropped: tuple[pl.Expr, pl.Expr] | None,
    progress: Callable[[int], None],
) -> tuple[dict[str, Tally], list[pl.DataFrame], int, int]:
    """Return the tallies of the ids, the facts of every batch and the numbers of rows with and without an id."""
    tallies: dict[str, Tally] = {}
    batches: list[pl.DataFrame] = []
    n_rows = n_null = 0
    needed = dict.fromkeys([*keys, *(name for fact in facts for name in fact.meta.root_names())])
    frame = source.frame.select(list(needed))
    for part in frame.collect_batches(chunk_size=BATCH_ROWS, maintain_order=False, engine="streaming"):
        batch = part
        if dropped is not None:
            batch = part.filter(~dropped[0])
            n_present = len(batch)
            batch = batch.filter(~dropped[1])
            n_null += n_present - len(batch)
        for name, key in keys.items():
            ids = batch.select(key).to_series()
            tallies.setdefault(name, Tally(ids.dtype)).add(ids)
        batches.append(batch.select(pl.lit(0, pl.Int64).alias("nothing"), *(fact.cast(pl.Int64) for fact in facts)))
        n_rows += len(batch)
        progress(n_rows)
    return tallies, batches, n_rows, n_null


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


def _number(source: Source, counts: pl.DataFrame, name: str, key: pl.Expr) -> pl.DataFrame:
    """Sort the distinct ids; raise InputError for one that is missing or negative."""
    is_text = counts.schema["key"] == pl.String
    if counts["key"].has_nulls() or (is_text and (counts["key"] == "").any()):
        missing = key.is_null() | (key == "") if is_text else key.is_null()
        rows, place = _first_row(source, missing)
        raise InputError(
            f"{place}: {name!r} is missing, as in {rows_text(rows)} altogether; fill in the ids or drop the rows."
        )
    ids = counts["key"]
    if source.has_text_ids and ids.str.contains(r"^[\[{]").any():
        source.check_ids(name)
    if source.is_text and not source.has_text_ids:
        integers = ids.cast(pl.Int64, strict=False)
        # Only where nothing is lost: "07" and "7" are two ids, and so everything stays text.
        if (integers.cast(pl.String) == ids).fill_null(False).all():
            ids = integers
    if ids.dtype != pl.String and int(ids.min()) < 0:  # type: ignore[arg-type]  # polars types min() as any Python value
        negative = key.cast(pl.Int64) < 0
        rows, place = _first_row(source, negative)
        raise InputError(
            f"{place}: {name!r} is negative, as in {rows_text(rows)} altogether; ids are 0 or more, or text. "
            "Renumber them or drop the rows."
        )
    if int(counts["count"].max()) < 1 << 32:  # type: ignore[arg-type]  # as for min()
        counts = counts.with_columns(pl.col("count").cast(pl.UInt32))
    if counts.schema["key"] == ids.dtype:
        del ids  # sorted without a copy of the keys
        return sort_by(counts, "key").with_columns(id="key")
    return sort_by(counts.with_columns(id=ids), "id")


def _odd_ids(name: str, side: pl.DataFrame) -> list[str]:
    """Return a note for words that mean a missing value elsewhere and for blanks around ids."""
    if side.schema["id"] != pl.String:
        return []
    notes = []
    words = side.filter(pl.col("id").is_in(NULL_WORDS))
    if len(words):
        found = words["id"].to_list()
        notes.append(
            f"{name!r} is a word for a missing value ({', '.join(found)}) in {rows_text(int(words['count'].sum()))}; "
            f"--null-values {','.join(found)} drops them."
        )
    stripped = side.with_columns(bare=pl.col("id").str.strip_chars()).filter(pl.col("bare") != pl.col("id"))
    if len(stripped):
        twins = int(stripped["bare"].is_in(side["id"].implode()).sum())
        notes.append(
            f"{name!r} begins or ends with a blank in {rows_text(int(stripped['count'].sum()))}; "
            f"{twins} of these {len(stripped)} ids are ids without the blank as well. --strip removes blanks."
        )
    return notes


def _facts(name: str, numbers: Numbers | None) -> list[pl.Expr]:
    """Return what is counted about a column: missing values and texts that are no integers."""
    if numbers is not None:
        return [numbers.absent.sum().alias(f"missing:{name}")]
    text = pl.col(name).cast(pl.String).str.strip_chars()
    return [
        (text.is_null() | (text == "") | (text.cast(pl.Float64, strict=False).is_nan())).sum().alias(f"missing:{name}"),
        ((text != "") & text.cast(pl.Int64, strict=False).is_null()).sum().alias(f"not_integer:{name}"),
    ]


def _numbers(source: Source, name: str, numbers: Numbers | None, facts: pl.DataFrame, wanted: Wanted) -> Numbers:
    """Return how a column is read; raise InputError where it is incomplete."""
    is_order = name in wanted.order
    missing = int(facts.item(0, f"missing:{name}"))
    if numbers is None:
        is_integer = facts.item(0, f"not_integer:{name}") == 0
        time_format = wanted.time_format if is_order else None
        numbers = text_numbers(source, source.frame, name, is_integer=is_integer, time_format=time_format)
    is_float = source.frame.select(numbers.value).collect_schema().dtypes()[0].is_float()
    if missing and not is_order and is_float:
        return replace(numbers, value=numbers.value.fill_null(float("nan")))
    if missing:
        _, place = _first_row(source, numbers.absent)
        remedy = (
            "order by another column, keep the order of the file with --file-order"
            if is_order
            else "leave the column out"
        )
        raise InputError(
            f"{place}: {name!r} is missing, as in {rows_text(missing)} altogether; "
            f"{remedy}, fill in the values or drop the rows."
        )
    return numbers


def _first_row(source: Source, condition: pl.Expr) -> tuple[int, str]:
    """Return how many rows meet the condition and the place of the first."""
    found = source.frame.filter(condition).select(pl.len(), pl.col(ROW).min()).collect(engine="streaming")
    return int(found.item(0, 0)), source.place(found.item(0, 1) or 0)
