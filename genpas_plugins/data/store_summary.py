"""Figures of a store that need no pass over its interactions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from genpas_plugins.data.lengths import LengthIndex
from genpas_plugins.data.sequences import SequenceStore
from genpas_plugins.data.storage import STORE, read_history


def summarize_store(path: Path) -> dict[str, Any]:
    """Return counts, lengths, columns, id types and size of the store in directory `path`.

    All values are JSON types. Raises InputError as `SequenceStore.open` does.
    """
    store = SequenceStore.open(path)
    return {
        "store": str(path),
        "format_version": STORE.version,
        "users": store.n_sequences,
        "items": store.n_items,
        "interactions": store.n_interactions,
        "lengths": length_summary(store.index()),
        "users_with_training_pair": int(store.leave_last_out().train.groups.size.sum()),
        "user_id_type": "row number" if store.user_ids is None else str(store.user_ids.type),
        "item_id_type": "item number" if store.item_ids is None else str(store.item_ids.type),
        "columns": {
            name: {"dtype": str(column.dtype), "shape": list(column.shape[1:])}
            for name, column in store.columns.items()
        },
        "values_dtype": str(store.values.dtype),
        "history": read_history(path),
        "bytes": sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
    }


def length_summary(index: LengthIndex) -> dict[str, float] | None:
    """Return min, median, mean and max of the lengths, or None without sequences."""
    n = int(index.counts.sum())
    if n == 0:
        return None
    # The one or two sequences in the middle, found in the groups of equal length.
    middle = np.searchsorted(np.cumsum(index.counts), [(n - 1) // 2, n // 2], side="right")
    return {
        "min": int(index.lengths[0]),
        "median": float(index.lengths[middle].mean()),
        "mean": float(index.lengths @ index.counts / n),
        "max": int(index.lengths[-1]),
    }
