"""The folder of a run and the check that a new start may continue it.

config.json     every setting; a resume with others is refused
checkpoints/    step-000001200/, the last few and the best
tensorboard/    loss, validation, pairs a second
results.json    written once at the end
.lock           empty, held while a run is at work
model.pth       the best model, for recbole_ext.checkpoints.load_data_and_model
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genpas_plugins.data.sequences import SequenceView
from genpas_plugins.settings.all_sections import flat_keys
from genpas_plugins.settings.settings_diff import differences, with_defaults
from genpas_plugins.settings.torchrec import SECTION, TorchRecConfig
from genpas_plugins.support.checksums import array_crc32
from genpas_plugins.support.errors import InputError
from genpas_plugins.support.folder_lock import LOCK
from genpas_plugins.support.json_text import as_json_value

MAY_DIFFER = frozenset(
    {
        *("epochs", "torchrec.checkpoint_every", "torchrec.keep_last", "torchrec.memory_per_rank"),
        *("gpu_id", "use_gpu", "device", "local_rank", "single_spec", "nproc", "world_size", "offset", "ip", "port"),
        *("data_path", "checkpoint_dir", "worker", "eval_batch_size", "state", "show_progress", "verbose"),
        *(
            "wandb_project",
            "save_dataset",
            "dataset_save_path",
            "save_dataloaders",
            "dataloaders_save_path",
            "loss_decimal_place",
        ),
    }
)
"""Dotted names of the settings that a resumed run may change. They do not change what a run learns."""


class RunFolder:
    """The files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints, self.tensorboard = path / "checkpoints", path / "tensorboard"
        self.config, self.results, self.model = path / "config.json", path / "results.json", path / "model.pth"

    def check(self, settings: Mapping[str, Any], *, fresh: bool) -> None:
        """Raise InputError if a run with these settings cannot begin or go on here."""
        for directory in (self.path, self.checkpoints, self.tensorboard):
            if directory.exists() and not directory.is_dir():
                raise InputError(f"{directory} is a file, where a run keeps a directory. Choose another --out.")
        if not self.config.exists():
            if self.path.exists() and any(entry.name != LOCK for entry in self.path.iterdir()):
                raise InputError(
                    f"{self.path} is not empty and no run's folder: it has no {self.config.name}. Choose another --out."
                )
            return
        saved = _read(self.config)
        if fresh:
            return
        different = "; ".join(differences(with_defaults(saved), as_json_value(settings), MAY_DIFFER))
        if different:
            raise InputError(
                f"{self.path} holds a run with other settings: {different}. Choose another --out, or start "
                "over with --fresh, which deletes that run."
            )

    def finished(self, epochs: int) -> dict[str, Any] | None:
        """Return the results of a run with `epochs` epochs or an early stop. None: the run continues."""
        if not self.results.exists():
            return None
        results = _read(self.results)
        if results.get("epochs", 0) > epochs:
            raise InputError(
                f"{self.path} holds a run of {results['epochs']} epochs; epochs is {epochs}. Choose another --out."
            )
        return results if results.get("stopped_early") or results.get("epochs") == epochs else None

    def clear(self) -> list[str]:
        """Delete only the files of a run and return their names."""
        removed = []
        for entry in (self.results, self.model, self.tensorboard, self.checkpoints, self.config):
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry.exists():
                entry.unlink()
            else:
                continue
            removed.append(entry.name)
        return removed


def all_settings(config: Mapping[str, Any], section: TorchRecConfig, view: SequenceView) -> dict[str, Any]:
    """Return every setting of a run as plain values and a fingerprint of the training data."""
    view.store.check_content()
    # The sections hold the values of the flat keys.
    flat = set(flat_keys())
    settings = {str(key): value for key, value in config.items() if key not in flat}
    settings[SECTION] = section
    settings["data"] = {
        "items": view.store.n_items,
        "interactions": int(view.lengths().sum()),
        "checksum": array_crc32([view.store.values, view.store.offsets, view.lengths()]),
    }
    result: dict[str, Any] = as_json_value(settings)
    return result


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file} is not a file of a run ({error}). Choose another --out.") from error
    if not isinstance(content, dict):
        raise InputError(f"{file} is not a file of a run. Choose another --out.")
    return content
