"""Count how often each id occurs in memory for the distinct ids only."""

from __future__ import annotations

import polars as pl

FLUSH_ROWS = 4_000_000
PARTS = 32
_SAMPLE = 256  # sampled values a part; its bounds are theirs


class Tally:
    """Counts of the keys added so far.

    Polars' streaming group-by keeps some bytes of every row if most keys are rare: 10⁹ rows would not fit into
    memory. This class folds keys into the counts after `FLUSH_ROWS` keys or after half as many keys as there are
    distinct ones. A fold works on one part of the keys at a time because a group-by needs a multiple of its table.
    """

    def __init__(self, dtype: pl.DataType | type[pl.DataType]) -> None:
        self._empty = pl.DataFrame(schema={"key": dtype, "count": pl.UInt64})
        self._counts: list[pl.DataFrame] = []
        self._pending: list[pl.Series] = []
        self._n_pending = self._n_distinct = 0

    def add(self, keys: pl.Series) -> None:
        """Count these keys including nulls."""
        self._pending.append(keys.alias("key"))
        self._n_pending += len(keys)
        if self._n_pending >= max(FLUSH_ROWS, self._n_distinct // 2):
            self._fold()

    def counts(self) -> pl.DataFrame:
        """Return the distinct keys `key` in any order and how often each was added as `count` (uint64)."""
        self._fold()
        return pl.concat(self._counts or [self._empty])

    def _fold(self) -> None:
        if not self._pending:
            return
        new = pl.concat(self._pending)
        self._pending, self._n_pending = [], 0
        self._counts = self._counts or [self._empty] * (PARTS if len(new) >= FLUSH_ROWS else 1)
        part = (new.hash() % len(self._counts)).cast(pl.UInt8)
        for number, known in enumerate(self._counts):
            keys = new.filter(part == number).to_frame()
            more = keys.group_by("key").agg(pl.len().cast(pl.UInt64).alias("count"))
            self._counts[number] = pl.concat([known, more]).group_by("key").agg(pl.col("count").sum())
        self._n_distinct = sum(map(len, self._counts))


def sort_by(table: pl.DataFrame, name: str) -> pl.DataFrame:
    """Sort a table by one column in ranges of values because a sort needs a multiple of what it sorts."""
    n_parts = PARTS if len(table) >= FLUSH_ROWS else 1
    sample = table[name].gather_every(len(table) // (n_parts * _SAMPLE) + 1).sort()
    bounds = sample.gather_every(len(sample) // n_parts + 1)[1:]
    part = bounds.search_sorted(table[name], side="right").cast(pl.UInt8)
    return pl.concat([table.filter(part == number).sort(name) for number in range(len(bounds) + 1)])
