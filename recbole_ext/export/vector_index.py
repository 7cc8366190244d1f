"""An index for the items of the highest inner product. The number of items chooses its kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FLAT_ITEMS = 50_000
"""Up to so many items every product is computed."""
HNSW_ITEMS = 2_000_000
"""Up to so many items a graph is searched, and above them inverted lists, which need less memory."""
TOP_K = 10

_NEIGHBOURS, _EXPLORED = 32, 128  # edges an item, and items kept while a graph is built and searched
_LISTS_PROBED = 64
_TRAINED_ON = 64  # vectors a list that the centres are computed from


def build_index(vectors: NDArray[np.float32], kind: str | None = None) -> tuple[str, Any]:
    """Return the kind and the faiss index of item vectors `float32 [n, D]`.

    Parameters
    ----------
    vectors
        Row i is the vector of the index's entry i.
    kind
        "flat", "hnsw" or "ivf". None chooses by the number of items.
    """
    import faiss

    n, width = vectors.shape
    kind = kind or ("flat" if n <= FLAT_ITEMS else "hnsw" if n <= HNSW_ITEMS else "ivf")
    index: Any
    if kind == "flat":
        index = faiss.IndexFlatIP(width)
    elif kind == "hnsw":
        index = faiss.IndexHNSWFlat(width, _NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = index.hnsw.efSearch = _EXPLORED
    else:
        lists = max(1, int(4 * n**0.5))
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, lists, faiss.METRIC_INNER_PRODUCT)
        some = np.random.default_rng(0).choice(n, min(n, lists * _TRAINED_ON), replace=False)
        index.train(np.ascontiguousarray(vectors[np.sort(some)]))
        index.nprobe = min(lists, _LISTS_PROBED)
    index.add(np.ascontiguousarray(vectors))
    return kind, index


def recall(index: Any, vectors: NDArray[np.float32], users: NDArray[np.float32], top_k: int = TOP_K) -> float:
    """Return the share of the exact best `top_k` items that the index finds for users `float32 [m, D]`.

    An item whose score ties with the last of the exact best counts as one of them.
    """
    top_k = min(top_k, len(vectors))
    found = index.search(np.ascontiguousarray(users), top_k)[1]
    hits = 0
    for user, items in zip(users, found, strict=True):
        scores = vectors @ user
        last = np.partition(scores, -top_k)[-top_k]
        slack = 1e-6 * max(1.0, float(np.abs(scores).max()))  # products are rounded in another order
        hits += int((scores[items[items >= 0]] >= last - slack).sum())
    return hits / (top_k * len(users))


def write_index(index: Any, file: Path) -> None:
    """Write an index as faiss reads it."""
    import faiss

    faiss.write_index(index, str(file))
