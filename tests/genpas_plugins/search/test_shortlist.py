"""The shortlist against the published procedure done in plain loops over every pair."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from genpas_plugins import InputError, SamplingPolicy, SequenceStore
from genpas_plugins.search.criteria import Criteria
from genpas_plugins.search.grid import Grid
from genpas_plugins.search.shortlist import Candidate, check_amounts, rank, require_validation, shortlist

INF = math.inf
GRID = Grid(alpha=(0, 1, 2), beta=(-1, 0, 1, INF), gamma=(-INF, -1, 0, 1, INF))
DECAY, LENGTH = 0.95, 20


def brute_force(store: SequenceStore, table: dict[Any, float]) -> tuple[float, float, float]:
    """KL, alignment and discrimination of the pairs in `table` against validation, by the definitions."""
    sequences = [store.values[a:b].tolist() for a, b in zip(store.offsets, store.offsets[1:], strict=False)]
    evaluation = [(s[:-2], s[-2]) for s in sequences if len(s) >= 3]
    mass: dict[int, float] = defaultdict(float)
    inputs = defaultdict(list)
    for (s, start, target), probability in table.items():
        y = sequences[s][target]
        mass[y] += probability
        inputs[y].append((probability, sequences[s][start:target]))
    n = len(evaluation)
    kl = 0.0
    for y in range(1, store.n_items + 1):
        p = sum(t == y for _, t in evaluation) / n + 1e-10
        kl += p * math.log(p / (mass[y] + 1e-10))

    def similarity(x: Sequence[int], other: Sequence[int]) -> float:
        a, b = x[-LENGTH:][::-1], other[-LENGTH:][::-1]
        both = sum(DECAY ** (d + e) for d, i in enumerate(a) for e, j in enumerate(b) if i == j)
        return both / sum(DECAY**e for e in range(len(b)))

    def mean(x: Sequence[int], y: int) -> float:
        return sum(p * similarity(x, other) for p, other in inputs[y]) / mass[y]

    covered = [y for y in mass if mass[y] > 0]
    aligned = [mean(x, y) for x, y in evaluation if y in covered]
    others = []
    for y in sorted({t for _, t in evaluation}):
        of_target = [x for x, t in evaluation if t == y]
        others += [np.mean([mean(x, other) for x in of_target]) for other in covered if other != y]
    return kl, *(float(np.mean(each)) if each else math.nan for each in (aligned, others))


@pytest.fixture(scope="module")
def brute(medium: SequenceStore, probabilities_of: Callable[..., Any]) -> dict[SamplingPolicy, Candidate]:
    lengths = medium.leave_last_out().train.lengths().tolist()
    found = {}
    for policy in GRID.points:
        kl, alignment, discrimination = brute_force(medium, probabilities_of(policy, lengths))
        found[policy] = Candidate(policy, kl, alignment, discrimination, alignment / discrimination)
    return found


@pytest.fixture(scope="module")
def criteria(medium: SequenceStore) -> Criteria:
    split = medium.leave_last_out()
    return Criteria.of(split.train, split.validation)


@pytest.mark.parametrize(("keep", "best"), [(0.2, 10), (0.05, 3), (1, 60), (1e-9, 1)])
def test_the_shortlist_is_the_published_procedure(
    keep: float, best: int, criteria: Criteria, brute: dict[SamplingPolicy, Candidate]
):
    found = shortlist(criteria, GRID, keep=keep, best=best)
    cut = sorted(row.kl for row in brute.values())[max(1, math.ceil(keep * len(GRID.points))) - 1]
    kept = [row for row in brute.values() if row.kl <= cut + 1e-12]
    expected = sorted(kept, key=lambda row: -row.ratio)[:best]
    assert found.n_points == len(GRID.points) and found.n_kept == len(kept)
    assert found.kl_cut == pytest.approx(cut, rel=1e-9)
    assert len(found.ranked) == len(expected)
    for row, wanted in zip(found.ranked, expected, strict=True):
        assert row.ratio == pytest.approx(wanted.ratio, rel=1e-9)
        ours = brute[row.policy]
        for name in ("kl", "alignment", "discrimination", "ratio"):
            assert getattr(row, name) == pytest.approx(getattr(ours, name), rel=1e-9)


@given(store=...)
def test_any_store_gives_the_brute_force_figures(store: SequenceStore, probabilities_of: Callable[..., Any]):
    split = store.leave_last_out()
    prepared = Criteria.of(split.train, split.validation)
    for policy in (SamplingPolicy(1, 0.5, -0.5), SamplingPolicy(0, INF, -INF)):
        row = Candidate.of(prepared, policy)
        wanted = brute_force(store, probabilities_of(policy, split.train.lengths().tolist()))
        assert (row.kl, row.alignment, row.discrimination) == pytest.approx(wanted, rel=1e-9, abs=1e-12, nan_ok=True)


def test_the_same_search_gives_the_same_table(criteria: Criteria):
    assert shortlist(criteria, GRID) == shortlist(criteria, GRID)


def test_points_that_tie_at_the_cut_are_all_kept(criteria: Criteria):
    grid = Grid(alpha=(0, 1), beta=(0,), gamma=(-1, 0, 1))
    assert shortlist(criteria, grid, keep=0.2).n_kept == 3


def row(ratio: float, kl: float = 0.0, alpha: float = 0.0) -> Candidate:
    return Candidate(SamplingPolicy(alpha, 0, 0), kl, 1.0, 1.0, ratio)


def test_ties_go_to_the_lower_divergence_then_to_the_order_given():
    rows = [row(math.nan), row(1, 0.3), row(2, 0.5), row(1, 0.2, 7), row(1, 0.2, 5), row(INF)]
    ranked = rank(rows)
    assert [entry.ratio for entry in ranked[:-1]] == [INF, 2, 1, 1, 1]
    assert [entry.policy.alpha for entry in ranked[2:4]] == [7, 5] and math.isnan(ranked[-1].ratio)


@pytest.mark.parametrize(("keep", "best"), [(0, 10), (1.01, 10), (-1, 1), (math.nan, 1), (0.2, 0), (0.2, 1.5)])
def test_amounts_out_of_range_are_refused(keep: float, best: int, criteria: Criteria):
    with pytest.raises(InputError, match=r"keep|best"):
        check_amounts(keep, best)
    with pytest.raises(InputError, match=r"keep|best"):
        shortlist(criteria, GRID, keep=keep, best=best)


def test_an_empty_validation_set_is_refused():
    store = SequenceStore.from_arrays([1, 2, 2, 1, 3], [0, 2, 4, 5])
    with pytest.raises(InputError, match=r"validation set is empty.*longest of 3 sequences has 2"):
        require_validation(store.leave_last_out().validation)


def test_progress_ends_with_everything_done(criteria: Criteria):
    told: dict[str, tuple[int, int | None]] = {}
    shortlist(criteria, GRID, progress=lambda step, done, total: told.update({step: (done, total)}))
    assert told["KL to validation"] == (12, 12)
    assert all(done == total for done, total in told.values())
