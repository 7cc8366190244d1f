"""The choice of implementation: plain numpy or its numba twin with the same bits."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import ParamSpec, TypeVar

from genpas_plugins.support.errors import InputError

P = ParamSpec("P")
R = TypeVar("R")

BACKENDS = ("numpy", "numba")
VARIABLE = "GENPAS_BACKEND"


def choose_backend(backend: str | None = None) -> str:
    """Return `backend` or else $GENPAS_BACKEND. The default is "numba" where it is installed and else "numpy".

    Raises
    ------
    InputError
        For an unknown name or for "numba" where it is not installed.
    """
    chosen = backend or os.environ.get(VARIABLE) or ("numba" if _numba_installed() else "numpy")
    if chosen not in BACKENDS:
        raise InputError(f"Unknown backend {chosen!r} (argument or ${VARIABLE}). Use {' or '.join(BACKENDS)}.")
    if chosen == "numba" and not _numba_installed():
        raise InputError("The numba backend needs numba, which is not installed: pip install numba.")
    return chosen


def implementation(
    function: Callable[P, R], backend: str, module: str = "genpas_plugins.sampling.kernels"
) -> Callable[P, R]:
    """Return `function` itself for numpy or its namesake in the compiled `module` for numba."""
    if backend == "numpy":
        return function
    # Imported on first use: numba takes longer to import than a numpy batch takes to compute.
    compiled: Callable[P, R] = getattr(importlib.import_module(module), function.__name__)
    return compiled


@cache
def _numba_installed() -> bool:
    return find_spec("numba") is not None
