"""Numba twins of the passes over interactions: the same names, arguments and sums up to rounding.

Each twin is one loop over sequences and targets. `nogil` lets threads run at the same time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from genpas_plugins.analysis.evaluation_profiles import EvaluationProfiles, SharedItems
from genpas_plugins.analysis.target_positions import TargetWeights
from genpas_plugins.data.sequences import PAIR_ITEMS, SequenceView
from genpas_plugins.support.array_types import Float64

_compiled = njit(cache=True, nogil=True, boundscheck=False)


def add_weights(view: SequenceView, weights: TargetWeights, rows: slice, mass: Float64) -> None:
    """Twin of `genpas_plugins.analysis.target_distribution.add_weights`."""
    store = view.store
    _add_weights(
        np.asarray(store.values),
        np.asarray(store.offsets[:-1][rows]),
        view.lengths(rows),
        weights.scale,
        weights.power,
        weights.last,
        mass,
    )


def add_profiles(
    view: SequenceView, weights: TargetWeights, rows: slice, factor: Float64, features: Float64, table: Float64
) -> None:
    """Twin of `genpas_plugins.analysis.alignment.add_profiles`."""
    store = view.store
    _add_profiles(
        np.asarray(store.values),
        np.asarray(store.offsets[:-1][rows]),
        view.lengths(rows),
        weights.scale,
        weights.power,
        weights.last,
        factor,
        features,
        table,
    )


def find_shared(view: SequenceView, rows: slice, profiles: EvaluationProfiles) -> SharedItems:
    """Twin of `genpas_plugins.analysis.evaluation_profiles.find_shared` in another order."""
    store = view.store
    arguments: list[Any] = [
        np.asarray(store.values),
        np.asarray(store.offsets[:-1][rows]),
        view.lengths(rows),
        profiles.bounds,
        profiles.feature,
        profiles.weight,
        profiles.length,
        profiles.n_items + 1 if profiles.positional else 0,
    ]
    find: Any = _find_shared
    # Counted first, then written, as their number is unknown.
    found = _room(find(*arguments, *_room(0)))
    find(*arguments, *found)
    return found


def _room(n: int) -> SharedItems:
    length, position, distance, target = (np.empty(n, np.int64) for _ in range(4))
    return SharedItems(length, position, distance, target, np.empty(n))


@_compiled
def _add_weights(values: Any, offsets: Any, lengths: Any, scale: Any, power: Any, last: Any, mass: Any) -> None:
    for s in range(len(lengths)):
        n = lengths[s]
        if n < PAIR_ITEMS:
            continue
        first, weight = offsets[s], scale[n]
        for t in range(n - 1 if last else 1, n):
            mass[values[first + t]] += weight * power[t]


@_compiled
def _add_profiles(
    values: Any, offsets: Any, lengths: Any, scale: Any, power: Any, last: Any, factor: Any, features: Any, table: Any
) -> None:
    longest = table.shape[1]
    for s in range(len(lengths)):
        n = lengths[s]
        if n < PAIR_ITEMS:
            continue
        first, weight = offsets[s], scale[n]
        for t in range(n - 1 if last else 1, n):
            place = first + t
            share = weight * power[t] * factor[values[place]]
            for d in range(min(t, longest)):
                table[t, d] += share * features[d % len(features), values[place - 1 - d]]


@_compiled
def _find_shared(
    values: Any,
    offsets: Any,
    lengths: Any,
    bounds: Any,
    features: Any,
    weights: Any,
    longest: Any,
    stride: Any,
    length: Any,
    position: Any,
    distance: Any,
    target: Any,
    weight: Any,
) -> Any:
    count, room = 0, len(length)
    for s in range(len(lengths)):
        first = offsets[s]
        for t in range(1, lengths[s]):
            y = values[first + t]
            begin, end = bounds[y], bounds[y + 1]
            if begin == end:
                continue
            for d in range(min(t, longest)):
                feature = values[first + t - 1 - d] + d * stride
                low, high = begin, end
                while low < high:
                    middle = (low + high) >> 1
                    if features[middle] < feature:
                        low = middle + 1
                    else:
                        high = middle
                if low < end and features[low] == feature:
                    if count < room:
                        length[count], position[count], distance[count] = lengths[s], t, d
                        target[count], weight[count] = y, weights[low]
                    count += 1
    return count
