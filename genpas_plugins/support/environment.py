"""Commit, versions and hardware that are saved with every result."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

DISTRIBUTIONS = ("genpas-plugins", "numpy", "numba", "torch", "recbole")


def describe(distributions: Sequence[str] = DISTRIBUTIONS) -> dict[str, Any]:
    """Return date, commit, versions and hardware as plain values without the machine's name or any path."""
    return {
        "date": now(),
        "commit": commit(),
        "versions": {"python": platform.python_version(), **versions(distributions)},
        "hardware": {"cpu": cpu_model(), "machine": f"{platform.system()} {platform.machine()}", "cores": cores()},
    }


@functools.cache
def commit() -> str | None:
    """Return the commit of the checkout that this code runs from or else None.

    A "+" follows if files other than results differ. The first call decides: call this before a long run.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        head = _git(root, "rev-parse", "HEAD").strip()
        changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks/results")
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if changed.strip() else "")


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout


def now() -> str:
    """Return the time in UTC to the second in the form of ISO 8601."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def versions(distributions: Iterable[str]) -> dict[str, str | None]:
    """Return the version of each distribution or None where it is not installed."""
    return {name: _version(name) for name in distributions}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def cpu_model() -> str:
    """Return the processor's name."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


def cores() -> int | None:
    """Return how many cores this process may use; None if unknown."""
    allowed = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    return os.cpu_count() if allowed is None else len(allowed(0))
