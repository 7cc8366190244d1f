"""One run through RecBole: export a store, assemble the settings and keep RecBole quiet."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from genpas_plugins.data.recbole_files import TIME, export_recbole
from genpas_plugins.data.sequences import SequenceStore
from genpas_plugins.experiments.allowed_settings import is_of_a_method, measures
from genpas_plugins.settings.yaml_text import read_yaml
from genpas_plugins.support.console import Tell, hide_arguments, stdout_to_stderr
from genpas_plugins.support.errors import InputError, require_recbole
from genpas_plugins.support.run_result import RunResult, TestResult

DATA, DATASET = "dataset", "store"  # the directory of an exported store, and RecBole's name of it

BASE: Mapping[str, Any] = {
    "load_col": {"inter": ["user_id", "item_id", TIME]},
    "loss_type": "CE",
    "train_neg_sample_args": None,
}
"""Settings of every run, which files and options may change: full ranking, cross-entropy over all items."""


def export(store: Path, folder: Path, tell: Tell) -> Path:
    """Write a store as a RecBole data set below `folder` over an earlier one. Return the file that is evaluated on."""
    opened = SequenceStore.open(store)

    def progress(done: int) -> None:
        tell("exporting for RecBole", done, opened.n_interactions)

    export_recbole(opened, folder / DATA, DATASET, overwrite=True, progress=progress)
    return folder / DATA / DATASET / f"{DATASET}.inter"


@dataclass(frozen=True)
class RecBoleRun:
    """A run to be. Another framework is another class with the methods check, train, test and discard."""

    data: Path  # the folder of an `export`
    folder: Path  # RecBole's working directory. A result's checkpoint is relative to it, so the folder may be moved.
    name: str  # name of the directory with the checkpoints
    model: str
    metric: str  # validation metric that chooses the checkpoint, as NDCG@10
    settings: Mapping[str, Any]  # RecBole's settings, over BASE

    def check(self) -> None:
        """Raise InputError if the run could not be trained to its last epoch."""
        with quiet_recbole(self.folder):
            from recbole_ext import experiment_cell

            experiment_cell.check(self._settings(), model=self.model, dataset=DATASET)

    def train(self, on_epoch: Callable[[int, float], None]) -> RunResult:
        """Train anew. `on_epoch` gets epoch and figure after every validation; an exception of it ends the run."""
        self.discard()
        with quiet_recbole(self.folder):
            from recbole_ext import training_run

            result = training_run.train(self._settings(), model=self.model, dataset=DATASET, on_epoch=on_epoch)
        return replace(result, checkpoint=str(Path(result.checkpoint).relative_to(self.folder)))

    def test(self, checkpoint: str) -> TestResult:
        """Test a checkpoint of `train` in both protocols."""
        with quiet_recbole(self.folder):
            from recbole_ext import experiment_cell

            return experiment_cell.test(self.folder / checkpoint, self.data / DATA / DATASET)

    def discard(self) -> None:
        """Remove the checkpoints of this run."""
        shutil.rmtree(self._checkpoints, ignore_errors=True)

    @property
    def _checkpoints(self) -> Path:
        return self.folder / "checkpoints" / self.name

    def _settings(self) -> dict[str, Any]:
        paths = {"checkpoint_dir": str(self._checkpoints), "data_path": str(self.data / DATA)}
        own = {**paths, "valid_metric": self.metric, "state": "ERROR", "show_progress": False}
        return {**BASE, **self.settings, **measures(self.settings, self.metric), **own}


def check_models(models: Sequence[str], keys: Sequence[str] = ()) -> None:
    """Raise InputError without RecBole. Models that it lacks and settings that no model reads are refused too."""
    require_recbole()
    with quiet_recbole(None):
        from recbole_ext import experiment_cell, known_settings

        for model in models:
            known_settings.check_model(model)
        experiment_cell.check_known(models, keys)


def settings_of(files: Sequence[Path]) -> dict[str, Any]:
    """Return the settings in RecBole's YAML files. Later files win.

    Raises InputError for a file without settings or with settings that say what is trained on.
    """
    merged: dict[str, Any] = {}
    for file in files:
        yaml = read_yaml(file, "--config")
        if not isinstance(yaml.content, dict):
            raise InputError(f"{file} has no settings. Add lines such as `learning_rate: 0.001`, or leave it out.")
        for key in yaml.content:
            if is_of_a_method(str(key)):
                raise InputError(f"{yaml.where([(key,)])}: {key} says what is trained on. Remove it.")
        merged |= {str(key): value for key, value in yaml.content.items()}
    return merged


@contextmanager
def quiet_recbole(folder: Path | None) -> Iterator[None]:
    """Run RecBole inside `folder` without our command line. Logs go to the folder and output to stderr."""
    before = Path.cwd()
    with hide_arguments(), stdout_to_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch and pandas at RecBole's code, once a run
        try:
            if folder is not None:
                os.chdir(folder)
            yield
        finally:
            os.chdir(before)
