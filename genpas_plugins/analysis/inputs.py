"""The inputs of a target: their mean profile, number and entropy."""

from __future__ import annotations

import math

import numpy as np

from genpas_plugins.analysis.target_positions import TargetWeights, occurrences
from genpas_plugins.data.sequences import SequenceView
from genpas_plugins.sampling.policy import PowerTable, SamplingPolicy
from genpas_plugins.support.array_types import Bools, Float64, Int64, Integers
from genpas_plugins.support.errors import whole_number

MAX_LENGTH = 50  # items of a history that count, as many as RecBole keeps by default


STATISTICS = (
    *("targets", "distinct_inputs_mean", "distinct_inputs_median", "distinct_inputs_max", "expected_history_length"),
    *("entropy_target", "entropy_input_target", "entropy_input_given_target"),
)
"""Keys of `input_target_statistics`."""


def input_target_statistics(
    view: SequenceView, policy: SamplingPolicy, max_length: int = MAX_LENGTH
) -> dict[str, float]:
    """Return exact figures of the joint distribution p(x, y) of inputs and targets.

    Parameters
    ----------
    view, policy : the data and the distribution of its training pairs
    max_length : maximum number of last items in a history as for a model. The time is proportional to it.

    Returns
    -------
    targets
        Number of items with any mass as a target.
    distinct_inputs_mean, distinct_inputs_median, distinct_inputs_max
        Number of different inputs (item sequences) of a target.
    expected_history_length
        Mean number of items of an input.
    entropy_target, entropy_input_target, entropy_input_given_target
        Entropy of p(y), entropy of p(x, y) and their difference in nats. Equal inputs of one target count once.

    Raises
    ------
    InputError
        If no sequence has two items.
    """
    weights = TargetWeights.of(view, policy)
    found = occurrences(view, last=weights.last)
    weight = weights.of_occurrences(found.length, found.position)
    possible = weight > 0
    place, position, weight = found.place[possible], found.position[possible], weight[possible]
    target = view.store.values[place].astype(np.int64)
    mass = np.bincount(target, weight, minlength=view.store.n_items + 1).astype(np.float64)
    longest = min(int(position.max()), whole_number("max_length", max_length, 1))
    starts = _Starts(policy.gamma, int(position.max()), longest)
    distinct = np.zeros(len(mass), np.int64)
    entropy = 0.0
    # The last m items of a target's histories fall into classes. A class of one occurrence never splits, so after a few
    # steps nearly all are settled.
    kind = target
    for m in range(1, longest + 1):
        kind, member = _classes(kind, view.store.values[place - m], view.store.n_items)
        probability = weight * starts.of_length(position, m)
        of_kind = np.bincount(kind, probability).astype(np.float64)
        there = np.bincount(kind, starts.possible(position, m)) > 0
        alone = (np.bincount(kind) == 1)[kind]
        together = there.copy()
        together[kind[alone]] = False
        np.add.at(distinct, target[member], together)
        entropy -= _sum_x_log_x(of_kind[together])
        lonely = np.flatnonzero(alone)
        np.add.at(distinct, target[lonely], starts.count_from(position[lonely], m))
        entropy -= float(starts.sum_x_log_x_from(position[lonely], weight[lonely], m).sum())
        going = ~alone & (position > m)
        if not going.any():
            break
        kind, place, position, target = (array[going] for array in (kind, place, position, target))
        weight = weight[going]
    inputs = distinct[mass > 0]
    of_target = -_sum_x_log_x(mass)
    return {
        "targets": float(len(inputs)),
        "distinct_inputs_mean": float(inputs.mean()),
        "distinct_inputs_median": float(np.median(inputs)),
        "distinct_inputs_max": float(inputs.max()),
        "expected_history_length": policy.expected_history_length(view, longest),
        "entropy_target": of_target,
        "entropy_input_target": entropy,
        "entropy_input_given_target": entropy - of_target,
    }


class _Starts:
    """p(m | t) of one γ: of one length, of all from a length on, and Σ p ln p of the latter.

    Histories have at most `longest` items: p(longest | t) is the probability of all longer ones.
    """

    def __init__(self, gamma: float, n_before: int, longest: int) -> None:
        self.gamma, self.longest = gamma, longest
        self.powers = PowerTable.of(gamma, n_before)
        self.mean_log = self.powers.mean_of_first(np.log(np.arange(1, n_before + 1)))

    def possible(self, position: Int64, m: int) -> Bools:
        """Whether a history of the target at each position can have m ≤ position items."""
        if self.gamma == -math.inf:
            return np.asarray(np.minimum(position, self.longest) == m)
        return np.full(len(position), m == 1 or self.gamma < math.inf)

    def of_length(self, position: Int64, m: int) -> Float64:
        """Return p(m | t) as `float64 [n]`."""
        if math.isinf(self.gamma):
            return self.possible(position, m).astype(np.float64)
        table = self.powers.cumulative[1:] if m == self.longest else self.powers.powers
        return np.asarray(table[position - m] / self.powers.cumulative[position])

    def count_from(self, position: Int64, m: int) -> Int64:
        """Return how many lengths ≥ m are possible as `int64 [n]`."""
        if math.isinf(self.gamma):
            return np.full(len(position), int(m == 1 or self.gamma < 0))
        return np.minimum(position, self.longest) - m + 1

    def sum_x_log_x_from(self, position: Int64, weight: Float64, m: int) -> Float64:
        """Return Σ_{l ≥ m} x ln x of x = weight · p(l | t) as `float64 [n]`."""
        if math.isinf(self.gamma):
            return weight * np.log(weight) * self.count_from(position, m)
        total = self.powers.cumulative[position]

        def log_sum(m: int) -> Float64:
            """Return Σ_{l ≥ m} x ln x without a cut."""
            n = np.maximum(position - m + 1, 0)
            share = weight * (self.powers.cumulative[n] / total)
            return np.asarray(share * (np.log(weight) - np.log(total) + self.gamma * self.mean_log[n]))

        cut = weight * (self.powers.cumulative[np.maximum(position - self.longest + 1, 0)] / total)
        return log_sum(m) - log_sum(self.longest) + cut * np.log(cut, where=cut > 0, out=np.zeros_like(cut))


def _classes(kind: Int64, item: Integers, n_items: int) -> tuple[Int64, Int64]:
    """Split classes by one more item. Return `int64 [n]` new numbers from 0 and one member of each class."""
    key = kind * (n_items + 1) + item
    order = np.argsort(key)
    new = np.diff(key[order], prepend=-1) != 0
    number = np.empty(len(kind), np.int64)
    number[order] = np.cumsum(new) - 1
    return number, order[new]


def _sum_x_log_x(x: Float64) -> float:
    x = x[x > 0]
    return float(np.sum(x * np.log(x)))
