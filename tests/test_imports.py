"""What may import what: adapters import the core, the core imports no framework."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "genpas_plugins"
# The two rooms above the adapters.
ABOVE_ADAPTERS = ("cli", "experiments")
# The only parts of the core that are about neural networks.
WITH_TORCH = ("semantic_ids", "neural")


def imported_modules(file: Path) -> Iterator[str]:
    """Top-level names of everything a file imports, at its top or inside functions."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").partition(".")[0]


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def name(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def test_importing_the_core_loads_no_framework_and_no_optional_package():
    names = ("torch", "recbole", "torchrec", "fbgemm_gpu", "polars", "numba", "pandas", "scipy", "matplotlib", "optuna")
    code = f"import sys, genpas_plugins; print([name for name in {names} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_sources_are_found():
    assert len(sources("genpas_plugins")) > 10


@pytest.mark.parametrize("file", sources("genpas_plugins"), ids=name)
def test_the_core_imports_neither_adapters_nor_frameworks(file: Path):
    forbidden = {"recbole", "torchrec", "fbgemm_gpu", "recbole_ext", "torchrec_ext"}
    if file.relative_to(CORE).parts[0] not in ABOVE_ADAPTERS:
        assert not forbidden & set(imported_modules(file))


@pytest.mark.parametrize("file", sources("genpas_plugins"), ids=name)
def test_the_core_imports_torch_only_where_networks_are(file: Path):
    if file.relative_to(CORE).parts[0] not in WITH_TORCH + ABOVE_ADAPTERS:
        assert "torch" not in set(imported_modules(file))


@pytest.mark.parametrize("file", sources("recbole_ext"), ids=name)
def test_the_recbole_adapter_does_not_import_the_torchrec_one(file: Path):
    assert not {"torchrec_ext", "torchrec"} & set(imported_modules(file))
