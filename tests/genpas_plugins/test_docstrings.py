"""The examples in the docstrings of the core run and print what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import genpas_plugins

FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
MODULES = ["genpas_plugins", *(m.name for m in pkgutil.walk_packages(genpas_plugins.__path__, "genpas_plugins."))]
OPTIONAL = {
    "genpas_plugins.settings.yaml_text": "yaml",
    "genpas_plugins.sampling.kernels": "numba",
    "genpas_plugins.neural.cornac_sasrec": "cornac",
    "genpas_plugins.neural.rectools_preparator": "rectools",
}


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str):
    if name in OPTIONAL:
        pytest.importorskip(OPTIONAL[name])
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=FLAGS)
    assert failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    examples = [
        test
        for name in MODULES
        if name not in OPTIONAL
        for test in finder.find(importlib.import_module(name))
        if test.examples
    ]
    assert len(examples) >= 5
