"""Figures of all recommended items together: coverage, Gini index, novelty and popularity.

RecBole 1.2.1 has some of them but fails when it collects the number of items (`'int' object has no attribute
'cpu'`).
"""

from __future__ import annotations

import numpy as np

from genpas_plugins.support.array_types import Int64, Integers

COLLECTS = "ShannonEntropy"
"""RecBole's metric that makes it collect recommended items and nothing else."""


def beyond_accuracy(recommended: Integers, counts: Int64) -> dict[str, float]:
    """Return figures of recommended lists by name.

    Parameters
    ----------
    recommended : int [n, k], items from 1 to n_items
    counts : int64 [n_items + 1], training interactions of each item

    Returns
    -------
    coverage
        Share of the items that are in a list.
    gini
        Gini index of how often items are recommended: 0 if all are equal and near 1 if few items have all places.
    novelty
        Mean number of bits: -log2 of a recommended item's share of the training interactions. An unseen item counts
        as one interaction.
    popularity
        Mean number of training interactions of a recommended item.

    >>> beyond_accuracy(np.array([[1, 2]]), np.array([0, 4, 4]))
    {'coverage': 1.0, 'gini': 0.0, 'novelty': 1.0, 'popularity': 4.0}
    """
    often = np.sort(np.bincount(recommended.ravel(), minlength=len(counts))[1:])
    n = len(often)
    ranks = np.arange(1, n + 1)
    return {
        "coverage": float(np.count_nonzero(often) / n),
        "gini": float((2 * ranks - n - 1) @ often / (n * often.sum())),
        "novelty": float(-np.log2(np.maximum(counts, 1) / counts.sum())[recommended].mean()),
        "popularity": float(counts[recommended].mean()),
    }
