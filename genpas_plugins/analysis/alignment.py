"""Alignment and discrimination: training inputs should resemble test inputs of their own target only.

    alignment       mean over the test pairs (x, y) whose y is a training target of E_{x' ~ p_train(· | y)} sim(x, x')
    discrimination  mean over pairs of targets y ≠ y', y of test pairs and y' of training, of
                    E_{x | y} E_{x' ~ p_train(· | y')} sim(x, x')
    ratio           alignment / discrimination, higher is better

GenPAS (arXiv 2509.13648) does not publish its similarity: see `similarity.recency_containment`. A bilinear
similarity is a product of profiles: Σ_i U_y(i) M_y'(i). Training profiles are sums over target occurrences o
(position t, item y_o) and distances d:

    M_y(i) = Σ_{o: y_o = y, d: item_{t-1-d} = i}  r_o · c_γ(t, d),      r_o = p(s) p(t | s) / p(y)

Only c_γ depends on γ and only r_o on (α, β). Both figures are Σ_{t,d} c_γ(t, d) S(t, d). The tables S are made once
for each (α, β). An `AlignmentIndex` serves all policies and its `tables` serve an (α, β). `AlignmentTables.at`
answers for any γ in microseconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from genpas_plugins.analysis.alignment_figures import AlignmentDiscrimination, ratio, require_same_items
from genpas_plugins.analysis.evaluation_profiles import EvaluationProfiles, SharedItems, shared_items
from genpas_plugins.analysis.history_length import position_coefficients
from genpas_plugins.analysis.sampled_alignment import sampled_alignment_discrimination
from genpas_plugins.analysis.similarity import Similarity, recency_containment
from genpas_plugins.analysis.target_distribution import inverse_mass, sum_by_target
from genpas_plugins.analysis.target_positions import TargetWeights, occurrences, row_chunks, sum_over_rows
from genpas_plugins.data.sequences import SequenceView
from genpas_plugins.sampling.backend import choose_backend, implementation
from genpas_plugins.sampling.policy import SamplingPolicy
from genpas_plugins.support.array_types import Float64

_COMPILED = "genpas_plugins.analysis.pass_kernels"


@dataclass(frozen=True, eq=False)
class AlignmentTables:
    """The terms of alignment and discrimination of an (α, β) for any γ.

    The first three tables are `float64 [max_length, L]` by target position and distance.
    """

    alignment: Float64  # Σ r_o U_y(i) over the shared items
    own: Float64  # Σ r_o Ū_y(i), with the mean profile of the same target among the evaluation targets
    total: Float64  # Σ r_o Σ_y' Ū_y'(i), with the mean profiles of all evaluation targets
    training: Float64  # float64 [L + 1, L], weights of the training history, see `Similarity`
    n_covered: int  # number of evaluation pairs with a training target
    n_pairs: int  # number of evaluation pairs
    n_others: int  # number of pairs of an evaluation target and a different training target

    def at(self, gamma: float) -> AlignmentDiscrimination:
        """Return the figures for any γ including ±inf."""
        coefficients = position_coefficients(len(self.total) - 1, gamma, self.training)
        aligned = float(np.vdot(coefficients, self.alignment))
        # A difference of sums of non-negative terms; rounding must not make it negative.
        other = max(float(np.vdot(coefficients, self.total) - np.vdot(coefficients, self.own)), 0.0)
        alignment = aligned / self.n_covered if self.n_covered else math.nan
        discrimination = other / self.n_others if self.n_others else math.nan
        covered = self.n_covered / self.n_pairs if self.n_pairs else math.nan
        return AlignmentDiscrimination(alignment, discrimination, ratio(alignment, discrimination), covered)


@dataclass(frozen=True, eq=False)
class AlignmentIndex:
    """The part of alignment that no policy changes. Made by `alignment_index`."""

    view: SequenceView
    similarity: Similarity
    profiles: EvaluationProfiles
    shared: SharedItems

    def tables(self, policy: SamplingPolicy, *, threads: int | None = None) -> AlignmentTables:
        """Return the tables of the policy's α and β in one pass over the interactions."""
        profiles, view = self.profiles, self.view
        weights = TargetWeights.of(view, policy)
        mass = sum_by_target(view, weights, threads=threads)
        inverse = inverse_mass(mass)
        trained = inverse > 0
        alignment, own, total = self.sums(weights, inverse, threads=threads)
        evaluated = profiles.pairs > 0
        others = int(evaluated.sum()) * int(trained.sum()) - int((evaluated & trained).sum())
        n_covered, n_pairs = int(profiles.pairs[trained].sum()), int(profiles.pairs.sum())
        return AlignmentTables(alignment, own, total, self.similarity.training_table(), n_covered, n_pairs, others)

    def sums(
        self, weights: TargetWeights, factor: Float64, *, threads: int | None = None
    ) -> tuple[Float64, Float64, Float64]:
        """Return the tables alignment, own and total with r_o = scale[n] power[t] factor[y_o].

        The factor 1 / p(y) `float64 [n_items + 1]` gives the tables of a policy. Other factors give derivatives.
        """
        profiles, shared, view = self.profiles, self.shared, self.view
        shape = (view.max_length, self.similarity.length)
        share = weights.of_occurrences(shared.length, shared.position) * factor[shared.target] * shared.weight
        cell = shared.position * shape[1] + shared.distance
        alignment, own = (
            np.bincount(cell, values, minlength=shape[0] * shape[1]).astype(np.float64).reshape(shape)
            for values in (share, share / profiles.pairs[shared.target])
        )
        add = implementation(add_profiles, choose_backend(), _COMPILED)
        features = profiles.total()

        def part(rows: slice) -> Float64:
            table = np.zeros(shape)
            for chunk in row_chunks(view, rows):
                add(view, weights, chunk, factor, features, table)
            return table

        return alignment, own, sum_over_rows(view, part, threads=threads)


def alignment_index(
    view: SequenceView, evaluation: SequenceView, similarity: Similarity | None = None
) -> AlignmentIndex:
    """Return the index of a training and an evaluation view for a bilinear similarity.

    Raises InputError if the training view has no pair or the similarity is not bilinear. The stores must have the same
    items.
    """
    similarity = recency_containment() if similarity is None else similarity
    view.require_content()
    require_same_items(view, evaluation)
    profiles = EvaluationProfiles.of(evaluation, similarity)
    return AlignmentIndex(view, similarity, profiles, shared_items(view, profiles))


def alignment_discrimination(
    view: SequenceView,
    policy: SamplingPolicy,
    evaluation: SequenceView,
    similarity: Similarity | None = None,
) -> AlignmentDiscrimination:
    """Return alignment and discrimination of a policy's inputs with the inputs of an evaluation.

    Parameters
    ----------
    view : the sequences to train on
    policy : the distribution of their training pairs
    evaluation : the last pair of each of its sequences is an evaluation pair
    similarity : of two histories; None: `recency_containment()`. A bilinear similarity is exact. Any other is
        estimated from drawn pairs with a standard error

    Returns
    -------
    AlignmentDiscrimination
        The figures. An undefined figure is NaN.

    Raises
    ------
    InputError
        If no sequence of `view` has two items.
    """
    return alignment_discriminations(view, [policy], evaluation, similarity)[0]


def alignment_discriminations(
    view: SequenceView,
    policies: Sequence[SamplingPolicy],
    evaluation: SequenceView,
    similarity: Similarity | None = None,
    *,
    threads: int | None = None,
) -> list[AlignmentDiscrimination]:
    """Return `alignment_discrimination` of every policy; equal (α, β) share one pass over the interactions."""
    similarity = recency_containment() if similarity is None else similarity
    if not similarity.bilinear:
        return [sampled_alignment_discrimination(view, policy, evaluation, similarity) for policy in policies]
    index = alignment_index(view, evaluation, similarity)
    keys = [(policy.strategy == "slide_window", policy.alpha, policy.beta) for policy in policies]
    found: list[AlignmentDiscrimination | None] = [None] * len(policies)
    for key in dict.fromkeys(keys):
        members = [number for number, other in enumerate(keys) if other == key]
        tables = index.tables(policies[members[0]], threads=threads)
        for number in members:
            found[number] = tables.at(policies[number].gamma)
    return [figures for figures in found if figures is not None]


def add_profiles(  # noqa: PLR0917 – called through its compiled twin, all of it by position
    view: SequenceView, weights: TargetWeights, rows: slice, factor: Float64, features: Float64, table: Float64
) -> None:
    """Add r_o · features[d][item] of every target of the rows and distance d to table[t, d].

    `factor` `float64 [n_items + 1]` is 1 / p(y) or 0 for an item that is never a target. `features` `float64
    [1 or L, n_items + 1]` has one row for all distances or one row each. `table` is `float64 [max_length, L]`.
    """
    values = view.store.values
    found = occurrences(view, rows, last=weights.last)
    share = weights.scale[found.length] * weights.power[found.position] * factor[values[found.place]]
    for d in range(table.shape[1]):
        deep = found.position > d
        position = found.position[deep]
        if not len(position):
            break
        part = share[deep] * features[d % len(features)][values[found.place[deep] - 1 - d]]
        table[:, d] += np.bincount(position, part, minlength=len(table))
