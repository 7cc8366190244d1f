"""The RecBole side of `genpas compare` and `genpas reproduce`: cells, each finished one kept as a JSON file."""

from __future__ import annotations

import filecmp
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from genpas_plugins.data.storage import HEADER
from genpas_plugins.experiments.cell import Cell
from genpas_plugins.experiments.measured_settings import (
    check_metric,
    check_setting,
    content_of,
    figure_names,
    measures,
    of_a_method,
)
from genpas_plugins.experiments.search_training import DATASET, RecBoleTrials, check_model, quiet_recbole
from genpas_plugins.search.search_output import check_replaceable
from genpas_plugins.settings.settings_diff import differences, with_defaults
from genpas_plugins.settings.yaml_text import check_yaml
from genpas_plugins.support.atomic import replaced_file
from genpas_plugins.support.console import Tell
from genpas_plugins.support.environment import describe
from genpas_plugins.support.errors import InputError
from genpas_plugins.support.json_text import as_json_value, to_json

CELLS, CHECKPOINTS = "cells", "checkpoints"

_CONTENTS = {
    "store": "the store has other content",
    "regenerated store": "the regenerated store has other content",
    "config files": "a --config file has other content, or there are others",
}
"""What is known by its checksum alone, and what to say where that has changed."""

FIGURES = ("validation", "pairs_seen", "seconds", "trained_on", "checkpoint")
"""What every trained cell's file holds."""


@dataclass(frozen=True)
class Comparison:
    """Train and test methods on a store through RecBole, all for the same number of epochs of the same length.

    trials : what `genpas search` trains with: the store, the folder, the model, and RecBole's files and settings
    metric : what chooses the checkpoint on validation, as NDCG@10
    epochs, pairs_per_epoch : the budget
    results : directory of the cells' files, None for one in the trials' folder
    """

    trials: RecBoleTrials
    metric: str
    epochs: int
    pairs_per_epoch: int
    results: Path | None = None

    @classmethod
    def checked(
        cls,
        store: Path,
        out: Path,
        model: str,
        files: Sequence[Path],
        settings: Mapping[str, Any],
        *,
        metric: str,
        epochs: int,
        pairs_per_epoch: int,
        results: Path | None = None,
    ) -> Comparison:
        """Check the options. Raises InputError without RecBole or for what training cannot use or would overrule.

        settings : RecBole's, which win over the files
        results  : directory of the cells' files, None for one in `out`
        """
        for file in files:
            check_yaml(file)
            for key in content_of(file):
                if of_a_method(key):
                    raise InputError(
                        f"{file}: {key} is what methods differ in; remove it, or give the file to --methods."
                    )
        for key in settings:
            check_setting(key, f"--set {key}=…")
        for folder in (out, out / CELLS if results is None else results, out / CHECKPOINTS):
            if folder.exists() and not folder.is_dir():
                raise InputError(f"{folder} is a file where a directory must be; choose another --out.")
        if out.resolve() == store.resolve():
            raise InputError(f"--out {out} is the store itself; choose another directory.")
        check_replaceable(out / "recbole.yaml")
        check_settings(model, [*(key for file in files for key in content_of(file)), *settings])
        trials = RecBoleTrials(
            store.resolve(),
            out.resolve(),
            model,
            tuple(file.resolve() for file in files),
            settings,
            seed=0,
            epochs=epochs,
            pairs_per_epoch=pairs_per_epoch,
        )
        return cls(
            trials, check_metric(metric), epochs, pairs_per_epoch, None if results is None else results.resolve()
        )

    @property
    def measured(self) -> list[str]:
        """Names of the figures of validation and test, as RecBole writes them: ndcg@10."""
        return figure_names(self._measured())

    def depends_on(self, cell: Cell) -> dict[str, Any]:
        """Return what a cell's figures depend on, as plain JSON values."""
        given = {**self.trials.depends_on, "seed": cell.seed, "metric": self.metric, "method": cell.sections}
        given["settings"] = {**given["settings"], **{key: str(value) for key, value in cell.recbole.items()}}
        if cell.method.store is not None:
            given["regenerated store"] = self._trials_of(cell).depends_on["store"]
        content: dict[str, Any] = as_json_value(given)
        return content

    def finished(self, cell: Cell) -> dict[str, Any] | None:
        """Return what a cell gave that is trained and tested, None for one that is not; raises as `trained` does."""
        result = self.trained(cell)
        return result if result is not None and "test" in result else None

    def trained(self, cell: Cell) -> dict[str, Any] | None:
        """Return what a cell gave that is trained, tested or not, None for one that is not.

        Raises InputError for a file that is no cell's, and for a cell of other settings.
        """
        file = self._file(cell)
        if not file.exists():
            return None
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            before, result = content["configuration"], content["result"]
            before = {**before, "method": with_defaults(before["method"])}
            figures: dict[str, Any] = {
                name: result[name] for name in ("validation", "pairs_seen", "seconds", "checkpoint")
            }
            figures |= result
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise InputError(f"{file} is no finished cell of a comparison; remove it to train that cell.") from error
        changed = "; ".join(_changes(before, self.depends_on(cell)))
        if changed:
            raise InputError(
                f"{file} was trained otherwise: {changed}. Choose another --out, or remove the file to train that "
                "cell anew."
            )
        return figures

    def prepare(self, cells: Sequence[Cell], tell: Tell) -> None:
        """Export what these cells train on. Raises InputError for stores and configurations that cannot be compared."""
        describe()  # remembered from here on: a commit that is made while cells train is not what they ran on
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
            for cell in {(cell.method.label, cell.settings): cell for cell in cells}.values():
                try:
                    _cells().check(self._settings(cell), **self._recbole)
                except InputError as error:
                    raise InputError(f"{cell.method.label}: {error}") from error

    def run(self, cell: Cell, tell: Tell, *, test: bool = True) -> dict[str, Any]:
        """Train a cell and, if asked for, test it; keep what it gave in its file, and return that.

        What `tell` raises ends the cell, of which nothing is kept then.
        """
        shutil.rmtree(self._checkpoints(cell), ignore_errors=True)
        tell(cell.name, 0, self.epochs)
        with quiet_recbole(self.trials.folder):
            result: dict[str, Any] = _cells().run(
                self._settings(cell),
                **self._recbole,
                on_epoch=lambda epoch, score: tell(cell.name, epoch + 1, self.epochs),
                test=test,
            )
        # Relative to the folder, so that the folder may be moved.
        result["checkpoint"] = str(Path(result["checkpoint"]).relative_to(self.trials.folder))
        result["environment"] = describe()
        self._keep(cell, result)
        return result

    def can_be_tested(self, cell: Cell) -> bool:
        """Tell whether a trained cell still has its checkpoint."""
        result = self.trained(cell)
        return result is not None and (self.trials.folder / result["checkpoint"]).is_file()

    def test(self, cell: Cell) -> dict[str, Any]:
        """Test a trained cell's checkpoint in both protocols, add that to its file, and return what it then holds.

        `test` are the figures of all users, `groups` those of groups of them: see `recbole_ext.run_cell.test`.
        """
        result = self.trained(cell)
        assert result is not None
        with quiet_recbole(self.trials.folder):
            data = self._trials_of(cell).folder / "dataset" / DATASET
            result |= _cells().test(self.trials.folder / result["checkpoint"], data)
        self._keep(cell, result)
        return result

    def _keep(self, cell: Cell, result: Mapping[str, Any]) -> None:
        content = {"method": cell.method.label, "configuration": self.depends_on(cell), "result": result}
        with replaced_file(self._file(cell)) as temporary:
            temporary.write_text(to_json(content), encoding="utf-8")

    @property
    def _recbole(self) -> dict[str, Any]:
        return {
            "model": self.trials.model,
            "dataset": DATASET,
            "config_files": [self.trials.folder / "recbole.yaml", *self.trials.files],
            "criterion": self.metric,
        }

    def _settings(self, cell: Cell) -> dict[str, Any]:
        return {
            **self.trials.overrides,
            **self._measured(),
            **cell.sections,
            **cell.recbole,
            "seed": cell.seed,
            "epochs": self.epochs,
            "stopping_step": self.epochs,  # nobody stops early: the budget is the same for all
            "valid_metric": self.metric,
            "checkpoint_dir": str(self._checkpoints(cell)),
            "data_path": str(self._trials_of(cell).folder / "dataset"),
            "state": "ERROR",
            "show_progress": False,
        }

    def _measured(self) -> dict[str, Any]:
        return measures([*map(content_of, self.trials.files), self.trials.overrides], self.metric)

    def _trials_of(self, cell: Cell) -> RecBoleTrials:
        """Return what a cell's data are exported by: a regenerated store has a folder of its own."""
        store = cell.method.store
        return self.trials if store is None else replace(self.trials, store=store, folder=self._folder_of(store))

    def _folder_of(self, store: Path) -> Path:
        # By the header's digest: stores of one name in different places are different data sets.
        digest = hashlib.sha256((store / HEADER).read_bytes()).hexdigest()[:16]
        return self.trials.folder / "regenerated" / digest

    def _file(self, cell: Cell) -> Path:
        return (self.results or self.trials.folder / CELLS) / f"{cell.name}.json"

    def _checkpoints(self, cell: Cell) -> Path:
        return self.trials.folder / CHECKPOINTS / cell.name


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Yield a phrase for everything that a cell depends on and that has changed; checksums are not shown."""
    for name, phrase in _CONTENTS.items():
        if before.get(name) and now.get(name) and before[name] != now[name]:
            yield phrase
            before = {**before, name: now[name]}
    if before.get("config files") != now.get("config files"):
        yield f"--config files were {'given and are not' if before.get('config files') else 'not given and are'} now"
        before = {**before, "config files": now.get("config files")}
    yield from differences(before, now)


def finished_line(cell: Cell, result: Mapping[str, Any], number: int, count: int) -> str:
    """Return what is said when a run is finished, which makes so many of so many."""
    figures = f"validation {result['validation']:.4f} after {result['seconds']:,.0f} s"
    return f"{number} of {count}: {cell.name}: {figures}"


def check_settings(model: str, keys: Sequence[str]) -> None:
    """Raise InputError for a setting that neither RecBole nor the model reads, and without RecBole or such a model."""
    with quiet_recbole(None):
        check_model(model)
        _cells().check_known(model, keys)


def _interactions(trials: RecBoleTrials) -> Path:
    """Return the file of what RecBole validates and tests on: a regenerated store's original interactions."""
    return trials.folder / "dataset" / DATASET / f"{DATASET}.inter"


def _cells() -> Any:
    from recbole_ext import run_cell

    return run_cell
