"""Exact derivatives against finite differences, and continuous optima against every point of the grid."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from genpas_plugins import SamplingPolicy, SequenceStore
from genpas_plugins.analysis.similarity import overlap, positional
from genpas_plugins.search.criteria import Criteria, length_slopes
from genpas_plugins.search.grid import Grid
from genpas_plugins.search.optimum import optimum
from genpas_plugins.search.shortlist import Candidate, shortlist

INF = math.inf
POINTS = [(1.0, 0.0, 0.0), (0.3, -1.7, 2.2), (2.5, 1.5, -0.8), (0.0, 0.4, 0.1)]
Point = tuple[float, float, float]


@pytest.fixture(scope="module")
def zipf() -> SequenceStore:
    """Sixty users with 3 to 30 items of a skewed catalogue, with repeats: the criteria have no symmetry to hide in."""
    rng = np.random.default_rng(3)
    lengths = rng.integers(3, 31, 60)
    values = 1 + np.minimum(rng.zipf(1.5, lengths.sum()) - 1, 24)
    return SequenceStore.from_arrays(values, np.cumsum([0, *lengths]), n_items=26)


@pytest.fixture(scope="module", params=["default", "overlap", "positional", "short"])
def criteria(zipf: SequenceStore, request: pytest.FixtureRequest) -> Criteria:
    split = zipf.leave_last_out()
    similarity = {"overlap": overlap(length=40), "positional": positional(), "short": overlap(length=1)}
    return Criteria.of(split.train, split.validation, similarity.get(request.param))


def difference(function: Callable[[Point], float], point: Point) -> list[float]:
    """The gradient by Richardson's extrapolation of central differences; 0 for an infinite exponent."""

    def central(axis: int, step: float) -> float:
        ends = []
        for sign in (1, -1):
            moved = list(point)
            moved[axis] += sign * step
            ends.append(function((moved[0], moved[1], moved[2])))
        return (ends[0] - ends[1]) / (2 * step)

    def slope(axis: int) -> float:
        return (4 * central(axis, 1e-3) - central(axis, 2e-3)) / 3

    return [slope(axis) if math.isfinite(point[axis]) else 0.0 for axis in range(3)]


@pytest.mark.parametrize("point", [*POINTS, (INF, 1.0, 0.0), (0.5, INF, 0.5), (1.0, -INF, 0.5), (1.0, 0.0, -INF)])
def test_derivatives_are_those_of_the_figures(point: Point, criteria: Criteria):
    value, gradient = criteria.divergence_gradient(SamplingPolicy(*point))
    assert value == criteria.divergence(SamplingPolicy(*point))
    expected = difference(lambda at: criteria.divergence(SamplingPolicy(*at)), point)
    assert gradient == pytest.approx(expected, rel=1e-6, abs=1e-9)

    found = criteria.gradient(SamplingPolicy(*point))
    for name, derivatives in (("alignment", found.alignment), ("discrimination", found.discrimination)):
        expected = difference(lambda at, name=name: getattr(Candidate.of(criteria, SamplingPolicy(*at)), name), point)
        assert derivatives == pytest.approx(expected, rel=1e-6, abs=1e-9), name
    if found.figures.alignment > 0:
        expected = difference(lambda at: math.log(Candidate.of(criteria, SamplingPolicy(*at)).ratio), point)
        assert found.log_ratio == pytest.approx(expected, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("longest", [1, 3, 7, 12])
def test_history_lengths_keep_their_sum_when_gamma_moves(longest: int):
    assert length_slopes(7, 0.7, longest).sum(1) == pytest.approx(np.zeros(8), abs=1e-14)
    assert not length_slopes(7, INF, longest).any() and not length_slopes(7, -INF, longest).any()


@pytest.mark.parametrize(
    "grid",
    [
        Grid(),
        Grid(alpha=(-1, 0, 3), beta=(0, 2), gamma=(-2, 0.5)),
        Grid(alpha=(1,), beta=(0, 2), gamma=(-INF,)),
        Grid(alpha=(0, 2), beta=(INF,), gamma=(0,)),
        Grid(alpha=(INF,), beta=(-INF, INF), gamma=(INF,)),
    ],
)
def test_an_optimum_is_at_least_as_good_as_every_point_of_the_grid(grid: Grid, criteria: Criteria):
    found = shortlist(criteria, grid)
    rows = [Candidate.of(criteria, policy) for policy in grid.points]
    best = optimum(criteria, grid, found)
    if all(row.alignment == 0 or math.isnan(row.ratio) for row in rows):
        assert best == (None, None)
        return
    assert best.nearest is not None and best.best_ratio is not None
    assert best.nearest.kl <= min(row.kl for row in rows) + 1e-12
    assert best.best_ratio.kl <= found.kl_cut
    assert best.best_ratio.ratio >= max(row.ratio for row in rows if row.kl <= found.kl_cut) * (1 - 1e-12)
    near = best.nearest.policy
    at_point = [Candidate.of(criteria, SamplingPolicy(near.alpha, near.beta, gamma)) for gamma in grid.gamma]
    assert best.nearest.ratio >= max(row.ratio for row in at_point) * (1 - 1e-12)
    for row in best:
        for axis, bound in zip((row.policy.alpha, row.policy.beta, row.policy.gamma), grid.bounds, strict=True):
            assert math.isinf(axis) or (bound is not None and bound[0] <= axis <= bound[1])


def test_between_the_values_there_is_a_nearer_point(criteria: Criteria):
    grid = Grid(alpha=(-2, 4), beta=(-3, 4), gamma=(0, 1))
    best = optimum(criteria, grid, shortlist(criteria, grid)).nearest
    if best is not None:
        assert best.kl < min(criteria.divergence(policy) for policy in grid.points) - 1e-3
