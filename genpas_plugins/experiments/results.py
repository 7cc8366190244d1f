"""The results of cells: one JSON file a cell that is read back only under the settings of its training."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, cast

import numpy as np

from genpas_plugins.experiments.plan import Cell, Plan
from genpas_plugins.experiments.table import Table
from genpas_plugins.settings.settings_diff import differences, with_defaults
from genpas_plugins.support.array_types import Integers
from genpas_plugins.support.atomic import replace_file, write_text
from genpas_plugins.support.errors import InputError
from genpas_plugins.support.json_text import to_json
from genpas_plugins.support.run_result import RunResult, TestResult, Validation

_DIGESTS = ("store", "regenerated store")
_SEED = re.compile(r"\.seed(\d+)\.json$")


@dataclass(frozen=True)
class CellResult:
    """A trained cell with its run and later its test figures.

    `environment` has date, commit, versions and hardware. It is empty in files of older versions.
    """

    run: RunResult
    environment: Mapping[str, Any]
    tested: TestResult | None = None


def read_cell(file: Path) -> tuple[dict[str, Any], CellResult]:
    """Return the configuration and the result in a cell's file. Raises InputError for another file."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        configuration, values = content["configuration"], content["result"]
        configuration["method"] = with_defaults(configuration["method"])
        if not configuration.get("config files"):  # files of older versions name them
            configuration.pop("config files", None)
        own = {field.name: values[field.name] for field in fields(RunResult)}
        run = RunResult(**{**own, "curve": tuple(map(_validation, own["curve"]))})
        tested = TestResult(values["test"], values.get("groups", {}), _ranks(file)) if "test" in values else None
        return configuration, CellResult(run, values.get("environment", {}), tested)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"{file} is not the file of a cell. Remove it to train the cell.") from error


def _ranks_file(file: Path) -> Path:
    return file.with_suffix(".ranks.npz")


def _ranks(cell: Path) -> dict[str, Integers]:
    """Return the ranks beside a cell's file by protocol; empty for cells of older versions."""
    file = _ranks_file(cell)
    if not file.exists():
        return {}
    try:
        with np.load(file, allow_pickle=False) as arrays:
            ranks = {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{file} has no ranks: {error}. Remove it, or test the cell again.") from error
    if any(array.ndim != 1 or array.dtype.kind not in "iu" for array in ranks.values()):
        raise InputError(f"{file} has no ranks: each array must be a list of whole numbers. Remove it.")
    return ranks


def _validation(point: Mapping[str, float]) -> Validation:
    # Files of older versions name the metric: validation_ndcg@10.
    (figure,) = (value for key, value in point.items() if key.startswith("validation"))
    return Validation(int(point["pairs"]), point["seconds"], figure)


@dataclass(frozen=True)
class Cells:
    """The files of a plan's cells in one folder."""

    plan: Plan
    folder: Path

    @classmethod
    def in_folder(cls, table: Table, folder: Path, seeds: tuple[int, ...]) -> Cells:
        """Return the cells in a folder without their store: one of the files has its digest.

        The first of `seeds` that has a file tunes. Raises InputError for a folder without a file.
        """
        files = sorted(folder.glob("*.json"))
        if not files:
            raise InputError(f"{folder} has no cell.")
        before, _ = read_cell(files[0])
        trained = _trained_seeds(folder)
        tuning = tuple(seed for seed in seeds if seed in trained) or trained
        budget = (table.epochs or before["epochs"], table.pairs_per_epoch or before["pairs_per_epoch"])
        return cls(Plan(table, folder.name, tuning, before["store"], *budget), folder)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The plan's seeds and further ones that have a file."""
        return tuple(dict.fromkeys([*self.plan.seeds, *_trained_seeds(self.folder)]))

    def get(self, cell: Cell) -> CellResult | None:
        """Return the result of a trained cell or None before training.

        Raises InputError if the file is not a cell's or the cell was trained with other settings.
        """
        file = self._file(cell)
        if not file.exists():
            return None
        before, result = read_cell(file)
        changed = "; ".join(_changes(before, self.plan.configuration(cell)))
        if changed:
            raise InputError(
                f"{file} was trained otherwise: {changed}. Choose another --out, or remove the file to train it again."
            )
        return result

    def put(self, cell: Cell, result: CellResult) -> None:
        """Keep the result of a cell: its file is written whole or not at all."""
        tested = {} if result.tested is None else {"test": result.tested.test, "groups": result.tested.groups}
        if result.tested is not None and result.tested.ranks:  # first: a cell that is there has its ranks
            with replace_file(_ranks_file(self._file(cell))) as temporary, temporary.open("wb") as opened:
                cast(Any, np.savez_compressed)(opened, **result.tested.ranks)  # older numpy has no allow_pickle
        values = {**asdict(result.run), "environment": result.environment, **tested}
        content = {"method": cell.method.label, "configuration": self.plan.configuration(cell), "result": values}
        write_text(self._file(cell), to_json(content))

    def _file(self, cell: Cell) -> Path:
        return self.folder / f"{cell.name}.json"


def _trained_seeds(folder: Path) -> tuple[int, ...]:
    matches = (_SEED.search(file.name) for file in folder.glob("*.json"))
    return tuple(sorted({int(match[1]) for match in matches if match}))


def _changes(before: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    for name in _DIGESTS:
        if len({content.pop(name) for content in (before, now) if name in content}) > 1:
            yield f"the {name} has other content"
    yield from differences(before, now)
