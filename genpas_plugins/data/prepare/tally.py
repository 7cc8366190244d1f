"""Count how often each id occurs, in memory for the distinct ids only."""

from __future__ import annotations

import polars as pl

FLUSH_ROWS = 4_000_000


class Tally:
    """Counts of the keys added so far.

    Polars' streaming group-by keeps some bytes of every row if most keys are rare: 10⁹ rows would not fit into memory.
    This class folds keys into the counts after `FLUSH_ROWS` keys, or after as many keys as there are distinct ones.
    """

    def __init__(self, dtype: pl.DataType | type[pl.DataType]) -> None:
        self._counts = pl.DataFrame(schema={"key": dtype, "count": pl.UInt64})
        self._pending: list[pl.Series] = []
        self._n_pending = 0

    def add(self, keys: pl.Series) -> None:
        """Count these keys, including nulls."""
        self._pending.append(keys.alias("key"))
        self._n_pending += len(keys)
        if self._n_pending >= max(FLUSH_ROWS, len(self._counts)):
            self._fold()

    def counts(self) -> pl.DataFrame:
        """Return the distinct keys, `key`, in any order, and how often each was added, `count` (uint64)."""
        self._fold()
        return self._counts

    def _fold(self) -> None:
        if not self._pending:
            return
        new = pl.concat(self._pending).to_frame().group_by("key").agg(pl.len().cast(pl.UInt64).alias("count"))
        self._pending, self._n_pending = [], 0
        self._counts = pl.concat([self._counts, new]).group_by("key").agg(pl.col("count").sum())
