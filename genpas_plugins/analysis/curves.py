"""Target distributions as curves over the items in the order of the test's requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from genpas_plugins.analysis.target_distribution import last_target_distribution, target_distribution
from genpas_plugins.data.sequences import Split
from genpas_plugins.sampling.policy import Policy

_POINTS = 60


def target_curves(split: Split, policies: Sequence[Policy]) -> tuple[dict[str, Any], dict[str, dict[str, float]]]:
    """Return the curves of the test and of every policy and each policy's coverage of the test.

    Items with most requests of the test come first. Ties are by number.

    Returns
    -------
    curves
        {"rank": about 60 ranks, evenly spaced by logarithm, label: {"cumulative": probability of the items up to
        each rank, "mean": mean probability of an item since the rank before}}. One label is "test".
    coverage
        {label: {"items": share of the requested items that are training targets, "requests": share of the requests for
        training targets, "never_asked": probability of the items without a request}}.
    """
    test = last_target_distribution(split.test)
    order = 1 + np.argsort(-test[1:], kind="stable")
    rank = np.unique(np.geomspace(1, max(len(order), 1), _POINTS).round().astype(np.int64))
    asked = test > 0
    curves: dict[str, Any] = {"rank": rank.tolist()}
    coverage = {}
    for label, p in [
        ("test", test),
        *((policy.label, target_distribution(split.train, policy)) for policy in policies),
    ]:
        reached = np.cumsum(p[order])[rank - 1]
        mean = np.diff(reached, prepend=0.0) / np.diff(rank, prepend=0)
        # A cumulative sum leaves rounding errors where nothing is added.
        mean[mean < 1e-15] = 0.0  # noqa: PLR2004
        curves[label] = {"cumulative": np.minimum(reached, 1.0).tolist(), "mean": mean.tolist()}
        if label != "test":
            coverage[label] = {
                "items": float(np.mean(p[asked] > 0)),
                "requests": float(test[p > 0].sum()),
                "never_asked": float(p[~asked].sum()),
            }
    return curves, coverage
