"""Item embeddings from near neighbours in training sequences. No texts are needed."""

from __future__ import annotations

from typing import Any

import numpy as np

from genpas_plugins.data.sequences import SequenceView
from genpas_plugins.sampling.jagged import spans
from genpas_plugins.support.array_types import Float32
from genpas_plugins.support.errors import InputError, whole_number


def cooccurrence_embeddings(view: SequenceView, dimensions: int = 64, *, window: int = 5, seed: int = 0) -> Float32:
    """Embed items by truncated SVD of their positive pointwise mutual information (Levy and Goldberg, NeurIPS 2014).

    Item i has the vector U_i √S where U S Vᵀ ≈ max(0, ln(c_ij Σc / c_i c_j)). An item without neighbours gets a
    random direction of the median length: such items do not all get one ID. The same seed gives the same vectors.

    Parameters
    ----------
    view : the training view. In another view held-out items leak into the IDs.
    dimensions : length d of a vector; at most the number of items
    window : two items co-occur if they are at most this many positions apart in a sequence
    seed : seed of the SVD and of the random directions

    Returns
    -------
    float32 [n_items, d]
        One vector an item.

    Raises
    ------
    InputError
        No sequence of the view has two items or scikit-learn is missing.
    """
    try:
        from sklearn.utils.extmath import randomized_svd
    except ImportError as error:
        raise InputError("Embeddings from co-occurrence need scikit-learn: pip install scikit-learn.") from error

    dimensions = whole_number("dimensions", dimensions, 1)
    view.require_content()
    matrix = _positive_information(_cooccurrences(view, whole_number("window", window, 1)))
    n_items = view.store.n_items
    left, strength, _ = randomized_svd(
        matrix, min(dimensions, n_items), n_iter=7, flip_sign=True, random_state=seed % 2**32
    )
    vectors: Float32 = (left * np.sqrt(strength)).astype(np.float32)
    lost = np.diff(matrix.indptr) == 0
    if lost.any():
        vectors[lost] = _random_directions(int(lost.sum()), vectors[~lost], vectors.shape[1], seed)
    return vectors


def _cooccurrences(view: SequenceView, window: int) -> Any:
    """Count how often two items are at most `window` apart: symmetric CSR `[n_items, n_items]`."""
    from scipy.sparse import csr_matrix

    store = view.store
    lengths = view.lengths()
    sequence = np.repeat(np.arange(store.n_sequences), lengths)
    items = store.values[spans(store.offsets[:-1], lengths)].astype(np.int64) - 1
    shape = (store.n_items, store.n_items)
    total = csr_matrix(shape, dtype=np.float64)
    for distance in range(1, min(window, view.max_length - 1) + 1):
        left, right = items[:-distance], items[distance:]
        kept = (sequence[:-distance] == sequence[distance:]) & (left != right)
        total += csr_matrix((np.ones(int(kept.sum())), (left[kept], right[kept])), shape=shape)
    return (total + total.T).tocsr()


def _positive_information(counts: Any) -> Any:
    """Return max(0, ln(c_ij Σc / c_i c_j)) of a symmetric matrix of counts without the zeros."""
    sums = np.asarray(counts.sum(axis=1)).ravel()
    coordinates = counts.tocoo()
    information = np.log(coordinates.data * sums.sum() / (sums[coordinates.row] * sums[coordinates.col]))
    coordinates.data = np.maximum(information, 0.0)
    matrix = coordinates.tocsr()
    matrix.eliminate_zeros()
    return matrix


def _random_directions(n: int, others: Float32, width: int, seed: int) -> Float32:
    """Return n random directions `float32 [n, width]` with the median length of the others."""
    length = float(np.median(np.linalg.norm(others, axis=1))) if len(others) else 1.0
    directions = np.random.default_rng(seed).standard_normal((n, width))
    scaled: Float32 = (directions / np.linalg.norm(directions, axis=1, keepdims=True) * length).astype(np.float32)
    return scaled
