"""All figures of some policies on one store in one dictionary of plain JSON types."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from genpas_plugins.analysis.alignment import alignment_discriminations
from genpas_plugins.analysis.alignment_figures import AlignmentDiscrimination
from genpas_plugins.analysis.divergence import kl_divergence
from genpas_plugins.analysis.histograms import (
    effective_users,
    group_shares,
    history_lengths,
    popularity_groups,
    target_positions,
)
from genpas_plugins.analysis.inputs import STATISTICS, input_target_statistics
from genpas_plugins.analysis.ranking import rank_agreement, rank_difference
from genpas_plugins.analysis.similarity import Similarity, recency_containment
from genpas_plugins.analysis.target_distribution import last_target_distribution, target_distribution
from genpas_plugins.data.sequences import SequenceView, Split
from genpas_plugins.sampling.policy import Policy, SamplingPolicy
from genpas_plugins.support.array_types import Float64
from genpas_plugins.support.errors import InputError

Distributions = dict[str, Float64]


def analyze(
    split: Split,
    policies: Sequence[Policy],
    *,
    similarity: Similarity | None = None,
    smoothing: float = 1e-10,
    threads: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Return every figure of this package for some policies.

    Parameters
    ----------
    split : the training view and the views whose last items are the targets of validation and test
    policies : the distinct distributions of training pairs
    similarity : of two histories; None: `recency_containment()`
    smoothing : see `kl_divergence`
    threads : see `target_distribution`
    progress : called with the name of each step before it begins

    Returns
    -------
    dict
        Plain values under store, policies, smoothing, similarity, kl, kl_reverse, rank_difference, rank_agreement,
        alignment_discrimination, alignment_discrimination_validation, history_length, target_position, user_mass,
        popularity_groups and input_target. The label names a policy and "a|b" a pair of policies. An undefined
        figure (such as KL to no targets) is NaN.

    Raises
    ------
    InputError
        If the training view has no pair or a policy is given twice.
    """
    tell = progress if progress is not None else lambda what: None
    similarity = recency_containment() if similarity is None else similarity
    named = _by_label(policies)
    split.train.require_content()
    tell("target distributions")
    trained = {label: target_distribution(split.train, policy, threads=threads) for label, policy in named.items()}
    evaluations = {"test": split.test, "validation": split.validation}
    observed = {name: last_target_distribution(view) for name, view in evaluations.items() if view.max_length}
    # Alignment and the inputs of a target are sums over starts with the weights j^γ.
    powers = {label: policy for label, policy in named.items() if isinstance(policy, SamplingPolicy)}
    unknown = dict.fromkeys((field.name for field in fields(AlignmentDiscrimination)), float("nan"))
    tell("rankings")
    compared = list(itertools.combinations(trained, 2))
    result: dict[str, Any] = {
        "store": store_counts(split),
        "policies": {label: _description(policy) for label, policy in named.items()},
        "smoothing": smoothing,
        "similarity": similarity.label,
        "kl": _divergences(observed, trained, lambda p, q: kl_divergence(p, q, smoothing)),
        "kl_reverse": _divergences(observed, trained, lambda p, q: kl_divergence(q, p, smoothing)),
        "rank_difference": {f"{a}|{b}": rank_difference(trained[a], trained[b]) for a, b in compared},
        "rank_agreement": {f"{a}|{b}": rank_agreement(trained[a], trained[b]) for a, b in compared},
    }
    for key, name in (("", "test"), ("_validation", "validation")):
        tell(f"alignment with {name} inputs")
        figures = alignment_discriminations(
            split.train, list(powers.values()), evaluations[name], similarity, threads=threads
        )
        of_label = {label: asdict(of) for label, of in zip(powers, figures, strict=True)}
        result[f"alignment_discrimination{key}"] = {label: of_label.get(label, unknown) for label in named}
    tell("histograms")
    groups = popularity_groups(split.train)
    result |= {
        "history_length": {label: _history_length(split.train, policy) for label, policy in named.items()},
        "target_position": {label: _target_position(split.train, policy) for label, policy in named.items()},
        "user_mass": {label: _user_mass(split.train, policy) for label, policy in named.items()},
        "popularity_groups": {label: group_shares(p, groups) for label, p in (trained | observed).items()},
    }
    tell("inputs of each target")
    statistics = {label: input_target_statistics(split.train, policy) for label, policy in powers.items()}
    no_statistics = dict.fromkeys(STATISTICS, float("nan"))
    result["input_target"] = {label: statistics.get(label, no_statistics) for label in named}
    return result


def store_counts(split: Split) -> dict[str, int]:
    """Return the counts of the store and its views."""
    store, groups = split.train.store, split.train.groups
    return {
        "sequences": store.n_sequences,
        "items": store.n_items,
        "interactions": store.n_interactions,
        "training_sequences": int(groups.size.sum()),
        "training_interactions": int((groups.size * groups.length).sum()),
        "training_targets": split.train.n_pairs,
        "longest_training_sequence": split.train.max_length,
        "validation_pairs": int(split.validation.groups.size.sum()),
        "test_pairs": int(split.test.groups.size.sum()),
    }


def _by_label(policies: Sequence[Policy]) -> dict[str, Policy]:
    named = {policy.label: policy for policy in policies}
    if len(named) < len(policies):
        labels = [policy.label for policy in policies]
        twice = next(label for label in labels if labels.count(label) > 1)
        raise InputError(f"The policy {twice} is given twice; name each strategy and point once.")
    return named


def _description(policy: Policy) -> dict[str, Any]:
    exponents = {name: getattr(policy, name) for name in ("alpha", "beta", "gamma")}
    return {**exponents, "strategy": policy.strategy, "repr": repr(policy)}


def _divergences(
    observed: Distributions, trained: Distributions, divergence: Callable[[Float64, Float64], float]
) -> dict[str, dict[str, float]]:
    """Return {"test": {label: value}, "validation": …}. NaN means no targets to compare with."""
    return {
        name: {
            label: divergence(observed[name], p) if name in observed else float("nan") for label, p in trained.items()
        }
        for name in ("test", "validation")
    }


def _history_length(view: SequenceView, policy: Policy) -> dict[str, Any]:
    return {"mean": policy.expected_history_length(view), "histogram": history_lengths(view, policy).tolist()}


def _target_position(view: SequenceView, policy: Policy) -> dict[str, Any]:
    positions = target_positions(view, policy)
    return {"from_start": positions.from_start.tolist(), "from_end": positions.from_end.tolist()}


def _user_mass(view: SequenceView, policy: Policy) -> dict[str, Any]:
    groups, mass = view.groups, policy.sequence_mass(view)
    users = int(groups.size.sum())
    # The heaviest users come first; a length group may be cut.
    per_user = mass / groups.size
    order = np.argsort(-per_user, kind="stable")
    reached = np.concatenate([[0], np.cumsum(groups.size[order])])
    held = np.concatenate([[0.0], np.cumsum(mass[order])])
    return {
        "effective_users": effective_users(view, policy),
        "heaviest_1_percent": float(np.interp(0.01 * users, reached, held)),
        "heaviest_10_percent": float(np.interp(0.1 * users, reached, held)),
        "by_length": {"length": groups.length.tolist(), "users": groups.size.tolist(), "mass": mass.tolist()},
    }
