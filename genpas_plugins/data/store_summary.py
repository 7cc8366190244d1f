"""Figures of a store that need no pass over its interactions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from genpas_plugins.data.lengths import LengthIndex
from genpas_plugins.data.sequences import SequenceStore
from genpas_plugins.data.storage import STORE, read_history


def summarize_store(path: Path) -> dict[str, Any]:
    """Return what `genpas inspect` prints of the store in directory `path`.

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
        **training_pairs(store),
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
    """Return min, median, mean and max of the lengths; None without sequences."""
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


def training_pairs(store: SequenceStore) -> dict[str, Any]:
    """Return the users with a training pair, and the pairs of each enumerated strategy, after leave-last-out."""
    train = store.leave_last_out().train
    groups = [(int(length), int(count)) for length, _, count in zip(*train.groups, strict=True)]
    users = sum(count for _, count in groups)
    return {
        "users_with_training_pair": users,
        "training_pairs": {
            "last_target": users,
            "multi_target": train.n_pairs,
            "slide_window": sum(count * (length * (length - 1) // 2) for length, count in groups),
        },
    }
