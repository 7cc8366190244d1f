"""RecBole 1.2.1 with current numpy and torch and without its capped ray.

RecBole was written for numpy 1 and ray ≤ 2.6.3. The repairs change what its own modules see; numpy, torch and ray stay
as they are for all other code. `recbole_ext.patches` lists them.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from types import ModuleType
from typing import Any


class ModuleView(ModuleType):
    """A module with some names replaced; every other name is the module's own."""

    def __init__(self, module: ModuleType, **replaced: Any) -> None:
        super().__init__(module.__name__, module.__doc__)
        self._module = module
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


class RayTune:
    """What RecBole uses of `ray.tune`. It does nothing unless the user has imported ray."""

    @staticmethod
    def report(**metrics: Any) -> None:
        """Report metrics to the running ray trial: current ray takes them as one dictionary."""
        if "ray" in sys.modules:
            importlib.import_module("ray.tune").report(metrics)


def import_recbole() -> None:
    """Import the parts of RecBole that need help: its models and `recbole.quick_start`."""
    # RecBole must adapt to future pandas and torch; the user cannot.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"recbole\.")
    _import_models()
    _import_quick_start()


def _import_models() -> None:
    """Import RecBole's sequential models without SINE's anomaly detection. It halves every model's speed."""
    import torch

    models = "recbole.model.sequential_recommender"
    before = torch.is_anomaly_enabled() and models not in sys.modules
    importlib.import_module(models)
    torch.autograd.set_detect_anomaly(before)


def _import_quick_start() -> None:
    """Import `recbole.quick_start` with an empty ray because it seldom uses ray."""
    module = "recbole.quick_start.quick_start"
    if module in sys.modules:
        return
    ray, tune = ModuleType("ray"), ModuleType("ray.tune")
    ray.tune = tune  # type: ignore[attr-defined]
    before = {name: sys.modules.get(name) for name in ("ray", "ray.tune")}
    sys.modules.update({"ray": ray, "ray.tune": tune})
    try:
        importlib.import_module(module)
    finally:
        for name, found in before.items():
            if found is None:
                del sys.modules[name]
            else:
                sys.modules[name] = found
