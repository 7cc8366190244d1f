"""The training of `genpas search --train`: one export of the store and one run a point in the search's folder."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from genpas_plugins.experiments.allowed_settings import measures
from genpas_plugins.experiments.plan import digest
from genpas_plugins.experiments.run import (
    BASE,
    DATA,
    DATASET,
    RecBoleRun,
    check_models,
    export,
    quiet_recbole,
    settings_of,
)
from genpas_plugins.sampling.policy import Policy, SamplingPolicy
from genpas_plugins.search.search_output import MARK, check_replaceable
from genpas_plugins.search.study import OnEpoch, open_study, run_study
from genpas_plugins.settings.yaml_text import parse_settings
from genpas_plugins.support.atomic import write_text
from genpas_plugins.support.console import Tell, progress_bar
from genpas_plugins.support.errors import InputError
from genpas_plugins.support.folder_lock import lock_folder

METRIC = "NDCG@10"

OURS = ("genpas", "seed", "checkpoint_dir", "data_path", "valid_metric", "epochs")
"""Settings that the search makes itself, or that have an option of their own."""


@dataclass(frozen=True)
class SearchTraining:
    """Train and test points of a store through RecBole in the search's folder."""

    store: Path
    folder: Path
    model: str
    files: tuple[Path, ...]  # RecBole's configuration: later files win over earlier ones, and `overrides` over all
    overrides: Mapping[str, Any]
    seed: int  # of every run; None for the defaults
    epochs: int | None
    pairs_per_epoch: int | None

    @classmethod
    def checked(
        cls, store: Path, out: Path, model: str, files: Sequence[Path], settings: Sequence[str], **more: Any
    ) -> SearchTraining:
        """Check everything that can be checked before the search starts.

        Raises InputError without Optuna or RecBole. An unknown model, a missing file and settings that the search
        makes are refused too.
        """
        if importlib.util.find_spec("optuna") is None:
            raise InputError("--train needs Optuna: pip install 'genpas-plugins[search]'.")
        settings_of(files)
        overrides = parse_settings(settings)
        for key in overrides:
            if key in OURS or key.startswith("genpas_"):
                raise InputError(
                    f"--set {key}=…: the search sets that itself. Leave it out; seed, epochs and pairs an epoch have "
                    "options."
                )
        check_replaceable(out / "recbole.yaml")
        check_models((model,))
        return cls(store.resolve(), out.resolve(), model, tuple(file.resolve() for file in files), overrides, **more)

    @property
    def depends_on(self) -> dict[str, Any]:
        """What a score depends on beside the point in plain values."""
        return {
            "store": digest(self.store),
            "model": self.model,
            "config files": [hashlib.sha256(file.read_bytes()).hexdigest()[:16] for file in self.files],
            "settings": {key: str(value) for key, value in sorted(self.overrides.items())},
            "seed": self.seed,
            "epochs": self.epochs,
            "pairs_per_epoch": self.pairs_per_epoch,
        }

    def prepare(self, tell: Tell) -> None:
        """Export the store and write `recbole.yaml`. `genpas train` can read it for the same measurement."""
        export(self.store, self.folder, tell)
        paths = {"data_path": str(self.folder / DATA), "dataset": DATASET}
        settings = {**BASE, **paths, **measures({}, METRIC), "valid_metric": METRIC}
        head = f"{MARK}: the store as a RecBole data set, full ranking, cross-entropy over all items.\n"
        write_text(self.folder / "recbole.yaml", head + yaml.safe_dump(settings, allow_unicode=True))

    def train(self, policy: SamplingPolicy, on_epoch: OnEpoch) -> Mapping[str, Any]:
        """Train at a point and return the run as plain values. "score" is its best validation."""
        result = self._run(policy).train(on_epoch)
        return {**asdict(result), "score": result.validation}

    def test(self, result: Mapping[str, Any]) -> Mapping[str, float]:
        """Return the test figures of what `train` returned."""
        with quiet_recbole(self.folder):
            from recbole_ext.training_run import evaluate_checkpoint

            return evaluate_checkpoint(self.folder / result["checkpoint"])

    def discard(self, policy: SamplingPolicy) -> None:
        """Remove the checkpoints of a point."""
        self._run(policy).discard()

    def _run(self, policy: SamplingPolicy) -> RecBoleRun:
        exponents = {"alpha": policy.alpha, "beta": policy.beta, "gamma": policy.gamma}
        genpas = {"strategy": policy.strategy, **exponents, "pairs_per_epoch": self.pairs_per_epoch}
        budget = {} if self.epochs is None else {"epochs": self.epochs}
        settings = {**settings_of(self.files), **self.overrides, "genpas": genpas, "seed": self.seed, **budget}
        return RecBoleRun(self.folder, self.folder, policy.label, self.model, METRIC, settings)


def train_shortlist(training: SearchTraining, points: Sequence[Any], pruner: str) -> tuple[Policy, dict[str, Any]]:
    """Train the points as `study.run_study` does. Return the best point and the study as plain values.

    Raises InputError for a study of other settings before anything is written. Another run must not hold the folder.
    """
    file, settings = training.folder / "study.db", training.depends_on
    open_study(file, pruner, settings)
    with lock_folder(training.folder), progress_bar() as tell:
        training.prepare(tell)
        outcome = run_study(
            points,
            training.train,
            training.test,
            file,
            settings=settings,
            pruner=pruner,
            discard=training.discard,
            progress=tell,
        )
    study = {
        "file": file.name,
        "model": training.model,
        "trials": [
            {"point": trial.label, "validation_ndcg@10": trial.score, "pruned": trial.pruned, "epochs": trial.epochs}
            for trial in outcome.trials
        ],
        "test": dict(outcome.test),
        "trained_on": outcome.chosen.result.get("trained_on"),
        "checkpoint": outcome.chosen.result.get("checkpoint"),
    }
    return next(policy for policy in points if policy.label == outcome.chosen.label), study
