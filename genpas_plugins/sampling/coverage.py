"""The share of the data that one epoch of a stream trains on: counted by a pass over its addresses."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from genpas_plugins.sampling.jagged import spans
from genpas_plugins.sampling.protocol import Stream
from genpas_plugins.support.array_types import Float64, Int64

COUNTED = 2**20
"""Targets of the largest epoch that is counted."""
_CHUNK = 2**14


class Coverage(NamedTuple):
    """Counts of the first epoch.

    Attributes
    ----------
    distinct_users : sequences with a trained target
    distinct_pairs : trained choices of sequence and target
    effective_targets : (Σ w)² / Σ w² of the weights w of all trained targets; with even weights their number
    """

    distinct_users: int
    distinct_pairs: int
    effective_targets: float


def coverage(stream: Stream) -> Coverage | None:
    """Count the first epoch of a stream; None for an epoch of more than `COUNTED` targets."""
    if stream.pairs_per_epoch > COUNTED:
        return None
    parts = [
        _targets(stream, np.arange(first, min(first + _CHUNK, stream.size))) for first in range(0, stream.size, _CHUNK)
    ]
    sequence, rows, weight = (np.concatenate(part) for part in zip(*parts, strict=True))
    effective = float(weight.sum() ** 2 / (weight**2).sum())
    return Coverage(len(np.unique(sequence)), len(np.unique(rows)), effective)


def _targets(stream: Any, indices: Int64) -> tuple[Int64, Int64, Float64]:
    """Return sequence, store row and weight of every trained target."""
    offsets = stream.view.store.offsets
    if stream.unit == "pairs":
        pairs = stream.pairs(0, indices)
        return pairs.sequence, offsets[pairs.sequence] + pairs.target, np.ones(len(indices))
    pairs, first, weights, _ = stream.windows(0, indices)
    count = pairs.target + 1 - first
    return np.repeat(pairs.sequence, count), spans(offsets[pairs.sequence] + first, count), weights.astype(np.float64)
