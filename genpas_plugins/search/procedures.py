"""Both procedures of `genpas search`: what is chosen, what to train, and why, with every figure as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from genpas_plugins.analysis.similarity import SIMILARITIES, Similarity
from genpas_plugins.data.sequences import Split
from genpas_plugins.sampling.policy import Policy, SamplingPolicy
from genpas_plugins.search.by_transitions import MULTI_TARGET, search_by_transitions
from genpas_plugins.search.criteria import Criteria
from genpas_plugins.search.grid import Grid
from genpas_plugins.search.optimum import optimum
from genpas_plugins.search.search_output import predicted_row, row
from genpas_plugins.search.shortlist import shortlist
from genpas_plugins.search.transition_model import TransitionModel
from genpas_plugins.support.console import Tell
from genpas_plugins.support.errors import InputError

PROCEDURES = ("transitions", "published")


class Found(NamedTuple):
    """The outcome of a procedure."""

    policy: Policy  # the chosen point
    points: list[Policy]  # the points to train, best first
    why: str  # in a few words
    result: dict[str, Any]  # the figures, for search.json


def published(
    split: Split, grid: Grid, keep: float, best: int, similarity: Similarity, *, progress: Tell | None = None
) -> Found:
    """Search as `shortlist` and `optimum` do."""
    criteria = Criteria.of(split.train, split.validation, similarity)
    found = shortlist(criteria, grid, keep=keep, best=best, progress=progress)
    continuous = optimum(criteria, grid, found, progress=progress)
    points: list[Policy] = [candidate.policy for candidate in found.ranked]
    result = {
        "keep": keep,
        "kept": found.n_kept,
        "kl_cut": found.kl_cut,
        "similarity": criteria.index.similarity.label,
        "shortlist": [row(candidate) for candidate in found.ranked],
        "optimum": {name: row(candidate) for name, candidate in continuous._asdict().items()},
    }
    why = f"best A/D of the {found.n_kept} of {len(grid.points)} points with the lowest KL"
    return Found(points[0], points, why, result)


def by_transitions(split: Split, points: Sequence[Policy], best: int, *, progress: Tell | None = None) -> Found:
    """Search as `search_by_transitions` does; the points to train are drawn."""
    found = search_by_transitions(TransitionModel.of(split.train, split.validation), points, progress=progress)
    first = found.ranked[0].policy
    result: dict[str, Any] = {
        "shortlist": [predicted_row(row) for row in found.ranked[:best]],
        "multi_target": predicted_row(next(row for row in found.ranked if row.policy is MULTI_TARGET)),
        "difference": {"point": first.label, "users": found.users, **found.difference._asdict()},
        "counted": found.counted._asdict(),
        "sure": found.sure,
    }
    if first is MULTI_TARGET:
        why = "multi_target has the best prediction"
    else:
        why = f"{first.label} over multi_target, predicted NDCG@10 {interval(result['difference'])}"
        why = why + "." + by_counts(result) if found.sure else f"multi_target, as no point is surely better: {why}"
    drawn: list[Policy] = [
        SamplingPolicy(policy.alpha, policy.beta, policy.gamma) if isinstance(policy, SamplingPolicy) else policy
        for policy, *_ in found.ranked[:best]
    ]
    return Found(found.chosen, drawn, why, result)


def interval(difference: Mapping[str, Any]) -> str:
    """Write a difference and its interval."""
    return f"{difference['mean']:+.4f} [{difference['low']:+.4f}, {difference['high']:+.4f}]"


def by_counts(result: Mapping[str, Any]) -> str:
    """Return a sentence for a first point that NDCG@10 alone has below multi_target; else ""."""
    counted = result["counted"]
    if counted["mean"] >= 0:
        return ""
    return f" It is below multi_target without its more different pairs: {interval(counted)}."


def exact_similarity(name: str) -> Similarity:
    """Return the similarity with that name. Raises InputError for one that a search cannot differentiate."""
    exact = [known for known, factory in SIMILARITIES.items() if factory().bilinear]
    if name not in exact:
        raise InputError(f"--similarity {name}: a search needs one that is exact: {', '.join(exact)}.")
    return SIMILARITIES[name]()
