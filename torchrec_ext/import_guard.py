"""One clear error where torchrec cannot be imported instead of the loader's."""

from __future__ import annotations

import re
import sys
from importlib import import_module

from genpas_plugins.support.doctor_rules import PAIRING_RULE, TORCHREC_NEEDS, Facts, find_problems
from genpas_plugins.support.environment import versions
from genpas_plugins.support.errors import InputError

_NAMES = ("torch", "fbgemm-gpu", "fbgemm-gpu-cpu", "torchrec")


def require_torchrec() -> None:
    """Import torch, fbgemm_gpu and torchrec or raise InputError with versions and the pairing rule."""
    for module in ("torch", "fbgemm_gpu", "torchrec"):
        try:
            import_module(module)
        # A wrong pair of torch and fbgemm fails in the dynamic loader, with whatever that raises.
        except Exception as error:
            raise InputError(_explanation(module, error)) from error


def _explanation(module: str, error: Exception) -> str:
    found = versions((*_NAMES, *TORCHREC_NEEDS))
    installed = ", ".join(f"{name} {found[name]}" for name in _NAMES if found[name]) or "none of them"
    problems = find_problems(Facts(sys.version_info[:2], found))
    fixes = [f"{problem.what} {problem.fix}" for problem in problems if problem.level == "error"]
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    if re.search(r"lib(cuda|nvidia[\w-]*)\.so", reason):
        return (
            f"{module} cannot be imported ({reason}): this is a CUDA build, and the machine has no NVIDIA driver. "
            "Install the driver, or the CPU build fbgemm-gpu-cpu in place of fbgemm-gpu."
        )
    return " ".join(
        [
            f"{module} cannot be imported ({reason}). Installed: {installed}; {PAIRING_RULE}.",
            *(fixes or ["Run `genpas doctor`."]),
        ]
    )
