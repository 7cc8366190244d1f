"""Nothing that RecBole reads runs code: hostile files at every place, and what text and YAML mean."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from recbole.config import Config
from recbole.trainer.hyper_tuning import HyperTuning

from genpas_plugins import InputError
from recbole_ext.safe_input import PICKLES, Loader, literal

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def outcomes(settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, bool, Any]]:
    """Return what came of each attack: an outcome, whether its code ran, and calls that saw its text."""
    folder = tmp_path_factory.mktemp("attacks")
    given = {key: value for key, value in settings.items() if key != "embedding_size"}  # SASRec has no such setting
    (folder / "settings.json").write_text(json.dumps(given))
    script = Path(__file__).with_name("attacks.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), str(folder / "settings.json"), str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {name: (outcome, ran, seen) for name, outcome, ran, seen in json.loads(done.stdout.splitlines()[-1])}


@pytest.mark.slow
def test_no_attack_runs_code_and_each_is_refused_in_a_sentence_or_ignored(outcomes: dict[str, tuple[str, bool, Any]]):
    assert len(outcomes) > 60
    assert {name: (ran, seen) for name, (_, ran, seen) in outcomes.items() if ran or seen} == {}
    unclear = {name: said for name, (said, *_) in outcomes.items() if not said.startswith(("ignored", "refused: "))}
    assert unclear == {}


@pytest.mark.slow
def test_a_data_set_is_read_from_its_files_whatever_lies_under_the_default_names(
    outcomes: dict[str, tuple[str, bool, Any]],
):
    ignored = [name for name, (said, *_) in outcomes.items() if said == "ignored"]
    for command in ("train", "train without genpas", "torchrec_ext.train"):
        assert f"{command}: default names" in ignored
    for command in ("recommend", "semantic-ids", "load_data_and_model"):
        assert f"{command}: dataset_save_path in a checkpoint" in ignored


@pytest.mark.parametrize("genpas", [None, {"strategy": "multi_target"}])
@pytest.mark.parametrize("key", PICKLES)
def test_a_setting_that_asks_for_a_pickle_is_refused(
    key: str, genpas: Any, prepare: Callable[..., Any], tmp_path: Path
):
    with pytest.raises(InputError, match=rf"config_dict: {key} is refused\. A pickle runs code .* Remove the key"):
        prepare(genpas, **{key: True})
    assert not list(tmp_path.rglob("*.pth"))


def test_saving_by_hand_is_refused_before_a_file_is_opened(prepare: Callable[..., Any], tmp_path: Path):
    with pytest.raises(InputError, match="would save data as a pickle"):
        prepare().dataset.save()
    assert not list(tmp_path.rglob("*.pth"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("3", 3), ("-1", -1), ("1e-3", 0.001), ("0.5", 0.5), ("True", True), ("true", True), ("FALSE", False)),
        *(("None", None), ("[5, 10]", [5, 10]), ("('a', 2)", ("a", 2)), ("{'TS': [1]}", {"TS": [1]})),
        *(("'3'", "3"), ("Recall", "Recall"), ("[Recall]", "[Recall]"), ("[5,inf)", "[5,inf)"), ("{1, 2}", "{1, 2}")),
        *(("os", "os"), ("1+1j", "1+1j"), ("print(1)", "print(1)"), ("9" * 5000, "9" * 5000), ("[" * 9999, "[" * 9999)),
    ],
)  # fmt: skip
def test_text_becomes_the_value_that_stock_recbole_gives_it(text: str, value: Any):
    config = Config.__new__(Config)
    assert config._convert_config_dict({"key": text}) == {"key": value}


def test_text_that_would_be_computed_stays_text():
    config = Config.__new__(Config)
    assert config._convert_config_dict({"key": "2**10"}) == {"key": "2**10"}
    with pytest.raises(InputError, match="is not a number"):
        literal("2**10")


def test_the_parameters_of_hyper_tuning_are_literals(tmp_path: Path):
    pytest.importorskip("hyperopt")
    (tmp_path / "hyper.test").write_text("learning_rate choice [0.1, 0.2]\n")
    assert "learning_rate" in HyperTuning(print, params_file=str(tmp_path / "hyper.test"), algo="random").space


def test_recboles_own_files_mean_the_same():
    import recbole

    class Stock(yaml.FullLoader):
        """RecBole's loader."""

    Stock.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+\.?\d*[eE][-+]?\d+$"), list("-+0123456789")
    )
    files = sorted((Path(recbole.__file__).parent / "properties").rglob("*.yaml"))
    assert len(files) > 100
    for file in files:
        text = re.sub(r"\bNone\b", "~", file.read_text(encoding="utf-8"))  # FEARec compares its None with names
        assert yaml.load(text, Loader) == yaml.load(text, Stock), file


def test_the_later_file_wins_and_a_file_without_settings_is_refused(tmp_path: Path, settings: dict[str, Any]):
    for name, text in (("a", "learning_rate: 1\nepochs: 3"), ("b", "learning_rate: 1e1"), ("c", "# nothing")):
        (tmp_path / f"{name}.yaml").write_text(text + "\n")
    config = Config(
        "SASRec",
        "tiny",
        ["a.yaml", "b.yaml"],
        {key: settings[key] for key in settings if key not in ("epochs",)},
    )
    assert config["learning_rate"] == 10.0 and config["epochs"] == 3
    with pytest.raises(InputError, match=r"c\.yaml has no settings"):
        Config("SASRec", "tiny", ["c.yaml"], settings)
