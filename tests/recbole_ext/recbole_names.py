"""Print every name of RecBole's modules and classes with a description of its value, as JSON.

    python recbole_names.py CODE [MODULES]

CODE runs first. MODULES, a JSON list, are imported next, with an empty ray: RecBole imports ray at once.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from contextlib import suppress
from inspect import isclass, isfunction, ismodule
from types import ModuleType
from typing import Any

SKIPPED = {"__builtins__", "__loader__", "__spec__", "__warningregistry__"}


def described(value: Any, inside: tuple[int, ...] = ()) -> str:  # noqa: PLR0911 – one return a kind of value
    """Describe a value: equal descriptions in two processes mean that nobody replaced or changed it."""
    inner = (*inside, id(value))
    if id(value) in inside:
        return "itself"
    if ismodule(value):
        return f"{type(value).__name__} {value.__name__} {getattr(value, '__file__', '')}"
    if isclass(value):
        return f"{type(value).__name__} {value.__module__} {value.__qualname__}"
    if isinstance(value, staticmethod | classmethod):
        return f"{type(value).__name__} {described(value.__func__, inner)}"
    if isinstance(value, property):
        return f"property {described([value.fget, value.fset, value.fdel], inner)}"
    if isfunction(value):
        code = value.__code__
        parts = described([value.__defaults__, value.__kwdefaults__, vars(value)], inner)
        return f"function {code.co_filename}:{code.co_firstlineno} {parts}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{described(k, inner)}: {described(v, inner)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"{type(value).__name__} {[described(entry, inner) for entry in value]}"
    if isinstance(value, set | frozenset):
        return f"{type(value).__name__} {sorted(described(entry, inner) for entry in value)}"
    return re.sub(" at 0x[0-9a-f]+", "", f"{type(value).__name__} {value!r}")


def main(code: str, modules: str = "[]") -> None:
    """Print {name: [description, name by which a shared list, dictionary or set is known]}."""
    exec(code, {})
    if modules != "[]":
        sys.modules["ray"], sys.modules["ray.tune"] = ModuleType("ray"), ModuleType("ray.tune")
        sys.modules["ray"].tune = sys.modules["ray.tune"]  # type: ignore[attr-defined]
    for name in json.loads(modules):
        with suppress(ImportError):
            importlib.import_module(name)
    loaded = {name: module for name, module in sorted(sys.modules.items()) if name.split(".")[0] == "recbole"}
    found: dict[str, list[str]] = {name: [described(module), name] for name, module in loaded.items()}
    known: dict[int, str] = {}

    def add(owner: Any, prefix: str) -> None:
        for name, value in vars(owner).items():
            place = f"{prefix}.{name}"
            if name not in SKIPPED and place not in loaded:
                shared = known.setdefault(id(value), place) if isinstance(value, list | dict | set) else place
                found[place] = [described(value), shared]
                if isclass(value) and value.__module__ == prefix:
                    add(value, place)

    for name, module in loaded.items():
        if module.__name__ == name:  # not one of ours under a name of RecBole
            add(module, name)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
