"""The published search without training: lowest KL and then the best alignment / discrimination.

GenPAS (arXiv 2509.13648) compares points with validation. It keeps the 20 % of the grid with the nearest target
distribution. It ranks them by alignment / discrimination of their inputs and keeps the best ten.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from genpas_plugins.data.sequences import SequenceView
from genpas_plugins.sampling.policy import SamplingPolicy
from genpas_plugins.search.criteria import Criteria
from genpas_plugins.search.grid import Grid, point_name
from genpas_plugins.support.console import Tell
from genpas_plugins.support.errors import InputError, whole_number

KEEP = 0.2
BEST = 10


@dataclass(frozen=True)
class Candidate:
    """A point and its criteria against validation."""

    policy: SamplingPolicy
    kl: float  # KL(validation targets ‖ training targets). Lower is nearer.
    alignment: float
    discrimination: float
    ratio: float  # higher is better

    @property
    def name(self) -> str:
        """The named strategy with these exponents if there is one."""
        return point_name(self.policy)

    @classmethod
    def of(cls, criteria: Criteria, policy: SamplingPolicy) -> Candidate:
        """Compute the criteria of one point."""
        figures = criteria.tables(policy).at(policy.gamma)
        kl = criteria.divergence(policy)
        return cls(policy, kl, figures.alignment, figures.discrimination, figures.ratio)


class Shortlist(NamedTuple):
    """The outcome of the search without training."""

    ranked: list[Candidate]  # the best points, best first
    n_points: int  # points of the grid
    n_kept: int  # points that were ranked by their ratio
    kl_cut: float  # the largest KL of a ranked point


def check_amounts(keep: float, best: int) -> None:
    """Raise InputError unless 0 < keep ≤ 1 and best ≥ 1."""
    if not 0 < keep <= 1:
        raise InputError(f"keep is the share of the grid to keep by KL, above 0 and at most 1, not {keep!r}.")
    whole_number("best", best, 1)


def require_validation(validation: SequenceView) -> None:
    """Raise InputError if no user has a validation target."""
    if not len(validation.groups.length):
        longest = int(validation.store.lengths().max(initial=0))
        raise InputError(
            f"The validation set is empty: it takes the last item but one of every user with three items or more, and "
            f"the longest of {validation.store.n_sequences} sequences has {longest}. A search compares points against "
            "validation targets; use data with longer sequences."
        )


def shortlist(
    criteria: Criteria,
    grid: Grid,
    *,
    keep: float = KEEP,
    best: int = BEST,
    progress: Tell | None = None,
) -> Shortlist:
    """Return the `best` points by ratio among the share `keep` of the grid with the lowest KL.

    Points with the same α and β have the same KL. A point with the KL of the last kept point is kept too: no γ is
    lost by its place in the grid. Of equal ratios the lower KL comes first. A point without a ratio comes last.

    Parameters
    ----------
    criteria : of the training view against validation
    grid : the points
    keep : share of the grid to keep by KL in (0, 1]
    best : length of the result from 1 on
    progress : called as progress(step, done, total)

    Returns
    -------
    Shortlist
        The best points and what was kept.

    Raises
    ------
    InputError
        If `keep` or `best` is out of range or every ratio is undefined.
    """
    check_amounts(keep, best)
    tell = progress or (lambda step, done, total: None)
    points = grid.points
    divergences = divergence_of_each(criteria, points, tell)
    kept, cut = lowest(points, divergences, keep)
    ranked = []
    pairs = list(dict.fromkeys((policy.alpha, policy.beta) for policy in kept))
    for done, pair in enumerate(pairs):
        tell("alignment / discrimination", done, len(pairs))
        members = [policy for policy in kept if (policy.alpha, policy.beta) == pair]
        tables = criteria.tables(members[0])
        for policy in members:
            figures = tables.at(policy.gamma)
            ranked.append(
                Candidate(policy, divergences[pair], figures.alignment, figures.discrimination, figures.ratio)
            )
    tell("alignment / discrimination", len(pairs), len(pairs))
    ranked = rank(ranked)
    if math.isnan(ranked[0].ratio):
        cause = (
            "no validation target is a training target"
            if math.isnan(ranked[0].alignment)
            else "all targets are one item"
            if math.isnan(ranked[0].discrimination)
            else "validation and training histories share no item"
        )
        raise InputError(
            f"No point can be chosen: alignment / discrimination does not exist, as {cause}. Use other data, or "
            "compare points by KL alone with `genpas analyze --point`."
        )
    return Shortlist(ranked[:best], len(points), len(kept), cut)


def divergence_of_each(
    criteria: Criteria, points: Iterable[SamplingPolicy], tell: Tell
) -> dict[tuple[float, float], float]:
    """Return the KL of every (α, β) of the points. Each is computed once."""
    firsts = {(policy.alpha, policy.beta): policy for policy in reversed(list(points))}
    found = {}
    for done, (pair, policy) in enumerate(reversed(firsts.items())):
        tell("KL to validation", done, len(firsts))
        found[pair] = criteria.divergence(policy)
    tell("KL to validation", len(firsts), len(firsts))
    return found


def lowest(
    points: Sequence[SamplingPolicy], divergences: dict[tuple[float, float], float], keep: float
) -> tuple[list[SamplingPolicy], float]:
    """Return the share `keep` of the points with the lowest KL and their largest KL. One point is always kept."""
    each = [divergences[policy.alpha, policy.beta] for policy in points]
    # Rounded: 0.07 of 100 points is 7.000000000000001 in floating point.
    n_kept = max(1, math.ceil(round(keep * len(points), 9)))
    cut = sorted(each)[n_kept - 1]
    return [policy for policy, kl in zip(points, each, strict=True) if kl <= cut], cut


def rank(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Sort by falling ratio and then by rising KL. Undefined ratios come last."""
    return sorted(
        candidates, key=lambda row: (math.isnan(row.ratio), 0.0 if math.isnan(row.ratio) else -row.ratio, row.kl)
    )
