"""The `genpas:` key in RecBole's configuration: every wrong one is one sentence, before any data is read."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from recbole.config import Config

from genpas_plugins import GenPASConfig, InputError
from recbole_ext.command_line import CommandLine
from recbole_ext.genpas_key import genpas_config

SAMPLED = {"strategy": "sampled", "alpha": 1, "beta": 0, "gamma": 0}
FLAT = {"genpas_strategy": "sampled", "genpas_alpha": 1, "genpas_beta": 0, "genpas_gamma": 0}

Configured = Callable[..., Config]


@pytest.fixture
def configured(settings: dict[str, Any]) -> Configured:
    """Return `configured(files=(), model="SASRec", **changes)`: a Config on `tiny`."""

    def of(*files: Path, model: str = "SASRec", **changes: Any) -> Config:
        return Config(
            model, "tiny", config_file_list=[str(file) for file in files], config_dict={**settings, **changes}
        )

    return of


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        (
            "topk: [5]\ngenpas: {strategy: multi_targt}",
            2,
            ["strategy is 'multi_targt'", "Did you mean 'multi_target'?"],
        ),
        ("genpas:\n  strategy: sampled\n  alhpa: 1", 3, ["no key 'alhpa'", "Did you mean 'alpha'?"]),
        ("genpas: {strategy: sampled, alpha: 1, beta: 0}", 1, ["gamma is missing"]),
        ("genpas: {strategy: sampled, alpha: x, beta: 0, gamma: 0}", 1, ["alpha must be a number", "'x'"]),
        ("genpas: {strategy: sampled, alpha: .nan, beta: 0, gamma: 0}", 1, ["alpha is NaN"]),
        ("genpas: {strategy: last_target, beta: 0}", 1, ["last_target has a distribution of its own", "remove beta"]),
        ("genpas: {strategy: last_target, pairs_per_epoch: 0}", 1, ["pairs_per_epoch must be a whole number", "not 0"]),
        ("genpas: {strategy: last_target, time_order: fast}", 1, ["time_order is 'fast'", "exact, stock"]),
        ("genpas: {strategy: last_target, targets: all}", 1, ["targets is 'all'"]),
        ("genpas: {strategy: last_target, augment: {operator: insert}}", 1, ["augment", "insert needs a rate"]),
        ("genpas: [last_target]", 1, ["must hold keys such as"]),
        ("genpas: true", 1, ["must hold keys such as"]),
        ("genpas: {}", 1, ["strategy is missing"]),
        ("\n\ngenpas_alpha: 1", 3, ["strategy is missing"]),
        ("genpas_alhpa: 1", 1, ["no key 'alhpa'"]),
        ("# first\ngenpass: {strategy: last_target}", 2, ["no key 'genpass'", "Did you mean 'genpas'?"]),
        ("GenPAS: {strategy: last_target}", 1, ["no key 'GenPAS'"]),
        ("gen_pas: {strategy: last_target}", 1, ["no key 'gen_pas'"]),
        ("genpas-alpha: 1", 1, ["no key 'genpas-alpha'"]),
        ("genpass_alpha: 1", 1, ["no key 'genpass_alpha'"]),
        ("GENPAS_strategy: last_target", 1, ["no key 'GENPAS_strategy'"]),
        ("genpas: last_target\nbenchmark_filename: [train, valid, test]", 1, ["benchmark_filename", "one .inter file"]),
    ],
)
def test_a_wrong_key_in_a_file_names_file_and_line(
    text: str, place: int, words: list[str], configured: Configured, tmp_path: Path
):
    file = tmp_path / "genpas.yaml"
    file.write_text(text + "\n")
    with pytest.raises(InputError) as caught:
        configured(file)
    for word in [f"{file}, line {place}", *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize("key", ["genpass", "GenPAS", "genpas.alpha"])
def test_a_misspelt_key_from_python_is_refused_too(key: str, configured: Configured):
    with pytest.raises(InputError, match=f"config_dict: there is no key '{key}'. Did you mean 'genpas"):
        configured(**{key: "last_target"})


@pytest.mark.parametrize("key", ["gpu_id", "general", "pas", "gens", "transform"])
def test_keys_that_are_not_ours_are_nobodys_business(key: str, configured: Configured):
    assert genpas_config(configured(**{key: "0"} if key != "transform" else {})) is None


def test_every_place_that_takes_part_is_named(configured: Configured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("genpas: {strategy: sampled, alpha: 1, beta: 0, gamma: 0}\n")
    second.write_text("topk: [5]\n")
    monkeypatch.setattr(sys, "argv", ["script", "--genpas_alpha=x"])
    with pytest.raises(InputError) as caught:
        configured(first, second)
    assert "the command line: genpas: alpha must be a number" in str(caught.value)
    assert ".yaml" not in str(caught.value)
    monkeypatch.setattr(sys, "argv", ["script", "--genpas_gamma=1"])
    first.write_text("genpas: {strategy: sampled, alpha: 1, beta: 0, gamma: x}\n")
    with pytest.raises(InputError, match=f"^{first}, line 1: genpas: gamma must be a number"):
        configured(first)
    first.write_text("genpas: last_target\n")
    with pytest.raises(InputError, match=f"^{first}, line 1 and the command line: genpas: strategy last_target has"):
        configured(first)


def test_of_places_with_a_key_the_last_is_named_and_a_replaced_section_told(configured: Configured, tmp_path: Path):
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("genpas: {strategy: sampled, alpha: 1, beta: 0, gamma: 0}\n")
    second.write_text("topk: [5]\ngenpas: {alpha: 2}\n")
    with pytest.raises(InputError) as caught:
        configured(first, second)
    assert str(caught.value).startswith(f"{second}, line 2: genpas: strategy is missing")
    assert f"The section of {second}, line 2 replaces the whole section of {first}, line 1" in str(caught.value)
    with pytest.raises(InputError) as caught:
        configured(second)
    assert "replaces" not in str(caught.value)
    with pytest.raises(InputError) as caught:
        configured(first, second, genpas={"strategy": "last_targt"})
    assert str(caught.value).startswith("config_dict: genpas: strategy") and "replaces" not in str(caught.value)
    with pytest.raises(InputError) as caught:
        configured(first, second, genpas_strategy="sampled", genpas_beta=0)
    told = f"{second}, line 2 and config_dict: genpas: strategy sampled needs alpha, beta and gamma; gamma is missing."
    assert str(caught.value) == told


def test_a_command_line_that_is_handed_over_is_named_so(settings: dict[str, Any]):
    given = CommandLine({**settings, "genpas": "last_target", "genpas_train_users": 0})
    with pytest.raises(InputError, match=r"^the command line: genpas: train_users"):
        Config("SASRec", "tiny", config_dict=given)


@pytest.mark.parametrize("nested", [SAMPLED, {"strategy": "sampled"}, "sampled", None])
def test_flat_keys_and_nested_ones_that_agree_are_one(nested: Any, configured: Configured):
    config = configured(**FLAT, **({} if nested is None else {"genpas": nested}))
    assert genpas_config(config) == GenPASConfig.from_mapping(SAMPLED)


@pytest.mark.parametrize(
    ("text", "value"), [("-inf", -math.inf), ("inf", math.inf), ("-.inf", -math.inf), (".inf", math.inf), ("0.5", 0.5)]
)
@pytest.mark.parametrize("by", ["config_dict", "command line"])
def test_the_command_lines_spellings_of_numbers(
    text: str, value: float, by: str, configured: Configured, monkeypatch: pytest.MonkeyPatch
):
    given = {**FLAT, "genpas_gamma": text}
    if by == "command line":
        monkeypatch.setattr(sys, "argv", ["script", *(f"--{key}={value}" for key, value in given.items())])
        config = configured()
    else:
        config = configured(**given)
    assert genpas_config(config) == GenPASConfig(strategy="sampled", alpha=1, beta=0, gamma=value)


@pytest.mark.parametrize("flat", ["-inf", "-.inf", "-Infinity", -math.inf])
def test_spellings_of_the_same_number_do_not_differ(flat: Any, configured: Configured):
    section = genpas_config(configured(genpas={**SAMPLED, "gamma": "-inf"}, genpas_gamma=flat))
    assert section is not None and section.gamma == -math.inf


@pytest.mark.parametrize("text", ["one", "- inf", "minus infinity", "nan", "1 + 1j"])
def test_other_texts_are_no_numbers(text: str, configured: Configured):
    with pytest.raises(InputError, match="gamma must be a number"):
        configured(**{**FLAT, "genpas_gamma": text})


def test_the_checked_section_is_kept_in_full(configured: Configured):
    config = configured(genpas="multi_target")
    assert config["genpas"].model_dump() == {
        "strategy": "multi_target",
        "alpha": None,
        "beta": None,
        "gamma": None,
        "pairs_per_epoch": None,
        "mixture": None,
        "augment": None,
        "targets": "single",
        "trim": False,
        "time_order": "exact",
        "ties": "file",
        "device": "auto",
        "train_users": 1.0,
        "replay": None,
        "warm_start": None,
        "loss": None,
    }


def test_a_split_in_no_order_is_refused_before_training(prepare: Callable[..., Any]):
    split = {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "RO", "group_by": "user", "mode": "full"}
    with pytest.raises(ValueError, match="has to be 'TO'"):  # RecBole's own words
        prepare("multi_target", eval_args=split)


SCRIPT = """
import sys
import recbole_ext
from recbole.quick_start import run_recbole
run_recbole("SASRec", "tiny", config_file_list=["genpas.yaml"], config_dict=eval(sys.argv.pop(1)))
"""


def test_a_script_with_a_wrong_key_ends_with_the_sentence_and_leaves_nothing(settings: dict[str, Any], tmp_path: Path):
    import os
    import subprocess

    (tmp_path / "genpas.yaml").write_text("genpas:\n  strategy: multi_targt\n")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, repr(settings)]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    sentence = "InputError: genpas.yaml, line 2: genpas: strategy is 'multi_targt'. Did you mean 'multi_target'?"
    assert sentence in done.stderr.splitlines()[-1]
    assert [file.name for file in tmp_path.iterdir()] == ["genpas.yaml"]


@pytest.mark.parametrize("key", ["strategy", "time_order", "pairs_per_epoch"])
def test_a_word_of_the_section_outside_it_is_refused(settings: dict[str, Any], key: str):
    with pytest.raises(InputError, match=f"{key} belongs inside the genpas key, or is written genpas_{key}"):
        Config("SASRec", "tiny", config_dict={**settings, "genpas": "multi_target", key: "stock"})


def test_without_the_section_its_words_belong_to_whoever_uses_them(settings: dict[str, Any]):
    assert Config("SASRec", "tiny", config_dict={**settings, "strategy": "mine"})["strategy"] == "mine"
