"""The lock for GPU machines takes no CPU build of torch."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]


def pin(lock: str, package: str) -> Requirement:
    lines = (ROOT / "requirements" / lock).read_text(encoding="utf-8").splitlines()
    (found,) = (line.split("#")[0].strip() for line in lines if line.startswith(package))
    return Requirement(found)


def test_the_locks_differ_in_the_builds_alone():
    cpu, cuda = (pin(f"{variant}.txt", "torch").specifier for variant in ("cpu", "cuda"))
    versions = ("2.13.0", "2.13.0+cu130", "2.13.0+cpu", "2.12.0")
    assert [version in cpu for version in versions] == [True, True, True, False]
    assert [version in cuda for version in versions] == [True, True, False, False]
    assert pin("cpu.txt", "fbgemm-gpu-cpu").specifier == pin("cuda.txt", "fbgemm-gpu").specifier


def test_make_refuses_a_cpu_build_in_the_environment_for_gpus(tmp_path: Path):
    torch = pytest.importorskip("torch")
    if torch.version.cuda or shutil.which("make") is None:
        pytest.skip("needs make and a CPU build of torch")
    options = ["VARIANT=cuda", f"VENV={tmp_path / 'venv'}", f"PY={sys.executable}", f"PYTHON={sys.executable}"]
    plan = subprocess.run(["make", "-n", "venv", *options], cwd=ROOT, capture_output=True, text=True, check=True)
    (check,) = (line for line in plan.stdout.splitlines() if "torch.version.cuda" in line)
    done = subprocess.run(["sh", "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stderr.startswith(f"make: pip took torch {torch.__version__}, a CPU build.")
