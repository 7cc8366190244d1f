"""The rules of `genpas doctor`: facts about an environment in, problems and their mends out. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Facts", "Probe", "Problem", "find_problems"]

Level = Literal["error", "warning", "note"]

# What `pip install --no-deps recbole` leaves to the user (distribution names).
RECBOLE_NEEDS = (
    "torch", "numpy", "pandas", "scipy", "scikit-learn", "PyYAML", "tqdm", "colorlog", "colorama", "texttable",
    "psutil", "tensorboard", "thop",
)  # fmt: skip
TORCHREC_NEEDS = ("torch", "tensordict", "torchmetrics", "tqdm", "pyre-extensions")
OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 13)
OLDEST_TORCH = (2, 10)
TORCH_AHEAD = 5
PAIRING_RULE = "fbgemm 1.X goes with torch 2.(X+5), for example 1.8 with 2.13"


@dataclass(frozen=True)
class Probe:
    """What importing one module in a process of its own gave."""

    module: str
    ok: bool
    detail: str = ""
    """The last line of the error; empty where the import worked."""
    facts: dict[str, Any] = field(default_factory=dict)
    """For torch: `version`, `cuda_build` (CUDA or HIP version; None: a CPU build), `cuda_available`, `devices`."""


@dataclass(frozen=True)
class Facts:
    """Everything the rules look at."""

    python: tuple[int, int]
    versions: Mapping[str, str | None]
    """Distribution name to version; None or absent: not installed."""
    probes: Mapping[str, Probe] = field(default_factory=dict)
    """Module name to what its import gave; only modules that are installed are tried."""
    fbgemm_variant: str | None = None
    """`cpu`, `cuda`, …; None: not installed or unknown."""
    backend_error: str | None = None
    """Why the sampler's backend cannot be used; None where it can."""

    def version(self, name: str) -> str | None:
        """Return the version of a distribution, or None where it is not installed."""
        return self.versions.get(name)

    def fbgemm(self) -> tuple[str, str] | None:
        """Return the installed fbgemm distribution and its version, the CUDA one first where there are two."""
        for name in ("fbgemm-gpu", "fbgemm-gpu-cpu"):
            version = self.version(name)
            if version is not None:
                return name, version
        return None

    def torch_is_cpu_build(self) -> bool | None:
        """Return whether torch was built without CUDA; None where that cannot be told."""
        tried = self.probes.get("torch")
        if tried is not None and tried.ok:
            return tried.facts.get("cuda_build") is None
        version = self.version("torch") or ""
        return True if version.endswith("+cpu") else None


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong and what to do about it."""

    level: Level
    """`error`: something does not work; `warning`: less works than seems to; `note`: harmless, good to know."""
    what: str
    mend: str


def find_problems(facts: Facts) -> list[Problem]:
    """Apply every rule; errors come first, then warnings, then notes."""
    found = [problem for rule in RULES if (problem := rule(facts)) is not None]
    order = {"error": 0, "warning": 1, "note": 2}
    return sorted(found, key=lambda problem: order[problem.level])


# Each rule takes the facts and returns one problem or None. ---------------------------------------------------------


def _python_range(facts: Facts) -> Problem | None:
    if OLDEST_PYTHON <= facts.python <= NEWEST_PYTHON:
        return None
    return Problem(
        "error" if facts.python < OLDEST_PYTHON else "warning",
        f"Python {facts.python[0]}.{facts.python[1]} is outside the supported range 3.10 to 3.13.",
        "Use Python 3.11, for which the lock in requirements/ was made.",
    )


def _unusable_backend(facts: Facts) -> Problem | None:
    if facts.backend_error is None:
        return None
    return Problem("error", facts.backend_error, "Unset GENPAS_BACKEND, or set it to numpy.")


def _numba_missing(facts: Facts) -> Problem | None:
    if facts.version("numba") is not None:
        return None
    return Problem(
        "note",
        "numba is not installed: pairs are the same but are drawn by numpy, several times slower.",
        "pip install numba",
    )


def _torch_too_old(facts: Facts) -> Problem | None:
    torch = facts.version("torch")
    if torch is None or _release(torch) >= OLDEST_TORCH:
        return None
    return Problem("warning", f"torch {torch} is older than 2.10, the oldest we support.", "pip install 'torch>=2.10'")


def _torch_fbgemm_pair(facts: Facts) -> Problem | None:
    fbgemm, torch = facts.fbgemm(), facts.version("torch")
    if fbgemm is None:
        return None
    name, version = fbgemm
    if torch is None:
        return Problem(
            "error",
            f"{name} {version} is installed without torch, which it needs but does not declare.",
            f"pip install 'torch=={_torch_for(version)}.*'",
        )
    own_build = any(mark in text for text in (torch, version) for mark in (".dev", "+git"))
    if own_build or _fbgemm_for(torch) == _series(version):  # nightly and local builds carry no release numbers
        return None
    wanted = _fbgemm_for(torch)
    mend = f"pip install '{name}=={wanted}.*'" if wanted else f"pip install 'torch=={_torch_for(version)}.*'"
    return Problem(
        "error",
        f"{name} {version} does not belong to torch {torch}: {PAIRING_RULE}.",
        f"{mend} (keeps {'torch' if wanted else name} as it is).",
    )


def _both_fbgemm(facts: Facts) -> Problem | None:
    cuda, cpu = facts.version("fbgemm-gpu"), facts.version("fbgemm-gpu-cpu")
    if cuda is None or cpu is None:
        return None
    keep = "fbgemm-gpu-cpu" if facts.torch_is_cpu_build() else "fbgemm-gpu"
    return Problem(
        "error",
        f"fbgemm-gpu {cuda} and fbgemm-gpu-cpu {cpu} are both installed and overwrite each other's module fbgemm_gpu.",
        f"pip uninstall -y fbgemm-gpu fbgemm-gpu-cpu, then pip install '{keep}{_pin(facts)}'.",
    )


def _cuda_fbgemm_beside_cpu_torch(facts: Facts) -> Problem | None:
    if facts.fbgemm_variant != "cuda" or facts.torch_is_cpu_build() is not True:
        return None
    return Problem(
        "error",
        f"fbgemm_gpu is a CUDA build and torch {facts.version('torch')} is a CPU build: it cannot be loaded.",
        f"pip uninstall -y fbgemm-gpu, then pip install 'fbgemm-gpu-cpu{_pin(facts)}'; or install a CUDA torch.",
    )


def _cpu_fbgemm_beside_gpu(facts: Facts) -> Problem | None:
    tried = facts.probes.get("torch")
    if facts.fbgemm_variant != "cpu" or tried is None or not tried.facts.get("cuda_available"):
        return None
    return Problem(
        "warning",
        "fbgemm_gpu is a CPU build on a machine whose torch sees a GPU: TorchRec has no CUDA operators here.",
        f"pip uninstall -y fbgemm-gpu-cpu, then pip install 'fbgemm-gpu{_pin(facts)}'.",
    )


def _torchrec_without_fbgemm(facts: Facts) -> Problem | None:
    if facts.version("torchrec") is None or facts.fbgemm() is not None:
        return None
    name = "fbgemm-gpu" if facts.torch_is_cpu_build() is False else "fbgemm-gpu-cpu"
    return Problem(
        "error",
        f"torchrec {facts.version('torchrec')} is installed without fbgemm, which it needs.",
        f"pip install '{name}{_pin(facts)}' ({PAIRING_RULE}).",
    )


def _missing_needs(package: str, needs: tuple[str, ...]) -> Callable[[Facts], Problem | None]:
    """Return the rule that a package installed with `--no-deps` has what it needs."""

    def rule(facts: Facts) -> Problem | None:
        missing = [name for name in needs if facts.version(name) is None]
        if facts.version(package) is None or not missing:
            return None
        return Problem(
            "error",
            f"{package} {facts.version(package)} is installed without {', '.join(missing)}.",
            f"pip install 'genpas-plugins[{package}]', which names all it needs.",
        )

    return rule


def _pandas_3_with_recbole(facts: Facts) -> Problem | None:
    pandas, recbole = facts.version("pandas"), facts.version("recbole")
    if pandas is None or recbole is None or _release(pandas) < (3,):
        return None
    return Problem(
        "error",
        f"pandas {pandas} breaks RecBole {recbole} silently: interactions without a rating pass its filters.",
        "pip install 'pandas<3'",
    )


def _old_ray_with_numpy_2(facts: Facts) -> Problem | None:
    ray, numpy = facts.version("ray"), facts.version("numpy")
    if ray is None or numpy is None or _release(ray) > (2, 6, 3) or _release(numpy) < (2,):
        return None
    return Problem(
        "note",
        f"ray {ray} cannot be imported beside numpy {numpy}, and RecBole imports it on start. Harmless where "
        "recbole_ext is imported before recbole: it keeps ray out of the way.",
        "import recbole_ext first; or pip uninstall ray, which training does not need.",
    )


def _failed_import(module: str) -> Callable[[Facts], Problem | None]:
    """Return the rule that a module which is installed can be imported."""

    def rule(facts: Facts) -> Problem | None:
        tried = facts.probes.get(module)
        if tried is None or tried.ok:
            return None
        found = ", ".join(
            f"{name} {facts.version(name)}"
            for name in ("torch", "fbgemm-gpu", "fbgemm-gpu-cpu", "torchrec")
            if facts.version(name) is not None
        )
        mend = "Install torch again."
        if module != "torch":
            mend = f"Mend any error above first; where there is none, install {module} again. {PAIRING_RULE}."
        return Problem("error", f"{module} cannot be imported ({found}): {tried.detail}", mend)

    return rule


def _release(version: str) -> tuple[int, ...]:
    """Return the release numbers of a version: `2.13.0+cpu` gives (2, 13, 0)."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in match.group().split(".")) if match else ()


def _series(version: str) -> str:
    return ".".join(str(part) for part in _release(version)[:2])


def _fbgemm_for(torch: str) -> str | None:
    """Return the fbgemm series of a torch version; None where the pairing rule does not reach (before torch 2.5)."""
    release = _release(torch)
    return f"1.{release[1] - TORCH_AHEAD}" if (2, TORCH_AHEAD) <= release < (3,) else None


def _torch_for(fbgemm: str) -> str:
    """Return the torch series of an fbgemm version; the newest known pair where the rule does not reach."""
    release = _release(fbgemm)
    return f"2.{release[1] + TORCH_AHEAD}" if (1, 0) <= release < (2,) else "2.13"


def _pin(facts: Facts) -> str:
    """Return `==1.X.*` for the installed torch, or nothing where no series is known."""
    series = _fbgemm_for(facts.version("torch") or "")
    return f"=={series}.*" if series else ""


# Causes before symptoms: a failed import is usually explained by a rule above it.
RULES: tuple[Callable[[Facts], Problem | None], ...] = (
    _python_range,
    _unusable_backend,
    _both_fbgemm,
    _torch_fbgemm_pair,
    _cuda_fbgemm_beside_cpu_torch,
    _torchrec_without_fbgemm,
    _missing_needs("recbole", RECBOLE_NEEDS),
    _missing_needs("torchrec", TORCHREC_NEEDS),
    _pandas_3_with_recbole,
    _failed_import("torch"),
    _failed_import("fbgemm_gpu"),
    _failed_import("torchrec"),
    _torch_too_old,
    _cpu_fbgemm_beside_gpu,
    _old_ray_with_numpy_2,
    _numba_missing,
)
