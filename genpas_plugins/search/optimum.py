"""Beyond the grid: the best (α, β, γ) between its values by exact derivatives.

Both answers are against validation and stay within the grid's finite values:

    nearest     the lowest KL over α and β, then the best alignment / discrimination over γ at that point
    best_ratio  the best alignment / discrimination over all three with KL at most the shortlist's cut

The first runs L-BFGS-B twice and the second SLSQP, from several points of the grid. The problems are not convex. An
optimum is local but never worse than its starting points. An infinite exponent of a starting point stays infinite.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from genpas_plugins.sampling.policy import SamplingPolicy
from genpas_plugins.search.criteria import Criteria
from genpas_plugins.search.grid import Grid
from genpas_plugins.search.shortlist import Candidate, Shortlist, rank
from genpas_plugins.support.array_types import Float64
from genpas_plugins.support.console import Tell

Point = tuple[float, float, float]
STARTS = 3
_ITERATIONS = 60
_ALPHA_BETA, _GAMMA, _ALL = (0, 1), (2,), (0, 1, 2)


class Optimum(NamedTuple):
    """The two continuous choices. A choice is None if no starting point has a ratio."""

    nearest: Candidate | None
    best_ratio: Candidate | None


@dataclass(frozen=True)
class Line:
    """A point and its free exponents. These are finite and may move."""

    point: Point  # all three exponents
    free: tuple[int, ...]  # which of α, β, γ (0, 1, 2) move
    bounds: tuple[tuple[float, float], ...]  # lowest and highest value of each free exponent

    @classmethod
    def through(cls, point: Point, axes: Iterable[int], grid: Grid) -> Line:
        """Free the given axes as far as the grid's finite values reach."""
        limits = {k: bound for k, bound in enumerate(grid.bounds) if bound is not None and bound[0] < bound[1]}
        free = tuple(k for k in axes if k in limits and math.isfinite(point[k]))
        return cls(point, free, tuple(limits[k] for k in free))

    @property
    def start(self) -> Float64:
        """The point's own values of the free exponents."""
        return np.array([self.point[k] for k in self.free])

    def policy(self, values: Iterable[float]) -> SamplingPolicy:
        """Return the point with these values of the free exponents inside the bounds."""
        whole = list(self.point)
        for k, value, (low, high) in zip(self.free, values, self.bounds, strict=True):
            whole[k] = min(max(float(value), low), high)
        return SamplingPolicy(whole[0], whole[1], whole[2])


def optimum(criteria: Criteria, grid: Grid, found: Shortlist, *, progress: Tell | None = None) -> Optimum:
    """Return both continuous choices; each search starts from STARTS of the best grid points.

    Parameters
    ----------
    criteria : of the training view against validation
    grid : its finite values bound the exponents
    found : the shortlist of the same grid
    progress : called with the step, how much of it is done, and its total

    Returns
    -------
    Optimum
        The two points with their criteria.
    """
    tell = progress or (lambda step, done, total: None)
    tell("continuous optimum", 0, 2)
    close = nearest(criteria, grid)
    tell("continuous optimum", 1, 2)
    best = best_ratio(criteria, grid, found.kl_cut, [row.policy for row in found.ranked[:STARTS]] + [close.policy])
    tell("continuous optimum", 2, 2)
    return Optimum(close if is_defined(close) else None, best)


def nearest(criteria: Criteria, grid: Grid) -> Candidate:
    """Return the point with the lowest KL over α and β and the best ratio over γ there.

    No (α, β) of the grid has a lower KL. No γ of the grid has a better ratio at this (α, β).
    """
    pairs = {(policy.alpha, policy.beta): policy for policy in grid.points}
    by_kl = sorted(pairs.values(), key=criteria.divergence)
    # The limits are no neighbours of the finite points, so each kind gets starting points of its own.
    kinds: dict[tuple[bool, bool], list[SamplingPolicy]] = {}
    for policy in by_kl:
        kinds.setdefault((math.isinf(policy.alpha), math.isinf(policy.beta)), []).append(policy)
    tried = [lowest_kl(criteria, policy, grid) for kind in kinds.values() for policy in kind[:STARTS]]
    chosen = min(tried, key=criteria.divergence)
    gammas = [SamplingPolicy(chosen.alpha, chosen.beta, gamma) for gamma in grid.gamma]
    return rank(Candidate.of(criteria, highest_ratio(criteria, policy, grid, _GAMMA)) for policy in gammas)[0]


def best_ratio(criteria: Criteria, grid: Grid, kl_cut: float, starts: Sequence[SamplingPolicy]) -> Candidate | None:
    """Return the point with the best ratio and a KL of at most `kl_cut`. No such start has a better ratio."""
    reached = []
    for policy in starts:
        reached += [policy, highest_ratio(criteria, policy, grid, _ALL, kl_cut)]
    rows = [Candidate.of(criteria, policy) for policy in dict.fromkeys(reached)]
    rows = rank(row for row in rows if row.kl <= kl_cut and is_defined(row))
    return rows[0] if rows else None


def lowest_kl(criteria: Criteria, start: SamplingPolicy, grid: Grid) -> SamplingPolicy:
    """Return the point with the lowest KL that L-BFGS-B finds from `start` over its finite α and β."""
    line = Line.through(_point(start), _ALPHA_BETA, grid)
    if not line.free:
        return start

    def objective(values: Float64) -> tuple[float, Float64]:
        value, gradient = criteria.divergence_gradient(line.policy(values))
        return value, gradient[list(line.free)]

    end = line.policy(_minimize(objective, line, "L-BFGS-B", {"ftol": 1e-13, "gtol": 1e-9}))
    return min(start, end, key=criteria.divergence)


def highest_ratio(
    criteria: Criteria, start: SamplingPolicy, grid: Grid, axes: Iterable[int], kl_cut: float | None = None
) -> SamplingPolicy:
    """Return the point with the best ratio from `start` over its finite exponents among `axes`.

    KL is at most `kl_cut` if it is given. Without a better point or a ratio at `start` the result is `start`.
    """
    line = Line.through(_point(start), axes, grid)
    first = Candidate.of(criteria, start)
    if not line.free or not is_defined(first):
        return start

    # α and β stand still where only γ moves: their tables answer for all of it.
    tables = criteria.tables(start) if line.free == _GAMMA else None

    def objective(values: Float64) -> tuple[float, Float64]:
        policy = line.policy(values)
        found = criteria.gradient(policy) if tables is None else criteria.gamma_slope(tables, policy.gamma)
        return -math.log(found.figures.ratio), -found.log_ratio[list(line.free)]

    def slack(values: Float64) -> float:
        return (kl_cut or 0.0) - criteria.divergence(line.policy(values)) - 1e-12

    def slack_gradient(values: Float64) -> Float64:
        return -criteria.divergence_gradient(line.policy(values))[1][list(line.free)]

    if kl_cut is None:
        end = line.policy(_minimize(objective, line, "L-BFGS-B", {"ftol": 1e-13, "gtol": 1e-9}))
    else:
        limit = {"type": "ineq", "fun": slack, "jac": slack_gradient}
        values = _minimize(objective, line, "SLSQP", {"ftol": 1e-10}, constraints=[limit])
        end = _inside(line, values, lambda point: criteria.divergence(point) <= kl_cut)
    last = Candidate.of(criteria, end)
    return end if is_defined(last) and last.ratio > first.ratio else start


def is_defined(row: Candidate) -> bool:
    """Return whether both parts of a ratio are positive. It then has a logarithm."""
    return row.alignment > 0 and row.discrimination > 0


def _inside(line: Line, values: Float64, allowed: Callable[[SamplingPolicy], bool]) -> SamplingPolicy:
    """Return the allowed point nearest to `values` on the way from the allowed start."""
    low, high = 0.0, 1.0
    if allowed(line.policy(values)):
        return line.policy(values)
    for _ in range(40):  # SLSQP ends a rounding error outside its limit; halving comes back to it
        middle = (low + high) / 2
        if allowed(line.policy(line.start + middle * (values - line.start))):
            low = middle
        else:
            high = middle
    return line.policy(line.start + low * (values - line.start))


def _minimize(objective: Any, line: Line, method: str, options: dict[str, float], **more: Any) -> Float64:
    from scipy.optimize import minimize

    options = {**options, "maxiter": _ITERATIONS}
    done = minimize(objective, line.start, jac=True, method=method, bounds=line.bounds, options=options, **more)
    return np.asarray(done.x)


def _point(policy: SamplingPolicy) -> Point:
    return policy.alpha, policy.beta, policy.gamma
