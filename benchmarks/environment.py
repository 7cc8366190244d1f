"""Describe the machine, versions and commit of a measurement, and keep every library to one thread."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from genpas_plugins.support import environment

ROOT = Path(__file__).resolve().parent.parent

ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",  # torch and pyarrow read it too
        "MKL_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "POLARS_MAX_THREADS",
    ),
    "1",
)
"""Environment of every measuring process."""

DISTRIBUTIONS = (
    "genpas-plugins",
    "numpy",
    "numba",
    "pyarrow",
    "polars",
    "pandas",
    "torch",
    "recbole",
    "torchrec",
    "fbgemm-gpu",
    "fbgemm-gpu-cpu",
)


def describe() -> dict[str, Any]:
    """Return the library's own report, the memory in GiB and the load of the last minute."""
    described = environment.describe(DISTRIBUTIONS)
    described["hardware"] |= {
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_at_start": round(os.getloadavg()[0], 2),
    }
    return described


def busy_elsewhere() -> float:
    """Return the core seconds since the machine started that finished measuring processes did not use."""
    user, nice, system, _idle, _wait, irq, soft_irq, *_ = (
        int(word) for word in Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    )
    own = os.times()
    busy = (user + nice + system + irq + soft_irq) / os.sysconf("SC_CLK_TCK")
    return busy - own.user - own.system - own.children_user - own.children_system
