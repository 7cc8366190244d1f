"""The RecBole side of `genpas compare`: one run for each method and seed, each finished one kept as a JSON file."""

from __future__ import annotations

import filecmp
import hashlib
import importlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from genpas_plugins.atomic import replaced_file
from genpas_plugins.cli import train as recbole_command
from genpas_plugins.cli.compare_methods import Method
from genpas_plugins.cli.output import Tell
from genpas_plugins.cli.search_training import DATASET, RecBoleTrials, quiet_recbole
from genpas_plugins.configuration import PREFIX, SECTION
from genpas_plugins.errors import InputError, nearest
from genpas_plugins.json_text import plain, to_json
from genpas_plugins.mixing import settings as mixing
from genpas_plugins.search.output import check_replaceable
from genpas_plugins.storage import HEADER

OURS = ("seed", "epochs", "stopping_step", "valid_metric", "checkpoint_dir", "data_path")
"""Settings that the comparison makes itself."""

METRICS = ("NDCG", "Recall", "Hit", "MRR", "MAP", "Precision")
"""What can choose the checkpoint: more is better, and the number after @ is the length of the list."""

CELLS, CHECKPOINTS = "cells", "checkpoints"


@dataclass(frozen=True)
class Cell:
    """One method with one seed; `name` is that of its file and of its checkpoints' folder."""

    method: Method
    seed: int

    @property
    def name(self) -> str:
        """The label and the seed."""
        return f"{self.method.label}.seed{self.seed}"


@dataclass(frozen=True)
class Comparison:
    """Train and test methods on a store through RecBole, all for the same number of epochs of the same length.

    trials : what `genpas search` trains with: the store, the folder, the model, and RecBole's files and settings
    metric : what chooses the checkpoint on validation, as NDCG@10
    epochs, pairs_per_epoch : the budget
    """

    trials: RecBoleTrials
    metric: str
    epochs: int
    pairs_per_epoch: int

    @classmethod
    def checked(
        cls,
        store: Path,
        out: Path,
        model: str,
        files: Sequence[Path],
        settings: Sequence[str],
        *,
        metric: str,
        epochs: int,
        pairs_per_epoch: int,
    ) -> Comparison:
        """Check the options. Raises InputError without RecBole or for what training cannot use or would overrule."""
        for file in files:
            recbole_command.check_yaml(file)
            for key in _content(file):
                if _of_a_method(key):
                    raise InputError(
                        f"{file}: {key} is what methods differ in; remove it, or give the file to --methods."
                    )
        overrides = recbole_command.parse_settings(settings, "genpas compare", "write --set key=value")
        for key in overrides:
            if key in OURS or _of_a_method(key):
                raise InputError(f"--set {key}=…: the comparison or a method sets that itself. Leave it out.")
        for folder in ("", CELLS, CHECKPOINTS):
            if (out / folder).exists() and not (out / folder).is_dir():
                raise InputError(f"{out / folder} is a file where a directory must be; choose another --out.")
        if out.resolve() == store.resolve():
            raise InputError(f"--out {out} is the store itself; choose another directory.")
        check_replaceable(out / "recbole.yaml")
        with quiet_recbole(None):
            recbole_command.recbole_run(model)
        trials = RecBoleTrials(
            store.resolve(),
            out.resolve(),
            model,
            tuple(file.resolve() for file in files),
            overrides,
            seed=0,
            epochs=epochs,
            pairs_per_epoch=pairs_per_epoch,
        )
        return cls(trials, check_metric(metric), epochs, pairs_per_epoch)

    def depends_on(self, cell: Cell) -> dict[str, Any]:
        """Return what a cell's figures depend on, as plain JSON values."""
        given = {**self.trials.depends_on, "seed": cell.seed, "metric": self.metric, "method": cell.method.settings}
        if cell.method.store is not None:
            given["regenerated store"] = self._trials_of(cell).depends_on["store"]
        content: dict[str, Any] = plain(given)
        return content

    def finished(self, cell: Cell) -> dict[str, Any] | None:
        """Return what a cell gave that is finished, None for one that is not.

        Raises InputError for a file that is no cell's, and for a cell of other settings.
        """
        file = self._file(cell)
        if not file.exists():
            return None
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            before, result = content["configuration"], content["result"]
            figures: dict[str, Any] = {name: result[name] for name in ("validation", "test", "pairs_seen", "seconds")}
            figures |= result
        except (ValueError, LookupError, TypeError) as error:
            raise InputError(f"{file} is no finished cell of a comparison; remove it to train that cell.") from error
        now = self.depends_on(cell)
        if before != now:
            key = next(key for key in {**before, **now} if before.get(key) != now.get(key))
            raise InputError(
                f"{file} was trained otherwise: {key} was {before.get(key)!r} and is {now.get(key)!r} now. "
                "Choose another --out, or remove the file to train that cell anew."
            )
        return figures

    def prepare(self, cells: Sequence[Cell], tell: Tell) -> None:
        """Export what these cells train on. Raises InputError for stores and configurations that cannot be compared."""
        self.trials.prepare(tell)
        for cell in {cell.method.store: cell for cell in cells if cell.method.store is not None}.values():
            trials = self._trials_of(cell)
            trials.prepare(tell)
            if not filecmp.cmp(_interactions(self.trials), _interactions(trials), shallow=False):
                raise InputError(
                    f"{cell.method.label}: {cell.method.store} was not regenerated from {self.trials.store}; it would "
                    "be tested on other interactions. Regenerate that store, or compare on the other one's."
                )
        with quiet_recbole(self.trials.folder):
            for cell in {cell.method.label: cell for cell in cells}.values():
                try:
                    _cells().check(self._settings(cell), **self._recbole)
                except InputError as error:
                    raise InputError(f"{cell.method.label}: {error}") from error

    def run(self, cell: Cell, tell: Tell) -> dict[str, Any]:
        """Train and test a cell, keep what it gave in its file, and return that."""
        shutil.rmtree(self._checkpoints(cell), ignore_errors=True)
        tell(cell.name, 0, self.epochs)
        with quiet_recbole(self.trials.folder):
            result: dict[str, Any] = _cells().run(
                self._settings(cell),
                **self._recbole,
                on_epoch=lambda epoch, score: tell(cell.name, epoch + 1, self.epochs),
            )
        # Relative to the folder, so that the folder may be moved.
        result["checkpoint"] = str(Path(result["checkpoint"]).relative_to(self.trials.folder))
        with replaced_file(self._file(cell)) as temporary:
            content = {"method": cell.method.label, "configuration": self.depends_on(cell), "result": result}
            temporary.write_text(to_json(content), encoding="utf-8")
        return result

    @property
    def _recbole(self) -> dict[str, Any]:
        return {
            "model": self.trials.model,
            "dataset": DATASET,
            "config_files": [self.trials.folder / "recbole.yaml", *self.trials.files],
            "criterion": self.metric,
        }

    def _settings(self, cell: Cell) -> dict[str, Any]:
        settings = {
            **self.trials.overrides,
            **self._measured(),
            **cell.method.settings,
            "seed": cell.seed,
            "epochs": self.epochs,
            "stopping_step": self.epochs,  # nobody stops early: the budget is the same for all
            "valid_metric": self.metric,
            "checkpoint_dir": str(self._checkpoints(cell)),
            "data_path": str(self._trials_of(cell).folder / "dataset"),
            "state": "ERROR",
            "show_progress": False,
        }
        return {key: recbole_command.sealed(value) for key, value in settings.items()}

    def _measured(self) -> dict[str, Any]:
        """Return the metrics and lengths that are asked for, and the one that chooses the checkpoint among them."""
        given: dict[str, Any] = {"metrics": ["NDCG", "Recall"], "topk": []}
        for content in (*map(_content, self.trials.files), self.trials.overrides):
            given |= {key: content[key] for key in given if content.get(key) is not None}
        lists = {key: list(value) if isinstance(value, list | tuple) else [value] for key, value in given.items()}
        name, _, k = self.metric.partition("@")
        if name.upper() not in (str(metric).upper() for metric in lists["metrics"]):
            lists["metrics"].append(name)
        if int(k) not in lists["topk"]:
            lists["topk"].append(int(k))
        return lists

    def _trials_of(self, cell: Cell) -> RecBoleTrials:
        """Return what a cell's data are exported by: a regenerated store has a folder of its own."""
        store = cell.method.store
        return self.trials if store is None else replace(self.trials, store=store, folder=self._folder_of(store))

    def _folder_of(self, store: Path) -> Path:
        # By the header's digest: stores of one name in different places are different data sets.
        digest = hashlib.sha256((store / HEADER).read_bytes()).hexdigest()[:16]
        return self.trials.folder / "regenerated" / digest

    def _file(self, cell: Cell) -> Path:
        return self.trials.folder / CELLS / f"{cell.name}.json"

    def _checkpoints(self, cell: Cell) -> Path:
        return self.trials.folder / CHECKPOINTS / cell.name


def check_metric(text: str) -> str:
    """Return a metric as RecBole writes it, NDCG@10. Raises InputError for one that cannot choose a checkpoint."""
    name, at, k = text.partition("@")
    known = {metric.upper(): metric for metric in METRICS}
    if name.upper() not in known:
        raise InputError(f"--metric {text}: {name!r} cannot choose a checkpoint.{nearest(name, METRICS)}")
    if not at or not (k.isascii() and k.isdigit()) or int(k) < 1:
        raise InputError(f"--metric {text}: write the length of the list behind an @, as {known[name.upper()]}@10.")
    return f"{known[name.upper()]}@{int(k)}"


def _interactions(trials: RecBoleTrials) -> Path:
    """Return the file of what RecBole validates and tests on: a regenerated store's original interactions."""
    return trials.folder / "dataset" / DATASET / f"{DATASET}.inter"


def _of_a_method(key: str) -> bool:
    return key in (SECTION, mixing.SECTION) or key.startswith((PREFIX, mixing.PREFIX))


def _content(file: Path) -> Mapping[str, Any]:
    content = recbole_command.read_scalar(file.read_text(encoding="utf-8"))
    return {str(key): value for key, value in content.items()} if isinstance(content, dict) else {}


def _cells() -> Any:
    # By name: the core depends on no framework.
    importlib.import_module("recbole_ext")
    return importlib.import_module("recbole_ext.comparison")
