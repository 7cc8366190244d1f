"""The rules of `genpas doctor`: pure functions from facts about an environment to problems and their fixes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

# Distributions that `pip install --no-deps recbole` and `… torchrec` leave to the user.
RECBOLE_NEEDS = (
    "torch", "numpy", "pandas", "scipy", "scikit-learn", "PyYAML", "tqdm", "colorlog", "colorama", "texttable",
    "psutil", "tensorboard", "thop",
)  # fmt: skip
TORCHREC_NEEDS = ("torch", "tensordict", "torchmetrics", "tqdm", "pyre-extensions")
PAIRING_RULE = "fbgemm 1.X goes with torch 2.(X+5), for example 1.8 with 2.13"
OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 13)
OLDEST_TORCH = (2, 10)
_LEVELS = ("error", "warning", "note")


@dataclass(frozen=True)
class Probe:
    """The outcome of importing one module in a process of its own."""

    module: str
    ok: bool
    detail: str = ""  # the last line of the error; empty if the import worked
    facts: dict[str, Any] = field(default_factory=dict)
    """For torch: `version`, `cuda_build` (CUDA or HIP version; None: a CPU build), `cuda_available`, `devices`."""


@dataclass(frozen=True)
class Facts:
    """Everything that the rules look at."""

    python: tuple[int, int]
    versions: Mapping[str, str | None]  # version of each distribution; None or absent: not installed
    probes: Mapping[str, Probe] = field(default_factory=dict)  # outcome for each installed module
    fbgemm_variant: str | None = None  # `cpu`, `cuda`, …; None: not installed or unknown
    backend_error: str | None = None  # why the sampler's backend cannot be used; None if it can

    def torch_has_cuda(self) -> bool | None:
        """Return whether torch was built with CUDA; None if unknown."""
        tried = self.probes.get("torch")
        if tried is not None and tried.ok:
            return tried.facts.get("cuda_build") is not None
        return False if (self.versions.get("torch") or "").endswith("+cpu") else None


@dataclass(frozen=True)
class Problem:
    """One problem and its fix."""

    level: Literal["error", "warning", "note"]
    """`error`: something does not work; `warning`: less works than it seems; `note`: harmless."""
    what: str
    fix: str


def find_problems(facts: Facts) -> list[Problem]:
    """Apply every rule. Errors come first, then warnings and then notes."""
    # Causes come before symptoms: a rule above usually explains a failed import.
    broken = [Problem("error", what, fix) for rule in (_fbgemm, _needs, _imports) for what, fix in rule(facts)]
    return sorted([*broken, *_environment(facts)], key=lambda problem: _LEVELS.index(problem.level))


def _fbgemm(facts: Facts) -> Iterator[tuple[str, str]]:
    torch, torchrec, has_cuda = facts.versions.get("torch"), facts.versions.get("torchrec"), facts.torch_has_cuda()
    installed = {name: found for name in ("fbgemm-gpu", "fbgemm-gpu-cpu") if (found := facts.versions.get(name))}
    series = _fbgemm_for(torch)
    pin = f"=={series}.*" if series else ""
    if len(installed) > 1:
        both = " and ".join(f"{name} {version}" for name, version in installed.items())
        keep = f"fbgemm-gpu{'-cpu' if has_cuda is False else ''}{pin}"
        yield (
            f"{both} are both installed and overwrite each other's module fbgemm_gpu.",
            f"pip uninstall -y fbgemm-gpu fbgemm-gpu-cpu, then pip install '{keep}'.",
        )
    for name, version in list(installed.items())[:1]:
        release = _release(version)
        # The newest known torch for an fbgemm outside the pairing rule.
        fix_torch = f"pip install 'torch==2.{release[1] + 5 if (1, 0) <= release < (2,) else 13}.*'"
        if torch is None:
            yield f"{name} {version} is installed without torch, which it needs but does not declare.", fix_torch
        elif series != ".".join(map(str, release[:2])) and not re.search(r"\.dev|\+git", torch + version):
            fix, kept = (f"pip install '{name}{pin}'", "torch") if series else (fix_torch, name)
            # Nightly and local builds carry no release numbers.
            yield (
                f"{name} {version} does not belong to torch {torch}: {PAIRING_RULE}.",
                f"{fix} (keeps {kept} as it is).",
            )
    if facts.fbgemm_variant == "cuda" and has_cuda is False:
        yield (
            f"fbgemm_gpu is a CUDA build and torch {torch} is a CPU build: it cannot be loaded.",
            f"pip uninstall -y fbgemm-gpu, then pip install 'fbgemm-gpu-cpu{pin}'; or install a CUDA torch.",
        )
    if torchrec is not None and not installed:
        yield (
            f"torchrec {torchrec} is installed without fbgemm, which it needs.",
            f"pip install 'fbgemm-gpu{'' if has_cuda else '-cpu'}{pin}' ({PAIRING_RULE}).",
        )


def _needs(facts: Facts) -> Iterator[tuple[str, str]]:
    for package, needs in {"recbole": RECBOLE_NEEDS, "torchrec": TORCHREC_NEEDS}.items():
        missing = ", ".join(name for name in needs if facts.versions.get(name) is None)
        if (version := facts.versions.get(package)) is not None and missing:
            fix = f"pip install 'genpas-plugins[{package}]', which names all it needs."
            yield f"{package} {version} is installed without {missing}.", fix
    pandas, recbole = facts.versions.get("pandas"), facts.versions.get("recbole")
    if recbole is not None and _release(pandas) >= (3,):
        what = f"pandas {pandas} breaks RecBole {recbole} silently: interactions without a rating pass its filters."
        yield what, "pip install 'pandas<3'"


def _imports(facts: Facts) -> Iterator[tuple[str, str]]:
    names = ("torch", "fbgemm-gpu", "fbgemm-gpu-cpu", "torchrec")
    found = ", ".join(f"{name} {version}" for name in names if (version := facts.versions.get(name)) is not None)
    for module, tried in facts.probes.items():
        if not tried.ok:
            again = f"Fix the errors above first; if there are none, install {module} again. {PAIRING_RULE}."
            fix = "Install torch again." if module == "torch" else again
            yield f"{module} cannot be imported ({found}): {tried.detail}", fix


def _environment(facts: Facts) -> Iterator[Problem]:
    """Yield problems of Python and the backend and what works less well than it could."""
    torch, ray, numpy = (facts.versions.get(name) for name in ("torch", "ray", "numpy"))
    if not OLDEST_PYTHON <= facts.python <= NEWEST_PYTHON:
        yield Problem(
            "error" if facts.python < OLDEST_PYTHON else "warning",
            f"Python {facts.python[0]}.{facts.python[1]} is outside the supported range 3.10 to 3.13.",
            "Use Python 3.11, for which the lock in requirements/ was made.",
        )
    if facts.backend_error is not None:
        yield Problem("error", facts.backend_error, "Unset GENPAS_BACKEND, or set it to numpy.")
    if torch is not None and _release(torch) < OLDEST_TORCH:
        what = f"torch {torch} is older than 2.10, the oldest supported one."
        yield Problem("warning", what, "pip install 'torch>=2.10'")
    tried = facts.probes.get("torch")
    if facts.fbgemm_variant == "cpu" and tried is not None and tried.facts.get("cuda_available"):
        pin = f"=={series}.*" if (series := _fbgemm_for(torch)) else ""
        yield Problem(
            "warning",
            "fbgemm_gpu is a CPU build on a machine whose torch sees a GPU: TorchRec has no CUDA operators here.",
            f"pip uninstall -y fbgemm-gpu-cpu, then pip install 'fbgemm-gpu{pin}'.",
        )
    if ray is not None and numpy is not None and _release(ray) <= (2, 6, 3) and _release(numpy) >= (2,):
        yield Problem(
            "note",
            f"ray {ray} cannot be imported beside numpy {numpy}, and RecBole imports it on start. Harmless where "
            "recbole_ext is imported before recbole: it keeps ray out of the way.",
            "import recbole_ext first; or pip uninstall ray, which training does not need.",
        )
    if facts.versions.get("numba") is None:
        what = "numba is not installed: pairs are the same but are drawn by numpy, several times slower."
        yield Problem("note", what, "pip install numba")


def _release(version: str | None) -> tuple[int, ...]:
    """Return the release numbers of a version: `2.13.0+cpu` gives (2, 13, 0)."""
    match = re.match(r"\d+(\.\d+)*", version or "")
    return tuple(map(int, match.group().split("."))) if match else ()


def _fbgemm_for(torch: str | None) -> str | None:
    """Return the fbgemm series of a torch version; None outside the pairing rule (before torch 2.5)."""
    release = _release(torch)
    return f"1.{release[1] - 5}" if (2, 5) <= release < (3,) else None
