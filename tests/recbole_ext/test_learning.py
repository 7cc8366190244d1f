"""Our models learn: each item is followed by the next one, so a model that reads histories ranks it first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from recbole.quick_start import load_data_and_model, run_recbole

N_ITEMS = 12
MODELS: dict[str, dict[str, Any]] = {
    "FMLPRec": {},
    "CL4SRec": {},
    "DuoRec": {},
    "MELT": {"warmup_epochs": 6, "head_from": 0.5},
}


@pytest.fixture(scope="module")
def cycle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write users who walk along a cycle of items, one after the other; some walk longer, and some items are rarer."""
    folder = tmp_path_factory.mktemp("data") / "cycle"
    folder.mkdir()
    rows = [f"u{u}\ti{(u % 9 + t) % N_ITEMS}\t{t}" for u in range(60) for t in range(7 + u % 3)]
    (folder / "cycle.inter").write_text("\n".join(["user_id:token\titem_id:token\ttimestamp:float", *rows]) + "\n")
    return folder.parent


@pytest.mark.parametrize("model", MODELS)
def test_it_learns_what_always_follows(model: str, cycle: Path, tmp_path: Path):
    settings = {
        "data_path": str(cycle),
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "genpas": "multi_target",
        "hidden_size": 16,
        "inner_size": 16,
        "n_layers": 1,
        "hidden_dropout_prob": 0.0,
        "attn_dropout_prob": 0.0,
        "train_neg_sample_args": None,
        "MAX_ITEM_LIST_LENGTH": 3,
        "epochs": 15,
        "learning_rate": 0.01,
        "train_batch_size": 60,
        "metrics": ["Recall"],
        "topk": [1],
        "valid_metric": "Recall@1",
        "state": "ERROR",
        "show_progress": False,
        "checkpoint_dir": str(tmp_path),
        **MODELS[model],
    }
    result = run_recbole(model, "cycle", config_dict=settings)
    assert result["test_result"]["recall@1"] > 0.95
    (checkpoint,) = tmp_path.glob(f"{model}*.pth")
    _, loaded, *_ = load_data_and_model(checkpoint)
    assert type(loaded).__name__ == model
