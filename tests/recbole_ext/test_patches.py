"""The table of patches is complete: a patched RecBole differs from a stock one in the names of the table alone."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

from recbole_ext import patches
from recbole_ext.patches import PATCHES

ROOT = Path(__file__).parents[2]
PLACES = [place for patch in PATCHES for place in patch.places]

PLANTED = """
import recbole_ext, recbole.data.utils, recbole.model.loss, recbole.trainer.trainer, recbole.utils.argument_list, types
recbole.trainer.trainer.Trainer.evaluate = lambda *_, **__: None
recbole.model.loss.BPRLoss.added = 1
recbole.data.utils.pickle = types.ModuleType("pickle")
recbole.data.utils.load_split_dataloaders.__defaults__ = (None,)
recbole.utils.argument_list.training_arguments.append("added")
recbole.quick_start.objective_function = recbole.quick_start.run_recbole
del recbole.trainer.trainer.Trainer._valid_epoch
"""

UNLISTED = {
    "recbole.trainer.trainer.Trainer.evaluate",
    "recbole.model.loss.BPRLoss.added",
    "recbole.data.utils.pickle",
    "recbole.data.load_split_dataloaders",
    "recbole.data.utils.load_split_dataloaders",
    "recbole.config.configurator.training_arguments",
    "recbole.quick_start.objective_function",
    "recbole.trainer.trainer.Trainer._valid_epoch",
}

Names = dict[str, tuple[str, str]]


def names(code: str, cwd: Path, modules: list[str] | None = None) -> Names:
    """Return RecBole's names in a process that ran `code` and imported `modules`: see `recbole_names`."""
    script = Path(__file__).with_name("recbole_names.py")
    command = [sys.executable, "-W", "ignore", str(script), code, json.dumps(modules or [])]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    found: Names = json.loads(done.stdout)
    return found


def test_the_differences_from_stock_recbole_are_the_table_and_what_is_planted(tmp_path: Path):
    patched = names(PLANTED, tmp_path)
    stock = names("", tmp_path, [name for name in patched if name in sys.modules])
    assert len(stock) > 2000
    different = {name for name in {*patched, *stock} if patched.get(name, [0])[0] != stock.get(name, [0])[0]}
    known = {name: shared for name, (_, shared) in {**stock, **patched}.items()}
    assert {known[name] for name in different} == {known[place] for place in PLACES} | UNLISTED


def test_each_name_is_replaced_once():
    assert max(Counter(PLACES).values()) == 1


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.places[0])
def test_a_patch_says_why_and_which_feature_needs_it(patch: patches.Patch):
    assert find_spec(f"recbole_ext.{patch.feature}") and patch.why


def test_patching_again_changes_nothing():
    before = importlib.import_module("recbole.config").Config.__init__
    patches.apply()
    assert importlib.import_module("recbole.config").Config.__init__ is before
