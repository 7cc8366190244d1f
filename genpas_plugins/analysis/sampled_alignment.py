"""Alignment and discrimination for similarities that are not bilinear: estimated from drawn pairs of histories.

The definitions are in `alignment.py`. Draws are independent and follow the definitions. The means are thus
unbiased.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from genpas_plugins.analysis.alignment_figures import AlignmentDiscrimination, ratio, require_same_items
from genpas_plugins.analysis.similarity import Similarity
from genpas_plugins.analysis.target_positions import TargetWeights, occurrences
from genpas_plugins.data.sequences import Pairs, SequenceView
from genpas_plugins.sampling.gather import gather_padded
from genpas_plugins.sampling.policy import PowerTable, SamplingPolicy
from genpas_plugins.support.array_types import AnyArray, Float64, Int64, Integers
from genpas_plugins.support.errors import InputError, whole_number

_BATCH = 1 << 14  # drawn pairs compared at a time, each with length² truth values in memory


class Estimate(NamedTuple):
    """A mean of independent draws and the variance of that mean."""

    mean: float
    variance: float


def sampled_alignment_discrimination(
    view: SequenceView,
    policy: SamplingPolicy,
    evaluation: SequenceView,
    similarity: Similarity,  # any similarity; a bilinear one is compared through its weights
    *,
    samples: int = 200_000,  # drawn pairs of histories for each of the two figures
    seed: int = 0,
) -> AlignmentDiscrimination:
    """Estimate `alignment_discrimination`; the standard error of the ratio comes from the delta method."""
    whole_number("samples", samples, 2)
    require_same_items(view, evaluation)
    generator = np.random.default_rng(seed)
    compare = similarity.compare or _by_weights(similarity)
    training = TrainingInputs.of(view, policy)
    pairs = evaluation.last_pairs()
    target = evaluation.store.values[evaluation.store.offsets[pairs.sequence] + pairs.target].astype(np.int64)
    by_target = np.argsort(target, kind="stable")
    bounds = np.searchsorted(target[by_target], np.arange(view.store.n_items + 2))
    of_training, of_evaluation = np.flatnonzero(np.diff(training.bounds)), np.flatnonzero(np.diff(bounds))
    is_covered = np.diff(training.bounds)[target] > 0
    share = float(is_covered.mean()) if len(target) else math.nan

    def histories(rows: Int64) -> Integers:
        return last_items(evaluation, Pairs(*(column[rows] for column in pairs)), similarity.length)

    def aligned(n: int) -> Float64:
        rows = generator.choice(np.flatnonzero(is_covered), n)
        return compare(histories(rows), training.draw(target[rows], similarity.length, generator))

    def other(n: int) -> Float64:
        first, second = generator.choice(of_evaluation, n), generator.choice(of_training, n)
        while (same := np.flatnonzero(first == second)).size:  # rejected, so that all unequal pairs are equally likely
            first[same], second[same] = (
                generator.choice(of_evaluation, same.size),
                generator.choice(of_training, same.size),
            )
        place = bounds[first] + (generator.random(n) * (bounds[first + 1] - bounds[first])).astype(np.int64)
        return compare(histories(by_target[place]), training.draw(second, similarity.length, generator))

    alone = len(np.union1d(of_evaluation, of_training)) <= 1
    alignment = _estimate(aligned, samples) if is_covered.any() else Estimate(math.nan, math.nan)
    discrimination = _estimate(other, samples) if len(of_evaluation) and not alone else Estimate(math.nan, math.nan)
    value = ratio(alignment.mean, discrimination.mean)
    return AlignmentDiscrimination(
        alignment.mean, discrimination.mean, value, share, _ratio_error(alignment, discrimination)
    )


class TrainingInputs(NamedTuple):
    """The occurrences of every target for draws from p_train(x | y)."""

    view: SequenceView  # the training view
    bounds: Int64  # int64 [n_items + 2]; target y has the entries bounds[y] … bounds[y + 1] - 1
    sequence: Int64  # int64 [entries], row of the store
    position: Int64  # int64 [entries], position of the target in the sequence
    cumulative: Float64  # float64 [entries], running sum of p(s) p(t | s) over all entries
    starts: PowerTable  # cumulative sums of j^γ
    gamma: float  # exponent of the start

    @classmethod
    def of(cls, view: SequenceView, policy: SamplingPolicy) -> TrainingInputs:
        """Sort the occurrences with any mass by target."""
        weights = TargetWeights.of(view, policy)
        found = occurrences(view, last=weights.last)
        weight = weights.of_occurrences(found.length, found.position)
        target = view.store.values[found.place].astype(np.int64)
        kept = np.flatnonzero(weight > 0)
        order = kept[np.argsort(target[kept], kind="stable")]
        bounds = np.searchsorted(target[order], np.arange(view.store.n_items + 2))
        sequence = np.searchsorted(view.store.offsets, found.place[order], side="right") - 1
        starts = PowerTable.of(policy.gamma, view.max_length - 1)
        return cls(view, bounds, sequence, found.position[order], np.cumsum(weight[order]), starts, policy.gamma)

    def draw(self, target: Int64, length: int, generator: np.random.Generator) -> Integers:
        """Draw a history x ~ p_train(x | y) as integers `[n, length]` for each training target y."""
        first, stop = self.bounds[target], self.bounds[target + 1]
        low = np.where(first > 0, self.cumulative[first - 1], 0.0)
        u = low + generator.random(len(target)) * (self.cumulative[stop - 1] - low)
        # Rounding may move a draw past its target's entries.
        entry = np.clip(np.searchsorted(self.cumulative, u, side="right"), first, stop - 1)
        position = self.position[entry]
        if math.isinf(self.gamma):
            start = position - 1 if self.gamma > 0 else np.zeros_like(position)
        else:
            cumulative = self.starts.cumulative
            v = generator.random(len(target)) * cumulative[position]
            start = np.minimum(np.searchsorted(cumulative[1:], v, side="right"), position - 1)
        return last_items(self.view, Pairs(self.sequence[entry], start, position), length)


def last_items(view: SequenceView, pairs: Pairs, length: int) -> Integers:
    """Return the last items of histories as left-padded integers `[n, length]`."""
    batch = gather_padded(view.store.values, view.store.offsets, pairs, length)
    column = np.arange(length) - (length - batch.length[:, None])
    return np.where(column >= 0, np.take_along_axis(batch.history, np.maximum(column, 0), 1), 0)


def _estimate(draw: Callable[[int], Float64], samples: int) -> Estimate:
    values = np.concatenate([draw(min(_BATCH, samples - first)) for first in range(0, samples, _BATCH)])
    return Estimate(float(values.mean()), float(values.var(ddof=1)) / samples)


def _ratio_error(alignment: Estimate, discrimination: Estimate) -> float:
    """Return the standard error of the ratio of two independent means, or NaN if the ratio is not finite."""
    if not discrimination.mean > 0 or math.isnan(alignment.mean):
        return math.nan
    slope = alignment.mean / discrimination.mean
    return math.sqrt(alignment.variance + slope**2 * discrimination.variance) / discrimination.mean


def _by_weights(similarity: Similarity) -> Callable[[Integers, Integers], Float64]:
    if similarity.evaluation is None:
        raise InputError(f"The similarity {similarity.name!r} has neither weights nor a compare function.")
    evaluation, training = similarity.evaluation_table()[:, ::-1], similarity.training_table()[:, ::-1]

    def compare(a: Integers, b: Integers) -> Float64:
        same: AnyArray = (a[:, :, None] == b[:, None, :]) & (a[:, :, None] != 0)
        if similarity.positional:
            same = same & np.eye(similarity.length, dtype=bool)
        weights = evaluation[(a != 0).sum(1)], training[(b != 0).sum(1)]
        return np.asarray(np.einsum("ni,nij,nj->n", weights[0], same.astype(np.float64), weights[1]))

    return compare
