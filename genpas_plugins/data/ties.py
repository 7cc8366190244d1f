"""The order of interactions at the same time: the file's, or a random one, so that figures can state their spread.

Amazon's times are days. The last two interactions of 40 to 50 % of the users of its data sets are at the same time, so
the order of ties decides what is tested. The word of an order is `file`, or `random:SEED` for a random one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from genpas_plugins.data.sequences import SequenceStore
from genpas_plugins.data.temporal import COLUMN, checked_times
from genpas_plugins.support.array_types import Int64, UInt64
from genpas_plugins.support.errors import InputError, nearest

FILE, RANDOM = "file", "random"


def parse_ties(word: str) -> int | None:
    """Return the seed of the word `random:SEED`; None for `file`. Raises InputError for another word.

    >>> parse_ties("random:1")
    1
    """
    kind, _, seed = word.partition(":")
    if word == FILE:
        return None
    if kind != RANDOM:
        raise InputError(f"the order of ties {word!r} is not a choice.{nearest(kind, (FILE, RANDOM))}")
    if not (seed.isascii() and seed.isdigit()) or int(seed) >= 1 << 63:
        raise InputError(f"the order of ties {word!r} has no seed. Write {RANDOM}:SEED, as {RANDOM}:1.")
    return int(seed)


def tie_keys(rows: Int64, seed: int) -> UInt64:
    """Return a random number of each row of a file, uint64 [n], to sort ties by: SplitMix64 (OOPSLA 2014)."""
    key = (np.asarray(rows).astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        key = (key ^ (key >> np.uint64(shift)) ^ np.uint64(seed)) * np.uint64(factor)
    return np.asarray(key ^ (key >> np.uint64(31)))


def shuffle_ties(store: SequenceStore, seed: int, *, column: str = COLUMN) -> SequenceStore:
    """Return the store, in memory, with the interactions of a sequence at equal times in a random order.

    The file that `genpas export-recbole` writes of the store has this order under `genpas: {ties: random:SEED}`.
    Raises InputError as `temporal_split` does for times that are missing or in no order.
    """
    times = checked_times(store, column)
    owner = np.repeat(np.arange(store.n_sequences), store.lengths())
    order = np.lexsort((tie_keys(np.arange(len(times)), seed), times, owner))
    columns = {name: np.asarray(values)[order] for name, values in store.columns.items()}
    values = np.asarray(store.values)[order]
    return replace(store, values=values, columns=columns, path=None)


def tied_last(store: SequenceStore, *, column: str = COLUMN) -> float:
    """Return the share of the sequences of two items or more whose last two interactions are at the same time."""
    times, ends = checked_times(store, column), store.offsets[1:][store.lengths() > 1]
    return float(np.mean(times[ends - 1] == times[ends - 2])) if len(ends) else 0.0
