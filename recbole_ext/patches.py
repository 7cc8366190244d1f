"""Every name of RecBole that this package replaces: where, what, for which feature and why.

`PATCHES` is the whole list, and each name is in it once. A replacement calls RecBole's own code and hooks of the
features, plain functions, in the order that is written here. Without a key of ours a hook changes nothing.
"""

from __future__ import annotations

import contextlib
import functools
import pkgutil
import sys
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
from recbole.config import Config

from genpas_plugins.settings.genpas import SECTION
from recbole_ext import (
    checkpoints,
    dataloader,
    dataset,
    genpas_key,
    mask_history,
    mixing,
    models,
    parallel_targets,
    personaliser,
    processes,
    trained_on,
)
from recbole_ext.compatibility import ModuleView, RayTune

CHECKS = (genpas_key.check, mask_history.check, mixing.check, personaliser.check, models.check)
"""Called with every new Config and its files, in this order: the later ones read the checked `genpas` section."""

LOSSES = (personaliser.loss_of_epoch, mixing.loss_of_epoch, parallel_targets.loss_of_epoch)
"""Asked for the loss of an epoch, in this order; the first that is not None trains."""


@dataclass(frozen=True)
class Patch:
    """A name of RecBole that is replaced.

    where   : module or class that has the name; "sys.modules" for a module of ours under a name of RecBole
    what    : the name
    feature : what needs it, a module of this package
    why     : what the replacement does that RecBole does not
    made    : returns the replacement for RecBole's object, which is None if there is none
    also    : further modules that have imported the name and use it
    """

    where: str
    what: str
    feature: str
    why: str
    made: Callable[[Any], Any]
    also: tuple[str, ...] = ()

    @property
    def places(self) -> tuple[str, ...]:
        """Full names of what is replaced."""
        return tuple(
            self.what if where == "sys.modules" else f"{where}.{self.what}" for where in (self.where, *self.also)
        )

    def apply(self) -> None:
        """Put the replacement in place."""
        if self.where == "sys.modules":
            sys.modules[self.what] = self.made(None)
            return
        owners = [pkgutil.resolve_name(where) for where in (self.where, *self.also)]
        replacement = self.made(getattr(owners[0], self.what, None))
        for owner in owners:
            setattr(owner, self.what, replacement)


def apply() -> None:
    """Patch RecBole; a second call changes nothing."""
    if Config.__init__.__code__.co_filename != __file__:
        for patch in PATCHES:
            patch.apply()


def _always(replacement: Any) -> Callable[[Any], Any]:
    return lambda _: replacement


def _with_names(**names: Any) -> Callable[[Any], Any]:
    return lambda module: ModuleView(module, **names)


def _checked(original: Any) -> Any:
    @functools.wraps(original)
    def init(
        self: Config, model: Any = None, dataset: Any = None, config_file_list: Any = None, config_dict: Any = None
    ) -> None:
        original(self, model, dataset, config_file_list, config_dict)
        for check in CHECKS:
            check(self, config_file_list or ())

    return init


def _with_our_defaults(original: Any) -> Any:
    @functools.wraps(original)
    def load_internal_config_dict(self: Config, model: str, model_class: Any, dataset: str) -> None:
        original(self, model, model_class, dataset)
        models.load_defaults(self, model)

    return load_internal_config_dict


def _with_our_keys(names: list[str]) -> list[str]:
    # In place: other modules hold the same list.
    names += [key for key in (SECTION, mask_history.KEY) if key not in names]
    return names


def _with_our_loader(original: Any) -> Any:
    @functools.wraps(original)
    def get_dataloader(config: Any, phase: str) -> Any:
        return dataloader.loader_class(config, phase) or original(config, phase)

    return get_dataloader


def _without_generator(_: Any) -> Any:
    def getstate(self: Any) -> dict[str, Any]:
        return {**self.__dict__, "generator": None}

    return getstate


def _keeping_sequences(original: Any) -> Any:
    @functools.wraps(original)
    def data_augmentation(self: Any) -> None:
        with mask_history.keeping_sequences(self):
            original(self)

    return data_augmentation


def _masking_histories(original: Any) -> Any:
    @functools.wraps(original)
    def collate_fn(self: Any, index: Any) -> Any:
        return mask_history.masked(self, index, original(self, index))

    return collate_fn


def _with_our_loss(original: Any) -> Any:
    @functools.wraps(original)
    def train_epoch(
        self: Any, train_data: Any, epoch_idx: int, loss_func: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        dataloader.start_epoch(train_data, epoch_idx)
        for loss_of_epoch in LOSSES:
            loss_func = loss_func or loss_of_epoch(self, train_data, epoch_idx)
        return original(self, train_data, epoch_idx, loss_func, *args, **kwargs)

    return train_epoch


def _ranking_in_groups(original: Any) -> Any:
    @functools.wraps(original)
    def full_sort_batch_eval(self: Any, batched_data: Any) -> Any:
        with parallel_targets.ranking_of(self):
            return original(self, batched_data)

    return full_sort_batch_eval


_report: ContextVar[dict[str, Any]] = ContextVar("_report")
"""What the `run_recbole` that is running trained on: RecBole's function keeps its Config and Trainer to itself."""


def _reporting(original: Any) -> Any:
    @functools.wraps(original)
    def fit(self: Any, train_data: Any, valid_data: Any = None, *args: Any, **kwargs: Any) -> Any:
        report = trained_on.announce(self, train_data, valid_data)
        with contextlib.suppress(LookupError):
            _report.get().update(report)
        return original(self, train_data, valid_data, *args, **kwargs)

    return fit


def _returning_report(original: Any) -> Any:
    @functools.wraps(original)
    def run_recbole(*args: Any, **kwargs: Any) -> Any:
        report: dict[str, Any] = {}
        token = _report.set(report)
        try:
            result = original(*args, **kwargs)
        finally:
            _report.reset(token)
        return {**result, genpas_key.REPORT: report} if report else result

    return run_recbole


_CONFIG, _TRAINER = "recbole.config.configurator.Config", "recbole.trainer.trainer.Trainer"
_RUN, _RUN_ALSO = "recbole.quick_start.quick_start", ("recbole.quick_start",)

PATCHES = (
    Patch(_CONFIG, "compatibility_settings", "compatibility", "numpy keeps its names", _always(lambda self: None)),
    Patch(_CONFIG, "__init__", "genpas_key", "the sections are checked before data are read", _checked),
    Patch(_CONFIG, "_load_internal_config_dict", "models", "our models have defaults", _with_our_defaults),
    Patch(
        "recbole.utils.argument_list",
        "dataset_arguments",
        "genpas_key",
        "a saved data set is of the same sections",
        _with_our_keys,
    ),
    *(
        Patch(module, "np", "compatibility", "it uses np.float, which numpy 2 lacks", _with_names(float=float))
        for module in ("recbole.data.interaction", "recbole.data.dataset.dataset", "recbole.evaluator.metrics")
    ),
    Patch(
        "recbole.trainer.hyper_tuning",
        "np",
        "compatibility",
        "the module uses np.str and hands a RandomState to hyperopt, which wants a Generator",
        _with_names(str=str, random=ModuleView(np.random, RandomState=np.random.default_rng)),
    ),
    Patch(_RUN, "tune", "compatibility", "ray is imported only where it is in use", _always(RayTune)),
    Patch(
        "recbole.data.dataloader.abstract_dataloader.AbstractDataLoader",
        "__getstate__",
        "compatibility",
        "a torch.Generator cannot be pickled to a spawned worker, which does not use it",
        _without_generator,
    ),
    Patch(
        "recbole.data.dataset.sequential_dataset.SequentialDataset",
        "__new__",
        "dataset",
        "a data set with the genpas key is a WindowDataset",
        _always(staticmethod(dataset.new)),
    ),
    Patch(
        "recbole.data.dataset.sequential_dataset.SequentialDataset",
        "data_augmentation",
        "mask_history",
        "whole sequences are kept beside the cut prefixes",
        _keeping_sequences,
    ),
    Patch(
        "recbole.data.dataloader.general_dataloader.FullSortEvalDataLoader",
        "collate_fn",
        "mask_history",
        "the items of a history are left out of the ranking",
        _masking_histories,
    ),
    Patch("recbole.data.utils", "get_dataloader", "dataloader", "training pairs are drawn", _with_our_loader),
    Patch(_TRAINER, "fit", "trained_on", "what a run trains on is logged and kept", _reporting),
    Patch(_TRAINER, "_train_epoch", "history_loss", "a loader learns its epoch, a section its loss", _with_our_loss),
    Patch(
        _TRAINER,
        "_full_sort_batch_eval",
        "trimming",
        "similarly long histories are ranked together",
        _ranking_in_groups,
    ),
    Patch(
        "recbole.trainer.trainer",
        "torch",
        "checkpoints",
        "checkpoints load without running code",
        _with_names(save=checkpoints.save, load=checkpoints.load),
    ),
    Patch(
        _RUN,
        "load_data_and_model",
        "checkpoints",
        "checkpoints load without running code",
        _always(checkpoints.load_data_and_model),
        also=_RUN_ALSO,
    ),
    Patch(_RUN, "run_recbole", "trained_on", "its result says what it trained on", _returning_report, also=_RUN_ALSO),
    Patch(
        _RUN,
        "run_recboles",
        "processes",
        "spawned processes import this package",
        _always(processes.run_recboles),
        also=_RUN_ALSO,
    ),
    *(
        Patch(
            "sys.modules",
            f"recbole.model.sequential_recommender.{name.lower()}",
            "models",
            "RecBole looks for a model in its own package",
            _always(module),
        )
        for name, module in models.MODELS.items()
    ),
    *(
        Patch("recbole.trainer", name, "models", "RecBole looks for a trainer here", _always(trainer))
        for name, trainer in models.TRAINERS.items()
    ),
)
"""All patches, in the order in which they are applied; the order has no further meaning."""
