"""RecBole 1.2.1 with today's numpy and torch and without its capped ray, by changing what its own modules see.

RecBole was written for numpy 1 and ray ≤ 2.6.3. Each repair below replaces a name inside one of its modules; numpy,
torch and ray themselves stay as they are for everybody else.

    recbole.quick_start.quick_start   imports ray on import            a stand-in for that moment, the real one in use
    recbole.config.configurator       sets np.float_ and friends       leaves numpy alone
    evaluator, interaction, dataset   use np.float                     see a numpy that has it
    recbole.trainer.hyper_tuning      np.str, RandomState              see a numpy that has them
    recbole.trainer.trainer           unpickles whole checkpoints      `recbole_ext.checkpoints`
    recbole.data.dataloader           pickles a torch Generator        leaves it out: torch cannot hand it to a spawned
                                      with its loaders                 worker, which does not use it
    recbole.model.…sine               turns on anomaly detection for   turns it back off: every sequential model trained
                                      everybody when it is imported    at half its speed: the package imports them all
"""

from __future__ import annotations

import importlib
import sys
import warnings
from types import ModuleType
from typing import Any

import numpy as np


class ModuleView(ModuleType):
    """A module seen with some names replaced; every other name is the module's own."""

    def __init__(self, module: ModuleType, **replaced: Any) -> None:
        super().__init__(module.__name__, module.__doc__)
        self._module = module
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


class RayTune:
    """What RecBole uses of `ray.tune`, for whichever ray is in use; nothing happens where none is."""

    @staticmethod
    def report(**metrics: Any) -> None:
        """Report metrics to the running ray trial: current ray takes them as one dictionary."""
        if "ray" in sys.modules:
            importlib.import_module("ray.tune").report(metrics)


def repair() -> None:
    """Make RecBole importable and usable; call before anything else imports `recbole.quick_start`."""
    from recbole.config import configurator

    configurator.Config.compatibility_settings = lambda self: None
    for name in ("recbole.data.interaction", "recbole.data.dataset.dataset", "recbole.evaluator.metrics"):
        _see_numpy(name, float=float)
    _see_numpy("recbole.trainer.hyper_tuning", str=str, RandomState=np.random.default_rng)
    _leave_generators_behind()
    _import_models()
    # What pandas and torch will change one day is RecBole's to mend, not news for whoever trains with it.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"recbole\.")
    _import_quick_start()


def _see_numpy(module_name: str, *, RandomState: Any = None, **replaced: Any) -> None:
    module = importlib.import_module(module_name)
    if RandomState is not None:
        replaced["random"] = ModuleView(np.random, RandomState=RandomState)
    module.np = ModuleView(np, **replaced)  # type: ignore[attr-defined]  # RecBole's modules all say `np`


def _leave_generators_behind() -> None:
    from recbole.data.dataloader.abstract_dataloader import AbstractDataLoader

    def state(self: Any) -> dict[str, Any]:
        return {**self.__dict__, "generator": None}

    AbstractDataLoader.__getstate__ = state


def _import_models() -> None:
    """Import RecBole's sequential models, and leave torch's anomaly detection as it was before any of them."""
    import torch

    models = "recbole.model.sequential_recommender"
    before = torch.is_anomaly_enabled() and models not in sys.modules
    importlib.import_module(models)
    torch.autograd.set_detect_anomaly(before)


def _import_quick_start() -> None:
    """Import `recbole.quick_start`, with a stand-in for the ray that it names on import but hardly ever uses."""
    if "recbole.quick_start.quick_start" not in sys.modules:
        stand_ins = {"ray": ModuleType("ray"), "ray.tune": ModuleType("ray.tune")}
        stand_ins["ray"].tune = stand_ins["ray.tune"]  # type: ignore[attr-defined]
        before = {name: sys.modules.get(name) for name in stand_ins}
        sys.modules.update(stand_ins)
        try:
            importlib.import_module("recbole.quick_start.quick_start")
        finally:
            for name, module in before.items():
                if module is None:
                    del sys.modules[name]
                else:
                    sys.modules[name] = module
    sys.modules["recbole.quick_start.quick_start"].tune = RayTune  # type: ignore[attr-defined]
