"""Lengths of histories: the start distribution p_γ(j | k, s), summed by length in closed form.

A target with t items before it has the history lengths m = 1 … t, from start j = t + 1 - m, so

    p(m | t) = (t + 1 - m)^γ / C(t),      p(m ≥ l | t) = C(t + 1 - l) / C(t),      C(t) = 1^γ + … + t^γ

for all sequences alike, so a view needs one table.
"""

from __future__ import annotations

import math

import numpy as np

from genpas_plugins.sampling.policy import PowerTable
from genpas_plugins.support.array_types import Float64


def length_probabilities(n_before: int, gamma: float, longest: int) -> Float64:
    """Return the probability of every history length m, for every target position t.

    Parameters
    ----------
    n_before
        Largest number of items before a target.
    gamma
        Exponent of the start, any number including ±inf.
    longest
        Histories are cut to so many items; the last column has all longer ones.

    Returns
    -------
    float64 [n_before + 1, longest + 1]
        Row t, column m; row 0 has no target and is 0.
    """
    table = np.zeros((n_before + 1, longest + 1))
    before = np.arange(1, n_before + 1)
    if gamma == math.inf:
        table[1:, 1] = 1
        return table
    if gamma == -math.inf:
        table[before, np.minimum(before, longest)] = 1
        return table
    starts = PowerTable.of(gamma, n_before)
    for m in range(1, min(longest, n_before + 1)):
        table[m:, m] = starts.powers[: n_before + 1 - m] / starts.cumulative[m:]
    if longest <= n_before:
        table[longest:, longest] = starts.cumulative[1 : n_before + 2 - longest] / starts.cumulative[longest:]
    return table


def position_coefficients(n_before: int, gamma: float, weights: Float64) -> Float64:
    """Return the expected weight of the item d steps before a target, for every target position.

    `weights`, float64 [L + 1, L], has the weight of the item d steps from the end of a history of m items, m cut to L.
    Row t of the result, float64 [n_before + 1, L], is Σ_m p(m | t) weights[m, d] for position t - 1 - d; 0 if t ≤ d.
    """
    return np.asarray(length_probabilities(n_before, gamma, len(weights) - 1) @ weights)
