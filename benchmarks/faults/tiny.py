"""Small inputs of the campaigns: interactions, a store, semantic IDs and settings of a training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from genpas_plugins import SequenceStore
from genpas_plugins.semantic_ids.codebook import SemanticIds


def make_store(path: Path, seed: int = 0) -> None:
    """Save a small store with ids and columns."""
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(1, 30, 40))])
    n = int(offsets[-1])
    SequenceStore.from_arrays(
        rng.integers(1, 31, n),
        offsets,
        n_items=30,
        user_ids=[f"u{number}" for number in range(40)],
        item_ids=np.arange(30) + 100,
        columns={"timestamp": np.arange(n), "price": rng.random(n)},
    ).save(path)


def make_semantic_ids(path: Path) -> None:
    """Save semantic IDs of 30 items."""
    codes = np.stack([np.arange(30) // 10, np.arange(30) % 10], axis=1)
    SemanticIds.of(codes, item_ids=[f"i{number}" for number in range(30)]).save(path)


def write_csv(file: Path, rows: int, seed: int = 0) -> None:
    """Write random interactions of `rows` rows."""
    rng = np.random.default_rng(seed)
    table = np.stack([rng.integers(rows // 20 + 1, size=rows), rng.integers(99, size=rows), rng.permutation(rows)], 1)
    np.savetxt(file, table, fmt="%d", delimiter=",", header="user_id,item_id,timestamp", comments="")


def write_interactions(folder: Path) -> None:
    """Write RecBole's data set `tiny`: 30 users, 40 items."""
    (folder / "tiny").mkdir()
    rows = [
        f"u{user}\ti{(user * 7 + place * 3 + place * place) % 40}\t{place}"
        for user in range(30)
        for place in range(6 + user % 5)
    ]
    header = "user_id:token\titem_id:token\ttimestamp:float"
    (folder / "tiny" / "tiny.inter").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")


def write_settings(folder: Path) -> Path:
    """Write RecBole's data set `tiny` and the settings of a small training; return the settings file."""
    write_interactions(folder)
    settings = {
        **{"data_path": str(folder), "epochs": 4, "seed": 7, "show_progress": False, "state": "ERROR"},
        **{"load_col": {"inter": ["user_id", "item_id", "timestamp"]}, "MAX_ITEM_LIST_LENGTH": 5, "use_gpu": False},
        **{"n_layers": 1, "n_heads": 1, "hidden_size": 8, "inner_size": 8, "learning_rate": 0.01},
        **{"hidden_dropout_prob": 0.3, "attn_dropout_prob": 0.3, "train_batch_size": 24, "eval_batch_size": 16},
        **{"metrics": ["NDCG", "Recall"], "topk": [5], "valid_metric": "NDCG@5", "train_neg_sample_args": None},
        "genpas": {"strategy": "sampled", "alpha": 1, "beta": 0, "gamma": 0, "pairs_per_epoch": 240},
    }
    file = folder / "settings.yaml"
    file.write_text(json.dumps(settings, indent=1), encoding="utf-8")
    return file


def write_sharded_settings(settings: Path, **more: object) -> Path:
    """Write the settings of the same training for `torchrec_ext.train` as `torchrec.yaml`; return the file."""
    left_out = ("train_neg_sample_args", "state")
    given = {name: value for name, value in json.loads(settings.read_text()).items() if name not in left_out}
    given |= {"model": "SASRec", "dataset": "tiny", "torchrec": {"learning_rate": 0.1, "checkpoint_every": 3}}
    file = settings.with_name("torchrec.yaml")
    file.write_text(json.dumps(given | more, indent=1), encoding="utf-8")
    return file
