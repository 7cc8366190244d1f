"""Write a trained model as one folder that other programs read."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from genpas_plugins.neural.tiger.prefix_tree import PrefixTree
from genpas_plugins.support.atomic import replace_directory
from genpas_plugins.support.errors import InputError
from recbole_ext.checkpoints import load
from recbole_ext.export.graphs import (
    TigerDecoder,
    TigerEncoder,
    VectorEncoder,
    check_vector_model,
    example_histories,
    write_graph,
)
from recbole_ext.export.model_folder import EXPORT, write_model
from recbole_ext.export.vector_index import TOP_K, build_index, recall, write_index
from recbole_ext.full_histories import FullHistories
from recbole_ext.recommend import trained_model

SAMPLE_USERS = 1000
"""Users whose exact ranking the recall of the index is measured against."""
_BATCH = 256

Progress = Callable[[str, int, int | None], None]


def export_model(
    checkpoint: str | Path,
    out: str | Path,
    *,
    index: str | None = None,
    overwrite: bool = False,
    progress: Progress = lambda step, done, total: None,
) -> dict[str, Any]:
    """Write the folder `out` atomically and return the facts of its header.

    A model that scores by a product also has `index.faiss` and `users.parquet`. The latter holds the vectors of all
    users after their whole histories. TIGER has `decoder.onnx`, `decoder.pt2` and `tree.npz`. All have the graph of
    the encoder, the items, the weights, the settings, the model card and an example.

    Parameters
    ----------
    checkpoint : file that training wrote
    out : folder to make
    index: "flat", "hnsw" or "ivf"; None chooses by the number of items
    overwrite : whether an exported model at `out` may be replaced
    progress : called as progress(step, done, total)

    Raises
    ------
    InputError
        If the checkpoint does not load or the data have changed. If the scores are not a product. If `out` exists.
    """
    out = Path(out)
    EXPORT.check_target(out, overwrite=overwrite)
    config, network = trained_model(Path(checkpoint), "cpu")
    model: Any = network
    histories = FullHistories.of(config)
    n_items, n_users = model.n_items - 1, histories.dataset.user_num - 1
    is_tiger = hasattr(model, "network") and hasattr(model, "tree")
    facts: dict[str, Any] = {"kind": "tiger" if is_tiger else "vectors", "model": config["model"]}
    facts |= {"max_length": int(model.max_seq_length), "items": n_items, "users": n_users}
    with replace_directory(out) as folder:
        progress("writing graphs", 0, None)
        facts |= _tiger(model, folder) if is_tiger else _vectors(model, histories, folder, index, progress)
        _write_items(folder, histories, None if is_tiger else model.item_embedding.weight[1 : n_items + 1])
        write_model(folder, load(checkpoint, map_location="cpu"), facts)
        script = "top_items_tiger.py" if is_tiger else "top_items.py"
        shutil.copyfile(Path(__file__).with_name(script), folder / "top_items.py")
        EXPORT.write(folder, facts)
    return facts


def _vectors(
    model: Any,
    histories: FullHistories,
    folder: Path,
    kind: str | None,
    progress: Progress,
) -> dict[str, Any]:
    check_vector_model(model)
    items = model.item_embedding.weight[1 : model.n_items].detach().float().numpy()
    longest = int(model.max_seq_length)
    write_graph(
        VectorEncoder(model), example_histories(longest, model.n_items), ["vector"], longest, folder / "encoder.onnx"
    )
    kind, index = build_index(items, kind)
    write_index(index, folder / "index.faiss")
    users = np.flatnonzero(histories.lengths > 0)
    sample = np.random.default_rng(0).choice(users, min(SAMPLE_USERS, len(users)), replace=False)
    with pq.ParquetWriter(folder / "users.parquet", _schema("user_id", items.shape[1])) as writer:
        for first in range(0, len(users), _BATCH):
            batch = users[first : first + _BATCH]
            writer.write_table(_table("user_id", histories.user_ids(batch), _user_vectors(model, histories, batch)))
            progress("writing user vectors", first + len(batch), len(users))
    measured = recall(index, items, _user_vectors(model, histories, np.sort(sample)))
    return {"index": kind, f"recall_at_{TOP_K}": measured, "recall_users": len(sample), "metric": "inner product"}


def _tiger(model: Any, folder: Path) -> dict[str, Any]:
    network, settings = model.network, model.settings
    inputs = example_histories(network.max_history, model.n_items)
    users = {"users": torch.arange(len(inputs["lengths"]))}
    encoder = TigerEncoder(network)
    write_graph(encoder, {**inputs, **users}, ["states", "mask"], network.max_history, folder / "encoder.onnx")
    with torch.no_grad():
        states, mask = encoder(**inputs, **users)
    codes = torch.zeros(len(states), network.depth, dtype=torch.long)
    rows = {"states": states, "mask": mask, "codes": codes}
    write_graph(TigerDecoder(network), rows, ["logits"], None, folder / "decoder.onnx")
    tree: PrefixTree = model.tree
    arrays = {f"{name}{level}": part for name in ("first", "code") for level, part in enumerate(getattr(tree, name))}
    arrays["item"] = tree.item
    np.savez(folder / "tree.npz", **{name: part.numpy() for name, part in arrays.items()})
    beams = tree.n_items if settings.exact_ranking else min(tree.n_items, max(settings.beams, 2 * TOP_K))
    return {"sizes": list(network.sizes), "beams": beams, "user_buckets": network.n_users}


@torch.no_grad()
def _user_vectors(model: Any, histories: FullHistories, users: NDArray[np.int64]) -> NDArray[np.float32]:
    batch = histories.batch(users)
    vectors: NDArray[np.float32] = model(batch[model.ITEM_SEQ], batch[model.ITEM_SEQ_LEN]).float().numpy()
    return vectors


def _write_items(folder: Path, histories: FullHistories, vectors: torch.Tensor | None) -> None:
    ids = histories.item_ids(np.arange(1, histories.dataset.item_num))
    if vectors is None:
        users = histories.user_ids(np.arange(1, histories.dataset.user_num))
        for name, column in (("item", ids), ("user", users)):  # row r has the number r + 1
            pq.write_table(pa.table({f"{name}_id": pa.array(column, pa.string())}), folder / f"{name}s.parquet")
        return
    pq.write_table(_table("item_id", ids, vectors.detach().float().numpy()), folder / "items.parquet")


def _schema(name: str, width: int) -> pa.Schema:
    return pa.schema([(name, pa.string()), ("vector", pa.list_(pa.float32(), width))])


def _table(name: str, ids: Any, vectors: NDArray[np.float32]) -> pa.Table:
    if not np.isfinite(vectors).all():
        raise InputError("The model's vectors are not finite: its training diverged. Train again.")
    flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel(), pa.float32()), vectors.shape[1])
    return pa.Table.from_arrays([pa.array(ids, pa.string()), flat], schema=_schema(name, vectors.shape[1]))
