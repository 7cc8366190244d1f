"""Lengths of histories: the start distribution p_γ(j | k, s) summed by length in closed form.

A target with t items before it has the history lengths m = 1 … t from start j = t + 1 - m:

    p(m | t) = (t + 1 - m)^γ / C(t),      p(m ≥ l | t) = C(t + 1 - l) / C(t),      C(t) = 1^γ + … + t^γ

This holds for all sequences: a view needs one table. A distribution of t gives the lengths by convolution with
powers.
"""

from __future__ import annotations

import math

import numpy as np

from genpas_plugins.sampling.policy import PowerTable
from genpas_plugins.support.array_types import Float64

_DIRECT = 1 << 10  # numbers up to which a convolution is faster without an FFT


def length_probabilities(n_before: int, gamma: float, longest: int) -> Float64:
    """Return the probability of every history length m for every target position t.

    Row t and column m of `float64 [n_before + 1, longest + 1]`. Row 0 has no target and is 0. The last column has all
    longer histories.
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


def length_distribution(targets: Float64, gamma: float) -> Float64:
    """Return Σ_t p(t) p(m | t) of every length m from p(t) in O(n log n). Both are `float64 [n + 1]`."""
    n_before = len(targets) - 1
    if gamma == math.inf:
        return np.bincount([1], [targets.sum()], n_before + 1).astype(np.float64)
    if gamma == -math.inf:
        return targets
    starts = PowerTable.of(gamma, n_before)
    lengths = np.zeros(n_before + 1)
    # Rounding of an FFT is relative to its largest numbers, so each block of t has powers of a similar size.
    ratio = 2 ** (1 / (1 + max(gamma, 0) / 8))
    last = n_before
    while last > 0:
        first = 1 if last <= _DIRECT else int(last / ratio) + 1
        block, unit = slice(first, last + 1), starts.powers[[0, last - 1]].max()
        shares = targets[block] / (starts.cumulative[block] / unit)
        lengths[last:0:-1] += _convolve(shares[::-1], starts.powers[:last] / unit)[:last]
        last = first - 1
    return lengths


def _convolve(a: Float64, b: Float64) -> Float64:
    if len(b) <= _DIRECT:
        return np.convolve(a, b)
    size = 1 << (len(a) + len(b) - 2).bit_length()
    return np.maximum(np.fft.irfft(np.fft.rfft(a, size) * np.fft.rfft(b, size), size), 0)


def position_coefficients(n_before: int, gamma: float, weights: Float64) -> Float64:
    """Return the expected weight of the item d steps before a target for every target position.

    `weights` float64 [L + 1, L] has the weight of the item d steps from the end of a history of m items. m is cut to L.
    Row t of the result `float64 [n_before + 1, L]` is Σ_m p(m | t) weights[m, d] for position t - 1 - d or 0 if t ≤ d.
    """
    return np.asarray(length_probabilities(n_before, gamma, len(weights) - 1) @ weights)
