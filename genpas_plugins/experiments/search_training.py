"""The RecBole side of `genpas search --train`: the store exported once, one run a point, all in the search's folder."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genpas_plugins.data.recbole_files import TIME, export_recbole
from genpas_plugins.data.sequences import SequenceStore
from genpas_plugins.data.storage import HEADER
from genpas_plugins.sampling.policy import SamplingPolicy
from genpas_plugins.search.search_output import MARK, check_replaceable
from genpas_plugins.search.study import OnEpoch, Tell
from genpas_plugins.settings.yaml_text import parse_settings
from genpas_plugins.support.atomic import replaced_file
from genpas_plugins.support.console import own_arguments_hidden, stdout_to_stderr
from genpas_plugins.support.errors import InputError, require_recbole

DATASET = "store"
OURS = ("genpas", "seed", "checkpoint_dir", "data_path", "valid_metric", "epochs")
"""Settings that the search makes itself, or that have an option of their own."""


@dataclass(frozen=True)
class RecBoleTrials:
    """Train and test points of a store through RecBole.

    folder    : where the data set, checkpoints and RecBole's logs go
    files     : RecBole's configuration, later files win
    overrides : settings that win over the files
    """

    store: Path
    folder: Path
    model: str
    files: tuple[Path, ...]
    overrides: Mapping[str, Any]
    seed: int
    epochs: int | None
    pairs_per_epoch: int | None

    @classmethod
    def checked(
        cls, store: Path, out: Path, model: str, files: Sequence[Path], settings: Sequence[str], **more: Any
    ) -> RecBoleTrials:
        """Check everything that can be before the search starts.

        Raises InputError without Optuna or RecBole, for an unknown model, a missing file, and settings that the search
        makes itself.
        """
        if importlib.util.find_spec("optuna") is None:
            raise InputError("--train needs Optuna: pip install 'genpas-plugins[search]'.")
        for file in files:
            if not file.is_file():
                raise InputError(f"{file} does not exist; check the path after --config.")
        overrides = parse_settings(settings)
        for key in overrides:
            if key in OURS or key.startswith("genpas_"):
                raise InputError(
                    f"--set {key}=…: the search sets that itself; seed, epochs and pairs an epoch have options. "
                    "Leave it out."
                )
        check_replaceable(out / "recbole.yaml")
        with quiet_recbole(None):
            check_model(model)
        return cls(store.resolve(), out.resolve(), model, tuple(f.resolve() for f in files), overrides, **more)

    @property
    def depends_on(self) -> dict[str, Any]:
        """What a score depends on beside the point, as plain values."""
        digests = [hashlib.sha256(file.read_bytes()).hexdigest()[:16] for file in self.files]
        return {
            "store": hashlib.sha256((self.store / HEADER).read_bytes()).hexdigest()[:16],
            "model": self.model,
            "config files": digests,
            "settings": {key: str(value) for key, value in sorted(self.overrides.items())},
            "seed": self.seed,
            "epochs": self.epochs,
            "pairs_per_epoch": self.pairs_per_epoch,
        }

    def prepare(self, tell: Tell) -> None:
        """Export the store for RecBole and write `recbole.yaml`, which says how to read and measure it."""
        opened = SequenceStore.open(self.store)
        export_recbole(
            opened,
            self.folder / "dataset",
            DATASET,
            overwrite=True,
            progress=lambda done: tell("exporting for RecBole", done, opened.n_interactions),
        )
        with replaced_file(self.folder / "recbole.yaml") as file:
            file.write_text(
                f"{MARK}: the store as a RecBole data set, full ranking, cross-entropy over all items.\n"
                f"data_path: {json.dumps(str(self.folder / 'dataset'), ensure_ascii=False)}\n"
                f"dataset: {DATASET}\n"
                f"load_col: {{inter: [user_id, item_id, {TIME}]}}\n"
                "loss_type: CE\n"
                "train_neg_sample_args: ~\n"
                "metrics: [NDCG, Recall]\n"
                "topk: [10]\n"
                "valid_metric: NDCG@10\n",
                encoding="utf-8",
            )

    def train(self, policy: SamplingPolicy, on_epoch: OnEpoch) -> Mapping[str, Any]:
        """Train at a point and return what RecBole's run says."""
        genpas = {"strategy": policy.strategy, "alpha": policy.alpha, "beta": policy.beta, "gamma": policy.gamma}
        settings = {
            **self.overrides,
            "genpas": {**genpas, "pairs_per_epoch": self.pairs_per_epoch},
            "seed": self.seed,
            "checkpoint_dir": str(self._checkpoints(policy)),
            "data_path": str(self.folder / "dataset"),
            "valid_metric": "NDCG@10",
            "state": "ERROR",
            "show_progress": False,
        }
        if self.epochs is not None:
            settings["epochs"] = self.epochs
        self.discard(policy)
        with quiet_recbole(self.folder):
            files = [self.folder / "recbole.yaml", *self.files]
            result: Mapping[str, Any] = _trial().train(
                settings, model=self.model, dataset=DATASET, config_files=files, on_epoch=on_epoch
            )
        # Relative to the folder, so that the folder may be moved.
        return {**result, "checkpoint": str(Path(result["checkpoint"]).relative_to(self.folder))}

    def test(self, result: Mapping[str, Any]) -> Mapping[str, float]:
        """Return the test figures of what `train` returned."""
        with quiet_recbole(self.folder):
            figures: Mapping[str, float] = _trial().evaluate_checkpoint(self.folder / result["checkpoint"])
            return figures

    def discard(self, policy: SamplingPolicy) -> None:
        """Remove the checkpoints of a point."""
        shutil.rmtree(self._checkpoints(policy), ignore_errors=True)

    def _checkpoints(self, policy: SamplingPolicy) -> Path:
        return self.folder / "checkpoints" / policy.label


def check_model(model: str) -> None:
    """Raise InputError without RecBole, and for a model that it does not have."""
    require_recbole()
    from recbole_ext import known_settings

    known_settings.check_model(model)


def _trial() -> Any:
    from recbole_ext import run_one

    return run_one


@contextmanager
def quiet_recbole(folder: Path | None) -> Iterator[None]:
    """Run RecBole without our command line, its words on stderr, and inside `folder`, where it leaves its logs."""
    before = Path.cwd()
    with (
        own_arguments_hidden(),
        stdout_to_stderr(),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", FutureWarning)  # of torch and pandas at RecBole's code, once a trial
        try:
            if folder is not None:
                os.chdir(folder)
            yield
        finally:
            os.chdir(before)
