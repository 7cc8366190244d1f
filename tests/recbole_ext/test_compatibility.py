"""Importing recbole_ext repairs RecBole and leaves torch, numpy, ray and sys.modules as they are for everybody else."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import recbole

from genpas_plugins import InputError
from recbole_ext.compatibility import ModuleView

ROOT = Path(__file__).parents[2]


def python(code: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, without what pytest has imported."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", code, *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)


UNTOUCHED = """
import pickle, sys
import numpy as np, torch
import recbole.model.layers  # RecBole's own imports are not ours to answer for
before = dir(np), torch.load, torch.save, dir(np.random), np.random.RandomState, pickle.load, dir(torch.serialization)
import recbole_ext
assert before == (dir(np), torch.load, torch.save, dir(np.random), np.random.RandomState, pickle.load,
                  dir(torch.serialization))
assert not hasattr(np, "float") and not hasattr(np, "float_") and not hasattr(np, "str")
assert not [name for name in sys.modules if name.split(".")[0] == "ray"]

from recbole.config import Config
from recbole.data.dataset import SequentialDataset
from recbole.quick_start import run_recbole
from recbole.trainer import Trainer
seen = Config.__init__, Trainer.fit, Trainer._train_epoch, run_recbole, SequentialDataset.__new__
import recbole_ext
from recbole_ext import compatibility
assert seen == (Config.__init__, Trainer.fit, Trainer._train_epoch, run_recbole, SequentialDataset.__new__)
Config("SASRec", "ml-100k", config_dict={"train_neg_sample_args": None})
assert not hasattr(np, "float"), "Config used to add the old names"
recbole.utils.get_model("SINE")
assert not torch.is_anomaly_enabled(), "RecBole's SINE turns it on for every model"
"""


def test_nothing_outside_recbole_changes_and_importing_twice_is_harmless(tmp_path: Path):
    done = python(UNTOUCHED, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.iterdir())


RAY_OF_THE_USER = """
import sys, types
ray, tune = types.ModuleType("ray"), types.ModuleType("ray.tune")
ray.tune, reports = tune, []
tune.report = reports.append
sys.modules |= {"ray": ray, "ray.tune": tune}
if sys.argv[1] == "first":
    import recbole.quick_start
import recbole_ext
assert sys.modules["ray"] is ray and sys.modules["ray.tune"] is tune and ray.tune is tune
import recbole
import recbole.quick_start.quick_start as quick_start
quick_start.tune.report(ndcg=0.5)
assert reports == [{"ndcg": 0.5}], "current ray takes one dictionary"
assert recbole.quick_start.run_recbole is quick_start.run_recbole
assert quick_start.run_recbole.__globals__["__name__"] == "recbole_ext.patches"
assert recbole.quick_start.load_data_and_model.__module__ == "recbole_ext.checkpoints"
"""


@pytest.mark.parametrize("order", ["first", "second"])
def test_a_ray_of_the_users_own_stays_and_receives_reports(order: str, tmp_path: Path):
    """`first`: recbole.quick_start was imported before recbole_ext, which a working ray makes possible."""
    done = python(RAY_OF_THE_USER, order, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_without_ray_a_report_goes_nowhere():
    quick_start = importlib.import_module("recbole.quick_start.quick_start")
    quick_start.tune.report(ndcg=0.5)
    assert "ray" not in sys.modules


def test_processes_that_recbole_starts_import_recbole_ext():
    """What `mp.spawn` pickles is a name, and importing the module of that name registers everything."""
    quick_start = importlib.import_module("recbole.quick_start.quick_start")
    assert quick_start.run_recboles.__module__.startswith("recbole_ext.")
    assert quick_start.run.__globals__["run_recboles"] is quick_start.run_recboles


def numpy_names(file: Path) -> set[str]:
    """Return the names x of every `np.x` in a file, but for the function that sets the old ones."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    skipped = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == "compatibility_settings"
        for inner in ast.walk(node)
    }
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "np"
        and node not in skipped
    }


@pytest.mark.filterwarnings("ignore:invalid escape sequence", "ignore:In the future `np")  # what is looked for
def test_every_numpy_name_that_recboles_source_uses_is_there():
    package = Path(recbole.__file__).parent
    checked = 0
    for file in package.rglob("*.py"):
        gone = {name for name in numpy_names(file) if not hasattr(np, name)}
        if gone:
            module = importlib.import_module(".".join(["recbole", *file.relative_to(package).with_suffix("").parts]))
            assert all(hasattr(module.np, name) for name in gone), file
            checked += 1
    assert checked, "with nothing to repair the repair is to be removed"


def test_a_view_of_a_module_is_the_module_but_for_what_is_replaced():
    view = ModuleView(np, float=float)
    assert view.float is float and view.zeros is np.zeros and view.__name__ == "numpy"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = view.nothing


PRISTINE = """
import sys
import numpy as np
for name in "float", "complex", "unicode", "str", "object", "int":  # what RecBole sets or needs of numpy 1
    setattr(np, name + "_", getattr(np, {"float": "float64", "complex": "complex128", "unicode": "str_"}
            .get(name, name + "_")))
settings, ours, files = eval(sys.argv.pop(1))
if ours:
    import recbole_ext
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import init_seed
assert ("recbole_ext" in sys.modules) == ours
config = Config("SASRec", "tiny", config_dict=settings)
init_seed(1, True)
loaders = data_preparation(config, create_dataset(config))
arrays = {}
for number, loader in enumerate(loaders):
    init_seed(2, True)
    for step, batch in enumerate(loader):
        batch = batch[0] if isinstance(batch, tuple) else batch
        for column in batch.columns:
            arrays[f"{number} {step} {column}"] = batch[column].numpy()
np.savez(files, **arrays)
"""


def test_without_the_key_batches_are_those_of_a_recbole_that_never_met_us(settings: dict[str, Any], tmp_path: Path):
    given = {**settings, "loss_type": "BPR", "train_neg_sample_args": {"distribution": "uniform"}, "shuffle": True}
    given["eval_args"] = {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "uni10"}
    arrays = []
    for ours in (False, True):
        file = tmp_path / f"{ours}.npz"
        done = python(PRISTINE, repr((given, ours, str(file))), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        with np.load(file) as content:
            arrays.append(dict(content))
    assert arrays[0].keys() == arrays[1].keys() and len(arrays[0]) > 100
    for name, array in arrays[0].items():
        assert array.dtype == arrays[1][name].dtype and np.array_equal(array, arrays[1][name]), name


@pytest.mark.parametrize("algorithm", ["exhaustive", "random", "bayes"])
def test_the_tuner_searches_a_flat_key(algorithm: str, settings: dict[str, Any], tmp_path: Path):
    pytest.importorskip("hyperopt")
    pytest.importorskip("plotly")
    from recbole.quick_start import objective_function
    from recbole.trainer import HyperTuning

    def objective(given: dict[str, Any], files: Any) -> Any:
        flat = {"genpas_strategy": "sampled", "genpas_beta": 0, "genpas_gamma": 0, "model": "SASRec", "dataset": "tiny"}
        return objective_function({**settings, **flat, **given}, files)

    tuner = HyperTuning(
        objective,
        params_dict={"choice": {"genpas_alpha": [0.0, 1.0]}},
        algo=algorithm,
        max_evals=2,
        display_file=str(tmp_path / "tuning.html"),
    )
    tuner.run()
    assert 1 <= len(tuner.params2result) <= 2
    if algorithm == "exhaustive":
        assert tuner.params2result.keys() == {"genpas_alpha:0.0", "genpas_alpha:1.0"}
    tuner.export_result(tmp_path / "results.txt")
    assert (tmp_path / "results.txt").stat().st_size


def test_the_tuner_meets_a_sentence_too(settings: dict[str, Any]):
    from recbole.quick_start import objective_function

    given = {**settings, "model": "SASRec", "dataset": "tiny", "genpas_strategy": "sampled", "genpas_alpha": "one"}
    with pytest.raises(InputError, match="config_dict: genpas: alpha must be a number"):
        objective_function(given)
