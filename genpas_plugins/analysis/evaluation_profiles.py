"""The histories of the evaluation pairs summed by target. They do not depend on the policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from genpas_plugins.analysis.similarity import Similarity
from genpas_plugins.analysis.target_positions import occurrences, row_chunks
from genpas_plugins.data.sequences import SequenceView
from genpas_plugins.sampling.backend import choose_backend, implementation
from genpas_plugins.sampling.jagged import spans
from genpas_plugins.support.array_types import Float64, Int64

_COMPILED = "genpas_plugins.analysis.pass_kernels"


@dataclass(frozen=True, eq=False)
class EvaluationProfiles:
    """Weights of the evaluation histories summed over the pairs of each target.

    A feature is an item. For a positional similarity it is an item at a distance: item + d · (n_items + 1).
    """

    bounds: Int64  # int64 [n_items + 2]; target y has the entries bounds[y] … bounds[y + 1] - 1
    feature: Int64  # int64 [entries], ascending for each target
    weight: Float64  # float64 [entries], Σ a(m, d) over the histories of the target
    pairs: Int64  # int64 [n_items + 1], number of evaluation pairs of each target
    length: int  # length of the similarity
    positional: bool  # whether the similarity is positional

    @classmethod
    def of(cls, evaluation: SequenceView, similarity: Similarity) -> EvaluationProfiles:
        """Sum the last pairs of the sequences of a view. Raises InputError if the similarity is not bilinear."""
        weights, store = similarity.evaluation_table(), evaluation.store
        store.check_content()
        pairs = evaluation.last_pairs()
        target_place = store.offsets[pairs.sequence] + pairs.target
        target = store.values[target_place].astype(np.int64)
        kept = np.minimum(pairs.target, similarity.length)
        rows = np.repeat(np.arange(len(kept)), kept)
        distance = spans(0, kept)
        item = store.values[target_place[rows] - 1 - distance].astype(np.int64)
        size = store.n_items + 1
        feature = item + distance * size if similarity.positional else item
        n_features = size * (similarity.length if similarity.positional else 1)
        keys, entry = np.unique(target[rows] * n_features + feature, return_inverse=True)
        return cls(
            bounds=np.searchsorted(keys, np.arange(size + 1) * n_features),
            feature=keys % n_features,
            weight=np.bincount(entry, weights[kept[rows], distance], minlength=len(keys)).astype(np.float64),
            pairs=np.bincount(target, minlength=size),
            length=similarity.length,
            positional=similarity.positional,
        )

    @property
    def n_items(self) -> int:
        """Number of items."""
        return len(self.pairs) - 1

    def total(self) -> Float64:
        """Return the sum of the targets' mean profiles: `float64 [1, n_items + 1]` or L rows if positional."""
        target = np.repeat(np.arange(self.n_items + 1), np.diff(self.bounds))
        depth = self.length if self.positional else 1
        mean = np.bincount(self.feature, self.weight / self.pairs[target], minlength=depth * (self.n_items + 1))
        return mean.astype(np.float64).reshape(depth, -1)


class SharedItems(NamedTuple):
    """Items `[n]` of a training history that an evaluation history of the same target also has."""

    length: Int64  # length of the training sequence
    position: Int64  # position of the target in the sequence
    distance: Int64  # number of items between the shared item and the target
    target: Int64  # item number of the target
    weight: Float64  # weight of the shared item in the target's evaluation profile


def shared_items(view: SequenceView, profiles: EvaluationProfiles) -> SharedItems:
    """Find the shared items of the full histories in `view` after the similarity's cut."""
    find = implementation(find_shared, choose_backend(), _COMPILED)
    parts = [find(view, chunk, profiles) for chunk in row_chunks(view)]
    return SharedItems(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def find_shared(view: SequenceView, rows: slice, profiles: EvaluationProfiles) -> SharedItems:
    """Find the shared items of these rows."""
    size = profiles.n_items + 1
    n_features = size * (profiles.length if profiles.positional else 1)
    keys = np.repeat(np.arange(size), np.diff(profiles.bounds)) * n_features + profiles.feature
    values, found = view.store.values, occurrences(view, rows)
    target = values[found.place].astype(np.int64)
    wanted = profiles.pairs[target] > 0
    place, position, length, target = (array[wanted] for array in (*found, target))
    parts = []
    for d in range(profiles.length):
        deep = np.flatnonzero(position > d)
        if not len(deep):
            break
        feature = values[place[deep] - 1 - d] + (d * size if profiles.positional else 0)
        key = target[deep] * n_features + feature
        entry = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
        hit = keys[entry] == key
        deep, entry = deep[hit], entry[hit]
        parts.append(
            SharedItems(length[deep], position[deep], np.full(len(deep), d), target[deep], profiles.weight[entry])
        )
    if not parts:
        none = np.empty(0, np.int64)
        return SharedItems(none, none, none, none, np.empty(0))
    return SharedItems(*(np.concatenate(column) for column in zip(*parts, strict=True)))
