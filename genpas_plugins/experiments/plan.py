"""A table on one data set as cells with their settings and what their figures depend on."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from genpas_plugins.data.recbole_files import EXPORTED_TIME
from genpas_plugins.data.sequences import SequenceStore
from genpas_plugins.data.storage import HEADER
from genpas_plugins.data.temporal import LEAVE_LAST_OUT, checked_times, parse_split, read_split
from genpas_plugins.experiments.allowed_settings import MODEL
from genpas_plugins.experiments.methods import Method, check_loss, with_epochs
from genpas_plugins.experiments.table import Point, Table
from genpas_plugins.search.shortlist import require_validation
from genpas_plugins.settings.genpas import PREFIX, GenPASConfig
from genpas_plugins.support.errors import InputError
from genpas_plugins.support.json_text import as_json_value

_IN_ORDER_OF_TIME = {"TIME_FIELD": EXPORTED_TIME, "load_col": {"inter": ["user_id", "item_id", EXPORTED_TIME]}}
"""RecBole's settings for exported times: the timestamp of an exported store is the position in the sequence."""


@dataclass(frozen=True)
class Cell:
    """A method with one seed and its own settings: RecBole's and flat keys genpas_… for the method's section."""

    method: Method
    seed: int
    settings: Point = ()

    @property
    def name(self) -> str:
        """The name of the cell's file from label, settings and seed."""
        settings = [re.sub(r"[^\w.=-]+", "_", f"{key}={value}") for key, value in self.settings]
        return ".".join([self.method.label, *([",".join(settings)] if settings else []), f"seed{self.seed}"])

    @property
    def sections(self) -> dict[str, Any]:
        """RecBole's settings that switch the method on."""
        own = {key: value for key, value in self.settings if key.startswith(PREFIX)}
        genpas = GenPASConfig.from_config({**self.method.settings, **own}, self.method.label)
        assert genpas is not None
        return replace(self.method, genpas=genpas).settings

    @property
    def recbole(self) -> dict[str, Any]:
        """RecBole's settings of this cell alone."""
        return {key: value for key, value in self.settings if key != MODEL and not key.startswith(PREFIX)}


@dataclass(frozen=True)
class Row:
    """A method at one point of what the table varies; `at` is empty if it varies nothing."""

    method: Method
    at: Point

    def cell(self, seed: int, point: Point) -> Cell:
        """Return the cell of a seed at a point of the grid."""
        return Cell(self.method, seed, (*self.at, *point))


@dataclass(frozen=True)
class Plan:
    """A table on the data set `name`."""

    table: Table
    name: str
    seeds: tuple[int, ...]  # seeds to train; the first one tunes
    store: str  # digest of the store
    epochs: int  # the budget of every run
    pairs_per_epoch: int

    @classmethod
    def on_store(cls, table: Table, name: str, seeds: tuple[int, ...], store: Path) -> Plan:
        """Plan a table on a store.

        Raises InputError if the store has nothing to train or to validate on. The budget must be whole epochs.
        """
        for method in (method.on_dataset(name) for method in table.methods):
            if method.store is not None and not method.store.is_dir():
                raise InputError(f"{method.label}: {method.store} does not exist. Make it with `genpas regenerate`.")
        opened = SequenceStore.open(store)
        split = read_split(opened, table.split)
        if table.needs_times:
            checked_times(opened)
        require_validation(split.validation)
        split.train.require_pairs()
        per_epoch = table.pairs_per_epoch or split.train.n_pairs
        epochs = table.epochs or whole_epochs(table.pairs or 0, per_epoch)
        return cls(table, name, seeds, digest(store), epochs, per_epoch)

    def __post_init__(self) -> None:
        """Check that every method's loss begins within the budget."""
        for method in self.table.methods:
            check_loss(method, self.epochs)

    @property
    def rows(self) -> list[Row]:
        """The rows in the order of their points."""
        methods = [with_epochs(method.on_dataset(self.name), self.pairs_per_epoch) for method in self.table.methods]
        return [Row(method, at) for at in self.table.points for method in methods]

    def model(self, cell: Cell) -> str:
        """Return RecBole's name of a cell's model."""
        return str(dict(cell.settings).get(MODEL, self.table.model))

    def settings(self, cell: Cell) -> dict[str, Any]:
        """Return RecBole's settings of a cell."""
        patience = self.table.patience or self.epochs + 1  # without patience no run stops early
        budget = {"epochs": self.epochs, "stopping_step": patience - 1}  # RecBole stops after one validation more
        return {
            **self.table.settings,
            **cell.sections,
            **cell.recbole,
            "seed": cell.seed,
            **budget,
            **split_settings(self.table.split),
            **(_IN_ORDER_OF_TIME if self.table.needs_times else {}),
        }

    def configuration(self, cell: Cell) -> dict[str, Any]:
        """Return what the figures of a cell depend on in the form of its file."""
        settings, made = {**self.table.settings, **cell.recbole}, cell.method.store  # a report needs no stores
        content = {
            "store": self.store,
            "model": self.model(cell),
            "settings": {key: str(value) for key, value in settings.items()},
            "seed": cell.seed,
            "epochs": self.epochs,
            "pairs_per_epoch": self.pairs_per_epoch,
            "metric": self.table.metric,
            "method": cell.sections,
            **({} if self.table.split == LEAVE_LAST_OUT else {"split": self.table.split}),
            **({} if self.table.patience is None else {"patience": self.table.patience}),
            **({} if made is None or not made.is_dir() else {"regenerated store": digest(made)}),
        }
        return {key: as_json_value(value) for key, value in content.items()}


def split_settings(word: str) -> dict[str, Any]:
    """Return RecBole's settings of a split. The default leave_last_out needs none."""
    parsed = parse_split(word)
    if parsed is None:
        return {}
    shares, targets = parsed
    evaluation = {
        "split": {"GT": list(shares)},
        "order": "TO",
        "mode": "full",
        "targets": targets,
        "time": EXPORTED_TIME,
    }
    return {"eval_args": evaluation}


def digest(store: Path) -> str:
    """Return what identifies a store's content."""
    return hashlib.sha256((store / HEADER).read_bytes()).hexdigest()[:16]


def whole_epochs(pairs: int, pairs_per_epoch: int) -> int:
    """Return how many epochs `pairs` are. Raises InputError with the nearest numbers if they are not whole epochs.

    >>> whole_epochs(300, 100)
    3
    """
    epochs, rest = divmod(pairs, pairs_per_epoch)
    if rest:
        near = " or ".join(str(n * pairs_per_epoch) for n in (epochs, epochs + 1) if n)
        raise InputError(
            f"{pairs} pairs are not a multiple of the {pairs_per_epoch} pairs of an epoch. Write {near}, or set the "
            "pairs per epoch to a divisor."
        )
    return epochs
