"""What is installed, what it can do and which pairs of packages are broken.

A separate process imports each package. A crash or a hang thus becomes a line of the report.
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

DISTRIBUTIONS = (
    "genpas-plugins", "numpy", "pyarrow", "polars", "numba", "torch", "recbole", "pandas", "torchrec",
    "fbgemm-gpu", "fbgemm-gpu-cpu", "ray",
)  # fmt: skip
_MODULES = {"torch": ("torch",), "fbgemm_gpu": ("fbgemm-gpu", "fbgemm-gpu-cpu"), "torchrec": ("torchrec",)}
_MARK = "genpas-doctor:"  # packages print to stdout on import; the answer is the line that begins with this
_TORCH_FACTS = """{
    "version": torch.__version__,
    "cuda_build": torch.version.cuda or getattr(torch.version, "hip", None),
    "cuda_available": (cuda := torch.cuda.is_available()),
    "devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count() if cuda else 0)],
}"""


@dataclass(frozen=True)
class Report:
    """What `genpas doctor` prints."""

    python: str
    platform: str
    versions: dict[str, str | None]
    fbgemm_build: str | None  # `cpu`, `cuda`, …; None: not installed or unknown
    torch: dict[str, Any]  # `version`, `cuda_build`, `cuda_available` and `devices`; empty without torch
    imports: dict[str, str]  # for each module, `works` or the last line of its error
    backend: str  # backend of the sampler: `numpy` or `numba`; `none` if GENPAS_BACKEND asks for a missing one
    problems: list[Problem]

    @property
    def healthy(self) -> bool:
        """Whether nothing is broken; warnings and notes do not count."""
        return all(problem.level != "error" for problem in self.problems)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON types including `healthy`."""
        return {"healthy": self.healthy, **asdict(self)}


def diagnose(choose_backend: Callable[[], str]) -> Report:
    """Look at this environment and judge it."""
    found = versions(dict.fromkeys((*DISTRIBUTIONS, *RECBOLE_NEEDS, *TORCHREC_NEEDS)))
    present = [module for module, names in _MODULES.items() if any(found[name] for name in names)]
    with ThreadPoolExecutor(len(_MODULES)) as pool:
        probes = dict(zip(present, pool.map(probe, present), strict=True))
    backend, backend_error = "none", None
    try:
        backend = choose_backend()
    except InputError as error:
        backend_error = str(error)
    build = _fbgemm_build(found)
    return Report(
        python=platform.python_version(),
        platform=platform.platform(),
        versions=found,
        fbgemm_build=build,
        torch=probes["torch"].facts if "torch" in probes else {},
        imports={module: "works" if tried.ok else tried.detail for module, tried in probes.items()},
        backend=backend,
        problems=find_problems(Facts(sys.version_info[:2], found, probes, build, backend_error)),
    )


def probe(module: str, timeout: float = 300.0) -> Probe:
    """Import a module in a separate process that is killed after `timeout` seconds."""
    facts = _TORCH_FACTS if module == "torch" else "{}"
    script = f"import json, {module}\nprint('\\n' + {_MARK!r} + json.dumps({facts}))"
    try:
        done = subprocess.run(  # noqa: PLW1510 – the exit status is part of the answer
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
    if done.returncode < 0:
        return Probe(module, False, f"import was killed by signal {-done.returncode}")
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return Probe(module, False, lines[-1] if lines else f"import ended with exit status {done.returncode}")


def _fbgemm_build(found: Mapping[str, str | None]) -> str | None:
    """Return the build from fbgemm's own file without an import or from the distribution's name."""
    spec = importlib.util.find_spec("fbgemm_gpu")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        try:
            return str(json.loads(Path(folder, "docs", "target.default.json.py").read_text("utf-8"))["variant"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    cpu, cuda = found.get("fbgemm-gpu-cpu"), found.get("fbgemm-gpu")
    if cpu is None and cuda is None:
        return None
    return "cpu" if cpu is not None or str(cuda).endswith("+cpu") else "cuda"
