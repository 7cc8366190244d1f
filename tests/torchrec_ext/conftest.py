"""Shared by the tests of the TorchRec adapter."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.faults.tiny import write_interactions

collect_ignore_glob = []
if importlib.util.find_spec("torch") is None:
    collect_ignore_glob.append("test_*.py")
elif importlib.util.find_spec("torchrec") is None:
    collect_ignore_glob.extend(["test_batch.py", "test_stream.py", "test_pipeline_stage.py"])


@pytest.fixture(scope="session", autouse=True)
def _one_quiet_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a configuration file for torchrec_ext.train: 30 users, 40 items, two epochs of ten steps, much dropout."""
    folder = tmp_path_factory.mktemp("tiny")
    write_interactions(folder)
    settings = {
        **{"model": "SASRec", "dataset": "tiny", "data_path": str(folder), "epochs": 2, "seed": 7},
        **{"load_col": {"inter": ["user_id", "item_id", "timestamp"]}, "MAX_ITEM_LIST_LENGTH": 5},
        **{"n_layers": 1, "n_heads": 1, "hidden_size": 8, "inner_size": 8, "learning_rate": 0.01},
        **{"hidden_dropout_prob": 0.3, "attn_dropout_prob": 0.3, "train_batch_size": 24, "eval_batch_size": 16},
        **{"metrics": ["NDCG", "Recall"], "topk": [5], "valid_metric": "NDCG@5"},
        "genpas": {"strategy": "sampled", "alpha": 1, "beta": 0, "gamma": 0, "pairs_per_epoch": 235},
        "torchrec": {"learning_rate": 0.1, "checkpoint_every": 3},
    }
    file = folder / "settings.yaml"
    file.write_text(json.dumps(settings), encoding="utf-8")
    return file
