"""Paired bootstrap over users: how sure the difference of two rows is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from genpas_plugins.support.array_types import Float64, Integers

RESAMPLES = 10_000
LEVEL = 0.95


class Difference(NamedTuple):
    """Mean difference of two rows over the users."""

    mean: float
    low: float  # ends of the confidence interval of LEVEL: percentiles of the resampled means
    high: float
    p: float  # two-sided: twice the share of resampled means on the other side of 0


def paired_bootstrap(differences: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0) -> Difference:
    """Return the mean of one difference a user `float [n]` with its interval.

    A resample is one multinomial draw over the distinct values because users with equal differences are alike.

    >>> paired_bootstrap([0.0, 0.0, 0.0])
    Difference(mean=0.0, low=0.0, high=0.0, p=1.0)
    """
    values, counts = np.unique(np.asarray(differences, np.float64), return_counts=True)
    n = counts.sum()
    means = np.random.default_rng(seed).multinomial(n, counts / n, resamples) @ values / n
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    beyond = min(np.count_nonzero(means <= 0), np.count_nonzero(means >= 0))
    p = min(1.0, 2 * (beyond + 1) / (resamples + 1))
    return Difference(float(values @ counts / n), float(low), float(high), float(p))


def figure_of_ranks(ranks: Integers, metric: str) -> Float64:
    """Return a metric such as NDCG@10 of every row from its target's rank `int [n]`. Rank 0 is below the list.

    >>> figure_of_ranks(np.array([1, 3, 0]), "NDCG@10")
    array([1. , 0.5, 0. ])
    """
    name, _, k = metric.partition("@")
    inside = (ranks > 0) & (ranks <= int(k))
    rank = np.where(inside, ranks, 1).astype(np.float64)
    of_one = {
        "ndcg": 1 / np.log2(rank + 1),
        "mrr": 1 / rank,
        "map": 1 / rank,
        "recall": np.ones_like(rank),
        "hit": np.ones_like(rank),
        "precision": np.full_like(rank, 1 / int(k)),
    }
    return np.where(inside, of_one[name.lower()], 0.0)
