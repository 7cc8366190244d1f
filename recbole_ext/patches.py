"""Every name of RecBole that this package replaces: where, what, for which feature and why.

`PATCHES` is the whole list and has each name once. A replacement calls RecBole's own code and hooks. Hooks are plain
functions of the features in the order of this file. Without one of our keys a hook changes nothing. The exception is
`safe_input`: RecBole always reads files and text as plain values and reads no pickle.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pkgutil
import sys
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
from recbole.config import Config

from recbole_ext import (
    checkpoints,
    dataloader,
    dataset,
    foreseen,
    genpas_key,
    half_precision,
    mask_history,
    mixing,
    models,
    parallel_targets,
    personaliser,
    processes,
    random_state,
    safe_input,
    sampled_loss,
    trained_on,
)
from recbole_ext.compatibility import ModuleView, RayTune

CHECKS = (
    safe_input.check,
    foreseen.check,
    genpas_key.check,
    mask_history.check,
    mixing.check,
    personaliser.check,
    half_precision.check,
)
"""Yield what is wrong with a new Config. Called in this order; the first mistake is raised."""

LOSSES = tuple(feature.loss_of_epoch for feature in (personaliser, mixing, sampled_loss, parallel_targets))
"""Asked for the loss of an epoch, in this order; the first that is not None trains."""


@dataclass(frozen=True)
class Patch:
    """A name of RecBole that is replaced.

    Parameters
    ----------
    where : module or class that has the name; "sys.modules" for a module of ours under a name of RecBole
    what : the name
    feature : module of this package that needs the patch
    made : returns the replacement of RecBole's object, which is None if RecBole has none
    why : what the replacement does and RecBole does not
    also : further modules that have imported the name
    """

    where: str
    what: str
    feature: str
    made: Callable[[Any], Any]
    why: str
    also: tuple[str, ...] = ()

    @property
    def places(self) -> tuple[str, ...]:
        """Full names of what is replaced."""
        owners = (self.where, *self.also)
        return tuple(self.what if owner == "sys.modules" else f"{owner}.{self.what}" for owner in owners)

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


def _seeing(**names: Any) -> Callable[[Any], Any]:
    return lambda module: ModuleView(module, **names)


def _around(call: Callable[..., Any]) -> Callable[[Any], Any]:
    """Replace a function of RecBole by `call`. It gets the function as its first argument."""

    def made(original: Any) -> Any:
        @functools.wraps(original)
        def replacement(*args: Any, **kwargs: Any) -> Any:
            return call(original, *args, **kwargs)

        return replacement

    return made


@_around
def _check(
    init: Any,
    config: Config,
    model: Any = None,
    dataset: Any = None,
    config_file_list: Any = None,
    *rest: Any,
    **kw: Any,
) -> None:
    init(config, model, dataset, config_file_list, *rest, **kw)
    files = config_file_list or ()
    genpas_key.read_sections(config, files)
    for check in CHECKS:
        genpas_key.refuse(config, files, check(config))
    models.check(config)


@_around
def _with_our_defaults(load: Any, config: Config, model: str, model_class: Any, dataset: str) -> None:
    load(config, model, model_class, dataset)
    models.load_defaults(config, model)


@_around
def _with_our_loader(get_dataloader: Any, config: Any, phase: str) -> Any:
    return dataloader.loader_class(config, phase) or get_dataloader(config, phase)


def _without_generator(loader: Any) -> dict[str, Any]:
    # A torch.Generator cannot be pickled, and a worker does not use it.
    return {**vars(loader), "generator": None}


@_around
def _keeping_sequences(data_augmentation: Any, dataset: Any) -> None:
    with mask_history.keeping_sequences(dataset):
        data_augmentation(dataset)


@_around
def _masking_histories(collate_fn: Any, loader: Any, index: Any) -> Any:
    return mask_history.mask(loader, index, collate_fn(loader, index))


@_around
def _with_our_loss(
    train_epoch: Any, trainer: Any, train_data: Any, epoch_idx: int, loss_func: Any = None, *args: Any, **kwargs: Any
) -> Any:
    dataloader.start_epoch(train_data, epoch_idx)
    random_state.restore(trainer)
    for loss_of_epoch in LOSSES:
        loss_func = loss_func or loss_of_epoch(trainer, train_data, epoch_idx)
    with half_precision.autocast_type(trainer.config):
        return train_epoch(trainer, train_data, epoch_idx, loss_func, *args, **kwargs)


@_around
def _ranking_in_groups(full_sort_batch_eval: Any, trainer: Any, batched_data: Any) -> Any:
    with parallel_targets.ranking_of(trainer):
        return full_sort_batch_eval(trainer, batched_data)


_report: ContextVar[dict[str, Any]] = ContextVar("_report")
"""What the current `run_recbole` trained on: RecBole's function does not hand out its Config or Trainer."""


@_around
def _reporting(fit: Any, trainer: Any, train_data: Any, valid_data: Any = None, *args: Any, **kwargs: Any) -> Any:
    foreseen.check_training(trainer, train_data, valid_data)
    report = trained_on.announce(trainer, train_data, valid_data)
    with contextlib.suppress(LookupError):
        _report.get().update(report)
    return fit(trainer, train_data, valid_data, *args, **kwargs)


@_around
def _resuming(resume_checkpoint: Any, trainer: Any, resume_file: Any) -> None:
    trained_on.check_resumed(resume_file)
    random_state.resume(resume_checkpoint, trainer, resume_file)


@_around
def _returning_report(run_recbole: Any, *args: Any, **kwargs: Any) -> Any:
    report: dict[str, Any] = {}
    token = _report.set(report)
    try:
        result = run_recbole(*args, **kwargs)
    finally:
        _report.reset(token)
    return {**result, genpas_key.REPORT: report} if report else result


_CONFIG, _TRAINER = "recbole.config.configurator.Config", "recbole.trainer.trainer.Trainer"
_DATASET = "recbole.data.dataset.sequential_dataset.SequentialDataset"
_LOADER = "recbole.data.dataloader.abstract_dataloader.AbstractDataLoader"
_RANKING = "recbole.data.dataloader.general_dataloader.FullSortEvalDataLoader"
_RUN, _RUN_ALSO = "recbole.quick_start.quick_start", ("recbole.quick_start",)
_OLD_NUMPY = ("recbole.data.interaction", "recbole.data.dataset.dataset", "recbole.evaluator.metrics")
_OLD_TUNING = _seeing(str=str, random=ModuleView(np.random, RandomState=np.random.default_rng))
_TUNING, _MODELS = "recbole.trainer.hyper_tuning", "recbole.model.sequential_recommender"
_CHECKPOINT = _seeing(save=checkpoints.save, load=checkpoints.load)
_TRAINING = _seeing(save=random_state.save, load=checkpoints.load)
_NEW = _always(staticmethod(dataset.new))
_GENERAL, _KD = "recbole.model.general_recommender", "recbole.model.context_aware_recommender.kd_dagfm"
_LOADING = (_KD, f"{_MODELS}.s3rec", *(f"{_GENERAL}.{name}" for name in ("convncf", "nais", "neumf", "ract")))
_NO_FILES = _seeing(path=ModuleView(os.path, exists=lambda _: False))
_NO_OBJECTS = _seeing(load=safe_input.numbers)
_REFUSED = _always(safe_input.refuse_pickle)
_RUN_PROCESS, _LOAD = _always(processes.run_recboles), _always(checkpoints.load_data_and_model)

PATCHES = (
    Patch(_CONFIG, "compatibility_settings", "compatibility", _always(lambda config: None), "leaves numpy alone"),
    Patch(_CONFIG, "__init__", "genpas_key", _check, "checks our sections before data are read"),
    Patch(_CONFIG, "_load_internal_config_dict", "models", _with_our_defaults, "knows the defaults of our models"),
    Patch(_CONFIG, "_build_yaml_loader", "safe_input", _always(lambda _: safe_input.Loader), "reads plain values"),
    Patch(_CONFIG, "_load_config_files", "safe_input", _always(safe_input.yaml_settings), "names the line of an error"),
    Patch("recbole.config.configurator", "eval", "safe_input", _always(safe_input.literal), "runs no text", (_TUNING,)),
    Patch(_KD, "eval", "safe_input", _always(safe_input.teacher), "looks a name up instead of running it"),
    Patch("recbole.data.utils", "os", "safe_input", _NO_FILES, "finds no pickle to load"),
    Patch("recbole.data.utils", "save_split_dataloaders", "safe_input", _REFUSED, "writes no pickle"),
    Patch("recbole.data.dataset.dataset.Dataset", "save", "safe_input", _REFUSED, "writes no pickle"),
    Patch(f"{_GENERAL}.ldiffrec", "np", "safe_input", _NO_OBJECTS, "loads numbers alone"),
    *(Patch(module, "np", "compatibility", _seeing(float=float), "has np.float") for module in _OLD_NUMPY),
    Patch(_TUNING, "np", "compatibility", _OLD_TUNING, "has np.str, RandomState"),
    Patch(_RUN, "tune", "compatibility", _always(RayTune), "uses ray only if the user has imported it"),
    Patch(_LOADER, "__getstate__", "compatibility", _always(_without_generator), "can be pickled to a worker"),
    Patch(_DATASET, "__new__", "dataset", _NEW, "makes a WindowDataset"),
    Patch(_DATASET, "data_augmentation", "mask_history", _keeping_sequences, "keeps whole sequences too"),
    Patch(_RANKING, "collate_fn", "mask_history", _masking_histories, "leaves a history out of the ranking"),
    Patch("recbole.data.utils", "get_dataloader", "dataloader", _with_our_loader, "draws training pairs"),
    Patch(_TRAINER, "fit", "trained_on", _reporting, "logs and keeps what a run trains on"),
    Patch(_TRAINER, "_train_epoch", "history_loss", _with_our_loss, "sets the loader's epoch and a section's loss"),
    Patch(_TRAINER, "_full_sort_batch_eval", "parallel_targets", _ranking_in_groups, "ranks by length"),
    Patch("recbole.trainer.trainer", "torch", "checkpoints", _TRAINING, "loads checkpoints without running code"),
    Patch(_TRAINER, "resume_checkpoint", "random_state", _resuming, "restores the generators, checks the draws"),
    *(
        Patch(module, "torch", "checkpoints", _CHECKPOINT, "loads checkpoints without running code")
        for module in _LOADING
    ),
    Patch(_RUN, "load_data_and_model", "checkpoints", _LOAD, "loads checkpoints without running code", _RUN_ALSO),
    Patch(_RUN, "run_recbole", "trained_on", _returning_report, "returns what it trained on", _RUN_ALSO),
    Patch(_RUN, "run_recboles", "processes", _RUN_PROCESS, "imports this package in spawned processes", _RUN_ALSO),
    *(
        Patch("sys.modules", f"{_MODELS}.{name.lower()}", "models", _always(module), "lets RecBole find our model")
        for name, module in models.MODELS.items()
    ),
    *(
        Patch("recbole.trainer", name, "models", _always(trainer), "lets RecBole find our trainer")
        for name, trainer in models.TRAINERS.items()
    ),
)
"""All patches, in the order in which they are applied; the order has no further meaning."""
