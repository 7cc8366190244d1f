"""The semantic IDs of a RecBole data set's items from a file or from its training sequences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from genpas_plugins import SequenceStore, SequenceView
from genpas_plugins.semantic_ids.codebook import SemanticIds
from genpas_plugins.semantic_ids.index_file import read_index_json
from recbole_ext.dataset import WindowDataset
from recbole_ext.models.tiger_settings import TigerSettings


def read_ids(path: str, dataset: Any) -> SemanticIds:
    """Return the IDs at a path; row i is the item with token id i + 1.

    The path is a directory of `genpas semantic-ids` or another tool's `.json` index. The index gets one more code
    where items share an ID.
    """
    items = dataset.field2id_token[dataset.iid_field][1:].tolist()
    if Path(path).suffix == ".json":
        return read_index_json(path, items, collisions="count")
    return SemanticIds.open(path).for_items(items)


def collaborative_ids(settings: TigerSettings, dataset: Any, seed: int) -> SemanticIds:
    """Return IDs that give the same first codes to items that often follow each other.

    `dataset` is the training split: held-out items have no effect.
    """
    from genpas_plugins.semantic_ids.collaborative import cooccurrence_embeddings
    from genpas_plugins.semantic_ids.residual_kmeans import residual_kmeans

    embeddings = cooccurrence_embeddings(training_sequences(dataset), seed=seed)
    codes = min(settings.codes, len(embeddings))
    quantised = residual_kmeans(embeddings, levels=settings.levels, codes=codes, seed=seed)
    return SemanticIds.resolve(quantised.codes, quantised.sizes, origin={"method": "collaborative", "seed": seed})


def training_sequences(dataset: Any) -> SequenceView:
    """Return every user's items in order, by token id, from a training split with or without the genpas key."""
    if isinstance(dataset, WindowDataset):
        return dataset.training_view()
    rows = dataset.inter_feat
    users, targets = rows[dataset.uid_field].numpy(), rows[dataset.iid_field].numpy()
    first = np.flatnonzero(rows[dataset.item_list_length_field].numpy() == 1)
    starts = rows[getattr(dataset, f"{dataset.iid_field}_list_field")].numpy()[first, 0]
    users, items = np.concatenate([users[first], users]), np.concatenate([starts, targets])
    order = np.argsort(users, kind="stable")
    offsets = np.searchsorted(users[order], np.arange(dataset.user_num + 1))
    return SequenceStore.from_arrays(items[order], offsets, n_items=dataset.item_num - 1).view()
