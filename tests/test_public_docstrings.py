"""What the packages export is documented in full: every argument of a function, and what it returns."""

from __future__ import annotations

import importlib
import inspect
import re

import pytest

PACKAGES = ("genpas_plugins", "genpas_plugins.analysis", "genpas_plugins.search", "torchrec_ext")


FUNCTIONS = {
    f"{package}.{name}": function
    for package in PACKAGES
    for name in importlib.import_module(package).__all__
    if inspect.isfunction(function := getattr(importlib.import_module(package), name))
}


def section(docstring: str, title: str) -> str:
    """Return the text of a numpydoc section, "" without it."""
    found = re.search(rf"^{title}\n-+\n(.*?)(?=^\w[^\n]*\n---|\Z)", docstring, re.DOTALL | re.MULTILINE)
    return found.group(1) if found else ""


@pytest.mark.parametrize("path", FUNCTIONS)
def test_a_function_documents_its_arguments_and_its_result(path: str) -> None:
    function = FUNCTIONS[path]
    docstring = inspect.getdoc(function) or ""
    heads = " ".join(re.findall(r"^(\w[\w, ]*?)(?= :|$)", section(docstring, "Parameters"), re.MULTILINE))
    missing = set(inspect.signature(function).parameters) - set(re.findall(r"\w+", heads))
    assert not missing, f"not under Parameters: {sorted(missing)}"
    assert section(docstring, "Returns")
