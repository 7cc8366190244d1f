"""`genpas train`: RecBole's options and settings reach RecBole unchanged, and its result reaches stdout alone."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from genpas_plugins import InputError, SequenceStore
from genpas_plugins.cli import app
from genpas_plugins.data.recbole_files import export_recbole
from genpas_plugins.settings.yaml_text import parse_settings, read_scalar
from recbole_ext.command_line import seal

pytest.importorskip("yaml", reason="genpas train needs RecBole and with it PyYAML")

RESULT = {
    "best_valid_result": {"ndcg@10": np.float64(0.5)},
    "test_result": {"ndcg@10": 0.25, "hit@10": float("nan")},
    "trained_on": {"strategy": "sampled", "beta": float("-inf")},
}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stand in for RecBole's `run`; hold what it was called with, and sys.argv at that time."""
    calls: dict[str, Any] = {}

    def run(**given: Any) -> dict[str, Any]:
        calls.update(given, argv=list(sys.argv))
        print("RecBole prints this")
        return RESULT

    stand_in(monkeypatch, run)
    return calls


def stand_in(monkeypatch: pytest.MonkeyPatch, run: Callable[..., Any]) -> None:
    """Let `run` be RecBole, which has every model and every setting."""
    monkeypatch.setattr("recbole_ext.command_line.recbole_run", lambda model: run)
    monkeypatch.setattr("recbole_ext.known_settings.check_settings", lambda *given: None)


def genpas(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


MODEL = ("train", "--model", "SASRec", "--dataset", "mine")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.01", 0.01),
        ("1e-3", 0.001),
        ("-inf", -np.inf),
        (".inf", np.inf),
        ("[10, 20]", [10, 20]),
        ("{strategy: sampled, alpha: 1}", {"strategy": "sampled", "alpha": 1}),
        ("{'LS': 'valid_and_test'}", {"LS": "valid_and_test"}),
        ("True", True),
        ("None", None),
        ("~", None),
        ("CE", "CE"),
        ("[5,inf)", "[5,inf)"),
        ("__import__('os').getcwd()", "__import__('os').getcwd()"),
        ("!!python/object/apply:os.getcwd []", "!!python/object/apply:os.getcwd []"),
        ("'0.01'", "0.01"),
    ],
)
def test_values_are_yaml_and_nothing_is_evaluated(text: str, value: object):
    assert read_scalar(text) == value


@pytest.mark.parametrize("text", ["CE", "0.01", "None", "__import__('os').getcwd()", "it's", 'a "b" \\n'])
def test_sealed_text_is_what_recboles_evaluation_makes_of_it(text: str):
    configurator = pytest.importorskip("recbole.config.configurator")
    converted = configurator.Config._convert_config_dict(None, seal({"key": text, "rate": 0.5}))
    assert converted == {"key": text, "rate": 0.5}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--learning_rate", "0.01"], "'--learning_rate' is no option of `genpas train`"),
        (["epochs"], "--key=value, key=value or --set key=value"),
        (["epochs=1", "--epochs=2"], "epochs is given as 1 and as 2"),
        (["--model=GRU4Rec"], "write --model GRU4Rec"),
    ],
)
def test_settings_of_another_form_are_refused(arguments: list[str], message: str):
    with pytest.raises(InputError, match=message):
        parse_settings(arguments)


def test_options_and_settings_reach_recbole(seen: dict[str, Any], tmp_path: Path):
    files = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    for file in files:
        file.write_text("epochs: 1\n")
    options = (
        "--config",
        files[0],
        "-c",
        files[1],
        "--set",
        "topk=[5]",
        "--nproc",
        2,
        "--port",
        99,
        "--group_offset",
        1,
    )
    result = genpas(*MODEL, *options, "--learning_rate=1e-3", "loss_type=CE")
    assert result.exit_code == 0, result.stderr
    assert seen["config_dict"].place == "the command line"
    assert seen == {
        "model": "SASRec",
        "dataset": "mine",
        "config_file_list": [str(file) for file in files],
        "config_dict": {"topk": [5], "learning_rate": 0.001, "loss_type": "'CE'"},
        "nproc": 2,
        "world_size": -1,
        "ip": "localhost",
        "port": "99",
        "group_offset": 1,
        "argv": sys.argv[:1],
    }


def test_json_is_all_there_is_on_stdout(seen: dict[str, Any]):
    result = genpas(*MODEL, "--json")
    assert json.loads(result.stdout) == {
        "best_valid_result": {"ndcg@10": 0.5},
        "test_result": {"ndcg@10": 0.25, "hit@10": None},
        "trained_on": {"strategy": "sampled", "beta": "-inf"},
    }
    assert "RecBole prints this" in result.stderr


def test_text_names_every_figure(seen: dict[str, Any]):
    shown = genpas(*MODEL).stdout
    assert "test result\n  ndcg@10  0.25" in shown and "trained on\n  strategy  sampled" in shown


def test_a_missing_configuration_file_is_refused_before_anything_is_loaded(seen: dict[str, Any], tmp_path: Path):
    result = genpas(*MODEL, "--config", tmp_path / "no.yaml")
    assert (result.exit_code, result.stdout, seen) == (2, "", {})
    assert f"{tmp_path / 'no.yaml'} does not exist" in result.stderr


def test_bad_input_in_a_process_that_recbole_started_is_one_sentence(monkeypatch: pytest.MonkeyPatch):
    multiprocessing = pytest.importorskip("torch.multiprocessing")

    def run(**given: Any) -> None:
        told = "-- Process 1 terminated:\nTraceback\ngenpas_plugins.errors.InputError: alpha is NaN.\n"
        raise multiprocessing.ProcessRaisedException(told, 1, 7)

    stand_in(monkeypatch, run)
    result = genpas(*MODEL, "--nproc", 2)
    assert (result.exit_code, result.stderr) == (2, "error: alpha is NaN.\n")


def test_an_unknown_model_is_one_sentence():
    pytest.importorskip("recbole")
    pytest.importorskip("recbole_ext")
    result = genpas("train", "--model", "SASRek", "--dataset", "mine")
    assert result.exit_code == 2
    assert "no model 'SASRek'. Did you mean 'SASRec'?" in result.stderr and result.stderr.count("\n") == 1


def test_a_setting_that_nothing_reads_is_one_sentence(tmp_path: Path):
    pytest.importorskip("recbole")
    result = genpas(*MODEL, "--hiden_size=8", "--learning_rate=3")
    told = "the command line: neither RecBole nor SASRec has a setting 'hiden_size'. Did you mean 'hidden_size'?"
    assert result.exit_code == 2 and told in result.stderr and result.stderr.count("\n") == 1
    file = tmp_path / "a.yaml"
    file.write_text("epochs: 1\nlearnin_rate: 3\n")
    result = genpas(*MODEL, "--config", file)
    assert result.exit_code == 2 and f"{file}, line 2: neither" in result.stderr
    assert "'learnin_rate'. Did you mean 'learning_rate'?" in result.stderr


def test_without_recbole_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    result = genpas(*MODEL)
    assert result.exit_code == 2
    assert "pip install --no-deps recbole==1.2.1" in result.stderr and result.stderr.count("\n") == 1


Train = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def train_on_tiny(tmp_path: Path) -> Train:
    """Return train(*arguments), which runs `genpas train` on forty users in a process of its own."""
    pytest.importorskip("recbole")
    lengths = [6 + user % 4 for user in range(40)]
    values = [1 + (7 * place) % 25 for place in range(sum(lengths))]
    store = SequenceStore.from_arrays(values, np.cumsum([0, *lengths]), n_items=25)
    export_recbole(store, tmp_path, "tiny")
    (tmp_path / "tiny.yaml").write_text(
        f"data_path: {json.dumps(str(tmp_path))}\nload_col: {{inter: [user_id, item_id, timestamp]}}\n"
        "train_neg_sample_args: ~\nhidden_size: 8\ninner_size: 8\nMAX_ITEM_LIST_LENGTH: 5\nshow_progress: false\n"
    )

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        options = ["train", "--model", "SASRec", "--dataset", "tiny", "--config", tmp_path / "tiny.yaml", *arguments]
        code = "from genpas_plugins.cli import main; main()"
        command = [sys.executable, "-c", code, *map(str, options)]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200, check=False
        )

    return run


def test_training_with_genpas_switched_on_by_a_setting(train_on_tiny: Train):
    genpas_on = "genpas={strategy: sampled, alpha: 1, beta: 0, gamma: -.inf}"
    done = train_on_tiny("--epochs=1", "--set", genpas_on, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert "ndcg@10" in result["test_result"]
    assert result["trained_on"]["strategy"] == "sampled" and result["trained_on"]["gamma"] == "-inf"


def test_a_misspelt_strategy_is_one_sentence(train_on_tiny: Train):
    done = train_on_tiny("--epochs=1", "--genpas_strategy=multi_targt", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Did you mean 'multi_target'?" in done.stderr and "Traceback" not in done.stderr


def test_a_setting_of_a_wrong_kind_is_one_sentence(train_on_tiny: Train):
    done = train_on_tiny("--hidden_size=big", "--json")
    assert (done.returncode, done.stdout) == (2, "") and "Traceback" not in done.stderr
    assert "error: the command line: hidden_size is 'big', where 64 would be usual." in done.stderr
