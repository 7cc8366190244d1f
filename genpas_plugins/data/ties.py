"""The order of interactions at the same time: the file's, or a random one, so that figures can state their spread.

Amazon's times are days. The last two interactions of 40 to 50 % of the users of its data sets are at the same time, so
the order of ties decides what is tested.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from genpas_plugins.data.sequences import SequenceStore
from genpas_plugins.data.temporal import COLUMN, checked_times


def shuffle_ties(store: SequenceStore, seed: int, *, column: str = COLUMN) -> SequenceStore:
    """Return the store, in memory, with the interactions of a sequence at equal times in a random order.

    Raises InputError as `temporal_split` does for times that are missing or in no order.
    """
    times = checked_times(store, column)
    owner = np.repeat(np.arange(store.n_sequences), store.lengths())
    order = np.lexsort((np.random.default_rng(seed).random(len(times)), times, owner))
    columns = {name: np.asarray(values)[order] for name, values in store.columns.items()}
    values = np.asarray(store.values)[order]
    return replace(store, values=values, columns=columns, path=None)


def tied_last(store: SequenceStore, *, column: str = COLUMN) -> float:
    """Return the share of the sequences of two items or more whose last two interactions are at the same time."""
    times, ends = checked_times(store, column), store.offsets[1:][store.lengths() > 1]
    return float(np.mean(times[ends - 1] == times[ends - 2])) if len(ends) else 0.0
