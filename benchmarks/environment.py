"""What a measurement ran on: hardware, versions, commit; and the variables that keep every library to one thread."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from genpas_plugins.environment import cpu_model, installed_version

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
    """Return date, commit, hardware and versions as plain JSON types; neither the machine's name nor any path."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": commit(),
        "hardware": hardware(),
        "versions": versions(),
    }


def hardware() -> dict[str, Any]:
    """Return cpu model, usable cores, memory in GiB, and how busy the machine was (load average of one minute)."""
    return {
        "cpu": cpu_model(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_at_start": round(os.getloadavg()[0], 2),
    }


def busy_elsewhere() -> float:
    """Return the core seconds since the start of the machine that went to others than finished measuring processes."""
    user, nice, system, _idle, _wait, irq, soft_irq, *_ = (
        int(word) for word in Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    )
    own = os.times()
    busy = (user + nice + system + irq + soft_irq) / os.sysconf("SC_CLK_TCK")
    return busy - own.user - own.system - own.children_user - own.children_system


def versions() -> dict[str, str | None]:
    """Return the versions of Python and of what is measured; None for what is not installed."""
    return {"python": platform.python_version(), **{name: installed_version(name) for name in DISTRIBUTIONS}}


def commit() -> dict[str, Any]:
    """Return the git commit of the tree and whether the tree differs from it (results left out); None without git."""
    try:
        revision = _git("rev-parse", "HEAD").strip()
        changes = _git("status", "--porcelain", "--", ".", ":!benchmarks/results")
    except (OSError, subprocess.CalledProcessError):
        return {"hash": None, "dirty": None}
    return {"hash": revision, "dirty": bool(changes.strip())}


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout
