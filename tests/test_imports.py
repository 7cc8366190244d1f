"""What may import what: every room imports lower floors only, and no modules import each other in a circle."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("genpas_plugins", "recbole_ext", "torchrec_ext")

# A room imports itself and the floors above its own in this list. `genpas_plugins` is the package's own __init__.
FLOORS = (
    ("support",),
    ("data",),
    ("sampling",),
    ("augment", "analysis"),
    ("settings",),
    ("search", "semantic_ids"),
    ("pages",),
    ("neural",),
    ("genpas_plugins",),
    ("recbole_ext",),
    ("torchrec_ext",),
    ("experiments",),
    ("cli",),
    ("__main__",),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

_ADAPTERS = ("recbole_ext", "torchrec_ext", "experiments", "cli")
MAY_IMPORT = {
    "torch": ("neural", "semantic_ids", *_ADAPTERS),
    "recbole": _ADAPTERS,
    "torchrec": ("torchrec_ext", "experiments", "cli"),
    "fbgemm_gpu": ("torchrec_ext", "experiments", "cli"),
}
# Rooms that import these inside functions only: `genpas --help` and semantic IDs work without them.
LAZY = {
    "semantic_ids": {"torch"},
    "cli": {*MAY_IMPORT, "recbole_ext", "torchrec_ext"},
    "experiments": {*MAY_IMPORT, "recbole_ext", "torchrec_ext"},
}
# Modules that import by a name that is not written out, and why that breaks no rule.
UNWRITTEN = {
    "genpas_plugins.sampling.backend": "callers name the kernels in a constant, which is read as an import",
    "recbole_ext.compatibility": "imports RecBole's own modules",
    "torchrec_ext.import_guard": "imports torchrec and fbgemm_gpu",
}
NOT_LOADED = ("torch", "recbole", "torchrec", "polars", "numba", "pandas", "scipy", "matplotlib", "optuna")


class Import(NamedTuple):
    """What one statement or call imports. The target is empty where it is not written out."""

    target: str
    at_top: bool = False
    is_constant: bool = False  # a string that names a module: a numba twin, loaded on first use by the numpy function


def modules_under(root: Path) -> dict[str, Path]:
    """Return the name and the file of every module of the three packages."""
    files = sorted(file for package in PACKAGES for file in (root / package).rglob("*.py"))
    names = [".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__") for file in files]
    return dict(zip(names, files, strict=True))


def room_of(module: str) -> str:
    """Return the room of one of our modules, or the top-level name of any other."""
    first, _, rest = module.partition(".")
    return rest.partition(".")[0] or first if first == "genpas_plugins" else first


def imports_of(module: str, file: Path, modules: dict[str, Path]) -> Iterator[Import]:
    """Yield every import of a module: statements, import_module and __import__, and constants that name a module."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    inside = {
        id(part) for function in ast.walk(tree) if isinstance(function, _FUNCTIONS) for part in ast.walk(function)
    }
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        at_top = id(node) not in inside
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, at_top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield Import(full if full in modules else base, at_top)
        elif isinstance(node, ast.Constant) and node.value in modules and node.value not in PACKAGES:
            yield Import(str(node.value), is_constant=True)
        elif isinstance(node, ast.Call) and node.args and _name(node.func) in ("import_module", "__import__"):
            yield from (Import(target, at_top) for target in _named_by(node.args[0], package, modules))


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _named_by(argument: ast.expr, package: str, modules: dict[str, Path]) -> list[str]:
    if isinstance(argument, ast.Constant):
        return [str(argument.value)]
    if isinstance(argument, ast.JoinedStr) and ast.unparse(argument).startswith(("f'{__name__}.", 'f"{__name__}.')):
        return [name for name in modules if name.startswith(f"{package}.")]
    return [""]


def violations(root: Path) -> list[str]:
    """Return a sentence for every import that breaks a rule, and for every circle."""
    modules = modules_under(root)
    found: list[str] = []
    graph: dict[str, set[str]] = {}
    for module, file in modules.items():
        room = room_of(module)
        if room not in FLOOR:
            found.append(f"{module}: {room} is on no floor")
            continue
        imported = set(imports_of(module, file, modules))
        graph[module] = {target for target, _, is_constant in imported if target in modules and not is_constant}
        for target, at_top, _ in sorted(imported):
            other = room_of(target)
            if not target:
                if module not in UNWRITTEN:
                    found.append(f"{module} imports a module whose name is not written out")
            elif other in MAY_IMPORT and room not in MAY_IMPORT[other]:
                found.append(f"{module} imports {other}")
            elif other in FLOOR and other != room and FLOOR[other] >= FLOOR[room]:
                found.append(f"{module} imports {target}: {other} is not below {room}")
            elif at_top and other in LAZY.get(room, ()):
                found.append(f"{module} imports {other} outside a function")
    return found + [f"circle: {' -> '.join(circle)}" for circle in circles(graph)]


def circles(graph: dict[str, set[str]]) -> Iterator[list[str]]:
    """Yield one circle through each module that is on one, the shortest; each set of modules once."""
    seen: set[frozenset[str]] = set()
    for start in graph:
        paths = [[start]]
        visited: set[str] = set()
        while paths:
            path = paths.pop(0)
            if start in graph.get(path[-1], ()):
                if frozenset(path) not in seen:
                    seen.add(frozenset(path))
                    yield [*path, start]
                break
            following = sorted(graph.get(path[-1], set()) - visited)
            visited.update(following)
            paths += [[*path, name] for name in following]


def loaded_by_the_import(root: Path) -> list[str]:
    """Return which of NOT_LOADED `import genpas_plugins` loads in a new process."""
    code = f"import sys, genpas_plugins; print(*(name for name in {NOT_LOADED} if name in sys.modules))"
    path = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


# Our own tree ---------------------------------------------------------------------------------------------------------


def test_no_import_breaks_a_rule():
    assert violations(ROOT) == []


def test_every_floor_and_exception_is_in_use():
    modules = modules_under(ROOT)
    assert {room_of(module) for module in modules} == set(FLOOR)
    unread = {name for name, file in modules.items() if Import("") in set(imports_of(name, file, modules))}
    assert set(UNWRITTEN) == unread


def test_importing_the_core_loads_no_framework_and_no_optional_package():
    assert loaded_by_the_import(ROOT) == []


# Planted violations ---------------------------------------------------------------------------------------------------

POLICY = "genpas_plugins.sampling.policy"
BROKEN = {
    "import": ("genpas_plugins/data/a.py", f"import {POLICY}", "sampling is not below data"),
    "from": ("genpas_plugins/data/a.py", f"from {POLICY} import X", "sampling is not below data"),
    "from the room": ("genpas_plugins/data/a.py", "from genpas_plugins.sampling import policy", "not below data"),
    "relative": ("genpas_plugins/data/a.py", "from ..sampling import policy", "sampling is not below data"),
    "in a function": ("genpas_plugins/data/a.py", f"def f():\n    import {POLICY}", "sampling is not below data"),
    "for types only": (
        "genpas_plugins/data/a.py",
        f"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from {POLICY} import X",
        "sampling is not below data",
    ),
    "import_module": (
        "genpas_plugins/data/a.py",
        f"import importlib\nimportlib.import_module('{POLICY}')",
        "sampling is not below data",
    ),
    "import_module alone": (
        "genpas_plugins/data/a.py",
        f"from importlib import import_module\nimport_module('{POLICY}')",
        "sampling is not below data",
    ),
    "__import__": ("genpas_plugins/data/a.py", f"__import__('{POLICY}')", "sampling is not below data"),
    "a constant": ("genpas_plugins/data/a.py", f"KERNELS = '{POLICY}'", "sampling is not below data"),
    "a computed name": (
        "genpas_plugins/data/a.py",
        "import importlib\ndef f(name):\n    importlib.import_module(name)",
        "not written out",
    ),
    "support": ("genpas_plugins/support/a.py", "import genpas_plugins.data.a", "data is not below support"),
    "the package itself": (
        "genpas_plugins/support/a.py",
        "from genpas_plugins import __version__",
        "genpas_plugins is not below support",
    ),
    "sampling": ("genpas_plugins/sampling/a.py", "import genpas_plugins.augment.a", "augment is not below sampling"),
    "neighbours": ("genpas_plugins/augment/a.py", "import genpas_plugins.analysis.a", "analysis is not below augment"),
    "analysis": ("genpas_plugins/analysis/a.py", "import genpas_plugins.settings.a", "settings is not below analysis"),
    "settings": ("genpas_plugins/settings/a.py", "import genpas_plugins.search.a", "search is not below settings"),
    "search": ("genpas_plugins/search/a.py", "import genpas_plugins.pages.a", "pages is not below search"),
    "semantic IDs": ("genpas_plugins/semantic_ids/a.py", "import genpas_plugins.pages.a", "not below semantic_ids"),
    "pages": ("genpas_plugins/pages/a.py", "import genpas_plugins.neural.a", "neural is not below pages"),
    "an adapter": ("genpas_plugins/neural/a.py", "import recbole_ext", "recbole_ext is not below neural"),
    "RecBole's adapter": ("recbole_ext/a.py", "import torchrec_ext.a", "torchrec_ext is not below recbole_ext"),
    "experiments": ("torchrec_ext/a.py", "import genpas_plugins.experiments.a", "not below torchrec_ext"),
    "commands": ("genpas_plugins/experiments/a.py", "import genpas_plugins.cli.a", "cli is not below experiments"),
    "torch": ("genpas_plugins/sampling/a.py", "def f():\n    import torch.nn", "imports torch"),
    "torch at the top": ("genpas_plugins/semantic_ids/a.py", "import torch", "imports torch outside a function"),
    "recbole": ("genpas_plugins/neural/a.py", "from recbole.data import dataset", "imports recbole"),
    "torchrec": ("recbole_ext/a.py", "def f():\n    import torchrec", "imports torchrec"),
    "fbgemm_gpu": ("genpas_plugins/neural/a.py", "__import__('fbgemm_gpu')", "imports fbgemm_gpu"),
    "an adapter at the top": ("genpas_plugins/cli/a.py", "import recbole_ext", "recbole_ext outside a function"),
    "a framework at the top": ("genpas_plugins/experiments/a.py", "import torch", "imports torch outside a function"),
    "a new room": ("genpas_plugins/utils/a.py", "", "utils is on no floor"),
}
CIRCLES = {
    "statements": ("from genpas_plugins.data import b", "import genpas_plugins.data.a"),
    "in a function": ("def f():\n    from genpas_plugins.data.b import X", "from genpas_plugins.data.a import Y"),
    "for types only": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from genpas_plugins.data.b import X",
        "from genpas_plugins.data.a import Y",
    ),
    "import_module": ("from . import b", "import importlib\nimportlib.import_module('genpas_plugins.data.a')"),
}


def plant(root: Path, files: dict[str, str]) -> None:
    """Write a small tree in which nothing breaks a rule, and then `files`."""
    clean = {
        "genpas_plugins/__init__.py": "from genpas_plugins.data import a",
        "genpas_plugins/data/a.py": "import genpas_plugins.support.a",
        "genpas_plugins/sampling/policy.py": "from ..data import a",
        "genpas_plugins/semantic_ids/lazy.py": "def f():\n    import torch",
        "genpas_plugins/neural/a.py": "import torch",
        "genpas_plugins/cli/a.py": "import genpas_plugins.experiments.a\ndef f():\n    import torchrec_ext.a",
        "recbole_ext/a.py": "import recbole\nfrom genpas_plugins import X",
        "torchrec_ext/a.py": "import torchrec\nimport recbole_ext.a\nimport genpas_plugins.neural.a",
    }
    empty = {
        f"genpas_plugins/{room}/a.py": "" for rooms in FLOORS for room in rooms if room not in (*PACKAGES, "__main__")
    }
    for name, text in {**empty, **clean, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")


def test_a_clean_tree_is_not_reported(tmp_path: Path):
    plant(tmp_path, {})
    assert violations(tmp_path) == []
    assert loaded_by_the_import(tmp_path) == []


@pytest.mark.parametrize("name", BROKEN)
def test_a_planted_violation_is_reported(tmp_path: Path, name: str):
    file, text, message = BROKEN[name]
    plant(tmp_path, {file: text})
    assert any(message in line for line in violations(tmp_path))


@pytest.mark.parametrize("name", CIRCLES)
def test_a_planted_circle_is_reported(tmp_path: Path, name: str):
    one, other = CIRCLES[name]
    plant(tmp_path, {"genpas_plugins/data/a.py": one, "genpas_plugins/data/b.py": other})
    assert any(line.startswith("circle: genpas_plugins.data.a -> ") for line in violations(tmp_path))


def test_a_circle_through_a_registry_of_its_own_modules_is_reported(tmp_path: Path):
    registry = "import importlib\ndef f(name):\n    importlib.import_module(f'{__name__}.{name}')"
    plant(tmp_path, {"genpas_plugins/data/kinds/__init__.py": registry, "genpas_plugins/data/kinds/one.py": ""})
    assert violations(tmp_path) == []
    plant(tmp_path, {"genpas_plugins/data/kinds/one.py": "from genpas_plugins.data.kinds import f"})
    assert any("circle: " in line for line in violations(tmp_path))


@pytest.mark.parametrize("name", NOT_LOADED)
def test_a_planted_load_is_reported(tmp_path: Path, name: str):
    plant(tmp_path, {f"{name}.py": "", "genpas_plugins/support/a.py": f"import {name}"})
    assert loaded_by_the_import(tmp_path) == [name]
