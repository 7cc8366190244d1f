"""What is installed, what it can do, and which pairs of packages are broken.

Versions come from package metadata; nothing heavy is imported here. torch, fbgemm_gpu and torchrec are tried in
processes of their own, so a crash or a hang in one of them becomes a line of the report.

    collect() -> Facts  ->  find_problems(facts) -> list[Problem]  ->  diagnose() -> Report
"""

from __future__ import annotations

import importlib.util
import json
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from genpas_plugins.support.doctor_rules import RECBOLE_NEEDS, TORCHREC_NEEDS, Facts, Probe, Problem, find_problems
from genpas_plugins.support.environment import versions
from genpas_plugins.support.errors import InputError

__all__ = ["Facts", "Probe", "Problem", "Report", "collect", "diagnose", "find_problems", "probe"]

DISTRIBUTIONS = (
    "genpas-plugins", "numpy", "pyarrow", "polars", "numba", "torch", "recbole", "pandas", "torchrec",
    "fbgemm-gpu", "fbgemm-gpu-cpu", "ray",
)  # fmt: skip


@dataclass(frozen=True)
class Report:
    """What `genpas doctor` prints."""

    python: str
    platform: str
    versions: dict[str, str | None]
    fbgemm: dict[str, str | None]
    """`distribution`, `version`, `variant`."""
    torch: dict[str, Any]
    """What the torch probe found: `version`, `cuda_build`, `cuda_available`, `devices`; empty without torch."""
    imports: dict[str, str]
    """Module name to `works` or the last line of its error."""
    backend: str
    """Backend of the sampler: `numpy` or `numba`; `none` where GENPAS_BACKEND asks for one there is not."""
    problems: list[Problem]

    @property
    def healthy(self) -> bool:
        """Whether nothing is broken; warnings and notes do not count."""
        return all(problem.level != "error" for problem in self.problems)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON types, `healthy` included."""
        return {"healthy": self.healthy, **asdict(self)}


def diagnose(choose_backend: Callable[[], str], timeout: float = 60.0) -> Report:
    """Look at this environment and judge it.

    Parameters
    ----------
    choose_backend
        Returns the sampler's backend, or raises InputError.
    timeout
        Seconds after which the trial import of a module counts as failed. All modules are tried at the same time.
    """
    backend, unusable = _backend(choose_backend)
    facts = collect(unusable, timeout)
    fbgemm = facts.fbgemm()
    return Report(
        python=platform.python_version(),
        platform=platform.platform(),
        versions=dict(facts.versions),
        fbgemm={
            "distribution": fbgemm[0] if fbgemm else None,
            "version": fbgemm[1] if fbgemm else None,
            "variant": facts.fbgemm_variant,
        },
        torch=dict(facts.probes["torch"].facts) if "torch" in facts.probes else {},
        imports={name: "works" if tried.ok else tried.detail for name, tried in facts.probes.items()},
        backend=backend,
        problems=find_problems(facts),
    )


def collect(unusable_backend: str | None, timeout: float = 60.0) -> Facts:
    """Gather versions and try the imports that can break; see `diagnose` for `timeout`."""
    found = versions(dict.fromkeys((*DISTRIBUTIONS, *RECBOLE_NEEDS, *TORCHREC_NEEDS)))
    present = [
        module
        for module, version in (
            ("torch", found["torch"]),
            ("fbgemm_gpu", found["fbgemm-gpu"] or found["fbgemm-gpu-cpu"]),
            ("torchrec", found["torchrec"]),
        )
        if version
    ]
    with ThreadPoolExecutor(max_workers=3) as pool:
        probes = dict(zip(present, pool.map(lambda module: probe(module, timeout), present), strict=True))
    return Facts(sys.version_info[:2], found, probes, _fbgemm_variant(found), unusable_backend)


def probe(module: str, timeout: float = 60.0) -> Probe:
    """Import a module in a process of its own.

    Parameters
    ----------
    module
        Name of an importable module.
    timeout
        Seconds after which the process is killed and the import counts as failed.
    """
    script = (_TORCH_SCRIPT if module == "torch" else f"import {module}\nfacts = {{}}\n") + _PRINT_FACTS
    try:
        done = subprocess.run(  # noqa: PLW1510 - the exit status is part of the answer
            [sys.executable, "-c", script],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return Probe(module, False, f"import did not finish within {timeout:g} s")
    answer = [line for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if done.returncode == 0 and answer:
        return Probe(module, True, facts=json.loads(answer[-1][len(_MARK) :]))
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    if done.returncode < 0:
        return Probe(module, False, f"import was killed by signal {-done.returncode}")
    return Probe(module, False, lines[-1] if lines else f"import ended with exit status {done.returncode}")


def _fbgemm_variant(versions: Mapping[str, str | None]) -> str | None:
    """Return the build variant from fbgemm's own file, without importing it, or from the distribution's name."""
    spec = importlib.util.find_spec("fbgemm_gpu")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        try:
            target = json.loads(Path(folder, "docs", "target.default.json.py").read_text(encoding="utf-8"))
            return str(target["variant"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    if versions.get("fbgemm-gpu-cpu") is not None:
        return "cpu"
    cuda = versions.get("fbgemm-gpu")
    if cuda is None:
        return None
    return "cpu" if cuda.endswith("+cpu") else "cuda"


def _backend(choose_backend: Callable[[], str]) -> tuple[str, str | None]:
    """Return the sampler's backend and None, or `none` and why there is none."""
    try:
        return choose_backend(), None
    except InputError as error:
        return "none", str(error)


_MARK = "genpas-doctor:"  # packages print to stdout on import; our answer is the line that starts with this
_TORCH_SCRIPT = """
import torch
available = torch.cuda.is_available()
facts = {
    "version": torch.__version__,
    "cuda_build": torch.version.cuda or getattr(torch.version, "hip", None),
    "cuda_available": available,
    "devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if available else [],
}
"""
_PRINT_FACTS = f"import json\nprint()\nprint({_MARK!r} + json.dumps(facts))\n"
