"""Make the RecBole configuration of both RecBole measurements, stock or with the `genpas` key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.jobs import Job
from benchmarks.sizes import Shape, Sizes

DATA_SET = "synthetic"
MAX_LENGTH = 50
BATCH = 2048


def data_job(sizes: Sizes, folder: Path) -> Job:
    """Return the job that writes the .inter file. Both sections name the same job, which runs once."""
    arguments = {"folder": folder / "recbole", "shape": sizes.recbole}
    return Job("data", {"make": "RecBole .inter file"}, "recbole_setup", "write_data", arguments, recorded=False)


def write_data(folder: str, shape: dict[str, int]) -> dict[str, Any]:
    """Write the .inter file."""
    from benchmarks.synthetic import write_inter

    write_inter(Path(folder), DATA_SET, Shape(**shape))
    return {}


def config(folder: str, genpas: dict[str, Any] | None) -> Any:
    """Return the Config of SASRec with cross-entropy on the synthetic data. Without `genpas` it is stock."""
    import torch
    from recbole.config import Config

    import recbole_ext  # noqa: F401 – registers

    torch.set_num_threads(1)
    values: dict[str, Any] = {
        "data_path": folder,
        "checkpoint_dir": folder,
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "USER_ID_FIELD": "user_id",
        "ITEM_ID_FIELD": "item_id",
        "TIME_FIELD": "timestamp",
        "MAX_ITEM_LIST_LENGTH": MAX_LENGTH,
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"},
        "train_neg_sample_args": None,
        "train_batch_size": BATCH,
        "use_gpu": False,
        "show_progress": False,
    }
    if genpas is not None:
        values["genpas"] = genpas
    return Config(model="SASRec", dataset=DATA_SET, config_dict=values)
