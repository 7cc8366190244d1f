"""The training-free criteria of a point with their exact derivatives in α, β and γ.

All three are sums of normalised powers. Their derivatives are closed forms. With c = p_α(s) p_β(k | s):

    ∂c/∂α = c (ln(|s| - 1) - E ln(|s| - 1))         the mean over p_α(s)
    ∂c/∂β = c (ln(k - 1) - E_s ln(k - 1))           the mean over p_β(k | s)
    ∂p(j | k)/∂γ = p(j | k) (ln j - E_k ln j)       the mean over p_γ(j | k)

c is a product of a table by length and a table by position. ∂c is a sum of such products. A derivative is thus the
same pass over the interactions with other tables. An infinite exponent is a limit and its derivatives are 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from genpas_plugins.analysis.alignment import AlignmentIndex, AlignmentTables, alignment_index
from genpas_plugins.analysis.alignment_figures import AlignmentDiscrimination
from genpas_plugins.analysis.divergence import kl_divergence
from genpas_plugins.analysis.history_length import position_coefficients
from genpas_plugins.analysis.similarity import Similarity
from genpas_plugins.analysis.target_distribution import (
    inverse_mass,
    last_target_distribution,
    sum_by_target,
    target_distribution,
)
from genpas_plugins.analysis.target_positions import TargetWeights
from genpas_plugins.data.sequences import SequenceView
from genpas_plugins.sampling.policy import PowerTable, SamplingPolicy
from genpas_plugins.support.array_types import Float64


class Gradient(NamedTuple):
    """Alignment, discrimination and their gradients `float64 [3]` by α, β and γ."""

    figures: AlignmentDiscrimination
    alignment: Float64
    discrimination: Float64

    @property
    def log_ratio(self) -> Float64:
        """Gradient `float64 [3]` of ln(alignment / discrimination)."""
        return self.alignment / self.figures.alignment - self.discrimination / self.figures.discrimination


@dataclass(frozen=True, eq=False)
class Criteria:
    """The criteria of a training view against an evaluation view. `Criteria.of` makes them."""

    train: SequenceView
    evaluation_targets: Float64  # float64 [n_items + 1], share of each item
    index: AlignmentIndex  # what alignment reads of both views at any point
    smoothing: float = 1e-10  # added to every probability in a KL divergence

    @classmethod
    def of(cls, train: SequenceView, evaluation: SequenceView, similarity: Similarity | None = None) -> Criteria:
        """Prepare the criteria.

        Parameters
        ----------
        train : the sequences to train on
        evaluation : the last pair of each of its sequences is an evaluation pair
        similarity : of two histories, a bilinear one; None: `recency_containment()`

        Raises
        ------
        InputError
            If a view has no pair or the similarity is not bilinear.
        """
        train.require_content()
        targets = last_target_distribution(evaluation)
        return cls(train, targets, alignment_index(train, evaluation, similarity))

    def divergence(self, policy: SamplingPolicy) -> float:
        """Return KL(evaluation targets ‖ training targets)."""
        return kl_divergence(self.evaluation_targets, target_distribution(self.train, policy), self.smoothing)

    def tables(self, policy: SamplingPolicy) -> AlignmentTables:
        """Return the tables of alignment and discrimination at these α and β for any γ."""
        return self.index.tables(policy)

    def divergence_gradient(self, policy: SamplingPolicy) -> tuple[float, Float64]:
        """Return the KL divergence and its gradient `float64 [3]` by (α, β, γ). KL does not depend on γ."""
        mass = target_distribution(self.train, policy)
        pull = (self.evaluation_targets + self.smoothing) / (mass + self.smoothing)
        slopes = [-float(pull @ self._mass_slope(parts)) for parts in weight_slopes(self.train, policy)]
        return kl_divergence(self.evaluation_targets, mass, self.smoothing), np.array([*slopes, 0.0])

    def gamma_slope(self, tables: AlignmentTables, gamma: float) -> Gradient:
        """Return `gradient` with the derivative in γ alone from the tables of α and β."""
        starts = length_slopes(self.train.max_length - 1, gamma, len(tables.training) - 1) @ tables.training
        slope = _dot(starts, np.stack([tables.alignment, tables.own, tables.total]))
        return _scaled(tables, gamma, np.stack([np.zeros(3), np.zeros(3), slope]))

    def gradient(self, policy: SamplingPolicy) -> Gradient:
        """Return alignment and discrimination with their gradients. Without anything to compare they are NaN or 0."""
        index, weights = self.index, TargetWeights.of(self.train, policy)
        inverse = inverse_mass(sum_by_target(self.train, weights))
        tables = self.tables(policy)
        n_before, gamma, training = self.train.max_length - 1, policy.gamma, tables.training
        coefficients = position_coefficients(n_before, gamma, training)
        slopes = []
        for parts in weight_slopes(self.train, policy):
            # r = c / p(y), so ∂r = ∂c / p - c ∂p / p²
            outer = np.stack(index.sums(weights, inverse * (inverse * self._mass_slope(parts))))
            inner = [np.stack(index.sums(part, inverse)) for part in parts]
            slopes.append(_dot(coefficients, sum(inner, -outer)))
        starts = length_slopes(n_before, gamma, len(training) - 1) @ training
        slopes.append(_dot(starts, np.stack([tables.alignment, tables.own, tables.total])))
        return _scaled(tables, gamma, np.array(slopes))

    def _mass_slope(self, parts: Sequence[TargetWeights]) -> Float64:
        """∂p(y) of every item from the parts of ∂c."""
        total = np.zeros(self.train.store.n_items + 1)
        for part in parts:
            total += sum_by_target(self.train, part)
        return total


def weight_slopes(view: SequenceView, policy: SamplingPolicy) -> tuple[list[TargetWeights], list[TargetWeights]]:
    """Return ∂c/∂α and ∂c/∂β as tables whose products add up to them. An infinite exponent has no table."""
    weights, groups = TargetWeights.of(view, policy), view.groups
    log = np.log(np.maximum(np.arange(view.max_length), 1))  # ln t by position; position 0 is no target
    by_alpha, by_beta = [], []
    if math.isfinite(policy.alpha):
        slope = np.zeros(view.max_length + 1)
        slope[groups.length] = log[groups.length - 1] - policy.sequence_mass(view) @ log[groups.length - 1]
        by_alpha.append(replace(weights, scale=weights.scale * slope))
    if math.isfinite(policy.beta):
        mean = np.zeros(view.max_length + 1)
        mean[1:] = PowerTable.of(policy.beta, view.max_length - 1).mean_of_first(log[1:])
        by_beta.append(replace(weights, power=weights.power * log))
        by_beta.append(replace(weights, scale=-weights.scale * mean))
    return by_alpha, by_beta


def length_slopes(n_before: int, gamma: float, longest: int) -> Float64:
    """Return the derivative `float64 [n_before + 1, longest + 1]` of `length_probabilities` in γ."""
    slopes = np.zeros((n_before + 1, longest + 1))
    if math.isinf(gamma):
        return slopes
    starts = PowerTable.of(gamma, n_before)
    log = np.log(np.arange(1, n_before + 1))
    mean = starts.mean_of_first(log)  # E_t ln j by t
    for m in range(1, min(longest, n_before + 1)):
        n = n_before + 1 - m  # starts j = 1 … n, of the targets with t = m … n_before items before them
        slopes[m:, m] = starts.powers[:n] / starts.cumulative[m:] * (log[:n] - mean[m:])
    if longest <= n_before:
        first = slice(1, n_before + 2 - longest)
        share = starts.cumulative[first] / starts.cumulative[longest:]
        slopes[longest:, longest] = share * (mean[first] - mean[longest:])
    return slopes


def _scaled(tables: AlignmentTables, gamma: float, slopes: Float64) -> Gradient:
    """Make gradients of the derivatives of the sums alignment, own and total, `float64 [3 exponents, 3]`."""
    covered, others = tables.n_covered or math.nan, tables.n_others or math.nan
    return Gradient(tables.at(gamma), slopes[:, 0] / covered, (slopes[:, 2] - slopes[:, 1]) / others)


def _dot(coefficients: Float64, tables: Float64) -> Float64:
    return np.asarray(np.einsum("td,ktd->k", coefficients, tables))
