"""How far one target distribution is from another."""

from __future__ import annotations

import numpy as np

from genpas_plugins.support.array_types import Float64


def kl_divergence(p: Float64, q: Float64, smoothing: float = 1e-10) -> float:
    """Return KL(p ‖ q) = Σ p ln(p / q) over all items in nats.

    Parameters
    ----------
    p, q : probabilities by item number, float64 [n_items + 1]; entry 0 (padding) does not count
    smoothing : added to every probability of both without normalising; 1e-10 is the published convention

    Returns
    -------
    float
        0 for equal distributions.
    """
    p, q = p[1:] + smoothing, q[1:] + smoothing
    return float(np.sum(p * np.log(p / q)))
