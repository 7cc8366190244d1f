"""A trained model in the layout of the Hugging Face Hub.

model.safetensors   the weights
config.json         RecBole's settings as plain values and the training data
README.md           the model card
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from genpas_plugins.support.directory_header import DirectoryHeader
from genpas_plugins.support.errors import InputError
from genpas_plugins.support.json_text import as_json_value, to_json
from recbole_ext.checkpoints import as_plain, config_of, plain_config, restore
from recbole_ext.genpas_key import REPORT

EXPORT = DirectoryHeader("export.json", "genpas-exported-model", 1, "exported model", "genpas export")
WEIGHTS, SETTINGS, CARD = "model.safetensors", "config.json", "README.md"
_LOCAL = ("data_path", "checkpoint_dir", "device", "log_root", "dataset_save_path", "dataloaders_save_path")
"""Settings that name places on the machine that trained; they are not published."""


def write_model(folder: Path, content: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Write the weights, settings and card of what `checkpoints.load` returns.

    `facts` go to the card. Raises InputError for parameters that are not tensors.
    """
    from safetensors.torch import save_file

    config = content["config"]
    if as_plain(content.get("other_parameter") or {}, "other_parameter"):
        raise InputError(f"{config['model']} keeps parameters beside its weights, which safetensors cannot hold.")
    # Copies: safetensors refuses tensors that share memory.
    weights = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in content["state_dict"].items()}
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    stored = plain_config(config)
    stored["final"] = {key: value for key, value in stored["final"].items() if key not in _LOCAL and key != REPORT}
    settings = {"architectures": [config["model"]], "trained_on": config[REPORT], "recbole": stored}
    (folder / SETTINGS).write_text(to_json(settings), encoding="utf-8")
    (folder / CARD).write_text(card(config, facts), encoding="utf-8")


def load_model(folder: str | Path, data_path: str | Path, device: str = "cpu") -> dict[str, Any]:
    """Return the state of an exported model as `checkpoints.load` does.

    Parameters
    ----------
    folder : folder that `genpas export` wrote
    data_path : RecBole's folder of data sets with the model's data set
    device : device of the weights

    Raises
    ------
    InputError
        If the folder is damaged or has another kind or version.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(folder)
    EXPORT.verify(folder)
    try:
        stored = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))["recbole"]
        data = str(Path(data_path) / stored["final"]["dataset"])  # as RecBole's Config has it
        local = {"data_path": data, "checkpoint_dir": "saved", "device": torch.device(device)}
        config = config_of(restore({**stored, "final": {**stored["final"], **local}}))
        weights = load_file(folder / WEIGHTS, device=device)
    except (ValueError, LookupError, TypeError, AttributeError, SafetensorError) as error:
        raise EXPORT.damaged(folder, error) from error
    return {"config": config, "state_dict": weights, "other_parameter": None}


def card(config: Any, facts: Mapping[str, Any]) -> str:
    """Return the model card: the model, its training data and how to use the files."""
    import yaml

    front = {"library_name": "recbole", "tags": ["recommendation", "sequential-recommendation", str(config["model"])]}
    rows = [("data set", config["dataset"]), *facts.items()]
    trained = as_json_value(config[REPORT] or {"pairs": "RecBole's own, without a genpas key"})
    return "\n".join(
        [
            f"---\n{yaml.safe_dump(front, sort_keys=False)}---",
            f"# {config['model']} on {_cell(config['dataset'])}",
            "A sequential recommender, trained with RecBole and GenPAS.",
            _table("fact", rows),
            "## Trained on",
            _table("setting", trained.items()),
            "## Use",
            "`python top_items.py FOLDER …` prints the best items after a history. It needs onnxruntime, pyarrow and "
            "the packages that it imports, and neither torch nor RecBole.",
            "`export.json` holds the format version, and size and checksum of every file.",
            "",
        ]
    )


def _table(first: str, rows: Any) -> str:
    lines = [f"| {first} | value |", "| --- | --- |", *(f"| {_cell(name)} | {_cell(value)} |" for name, value in rows)]
    return "\n" + "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    """Return text that is text in Markdown and HTML."""
    text = " ".join(str(value).split()).replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{letter}" if letter in r"\`*_[]|#" else letter for letter in text)
