"""One reader of YAML: numbers are read alike everywhere, nothing is constructed, every key has its line."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from genpas_plugins import GenPASConfig, InputError
from genpas_plugins.search.grid import read_grid
from genpas_plugins.settings.points import read_number
from genpas_plugins.settings.torchrec import TorchRecConfig
from genpas_plugins.settings.yaml_text import check_yaml, key_lines, name_places, parse_settings, read_scalar, read_yaml

NUMBERS = {
    "1e-3": 0.001,
    "1e0": 1.0,
    "2E+2": 200.0,
    "1.5e-3": 0.0015,
    ".5": 0.5,
    ".5e1": 5.0,
    "-2": -2.0,
    "inf": math.inf,
    "+inf": math.inf,
    ".inf": math.inf,
    ".INF": math.inf,
    "-inf": -math.inf,
    "-Inf": -math.inf,
    "-.inf": -math.inf,
}


@pytest.mark.parametrize("text", NUMBERS)
def test_a_number_is_read_alike_in_every_file_and_on_every_command_line(text: str, tmp_path: Path):
    number, file = NUMBERS[text], tmp_path / "a.yaml"
    file.write_text(f"genpas: {{strategy: sampled, alpha: {text}, beta: 0, gamma: 0}}\n")
    config = GenPASConfig.from_config(read_yaml(file).content)
    assert config is not None and config.alpha == number
    as_text = GenPASConfig.from_config({"genpas": {**config.model_dump(), "alpha": text if "n" in text.lower() else 0}})
    assert as_text is not None and as_text.alpha == (number if math.isinf(number) else 0)
    file.write_text(f"alpha: [{text}]\nbeta: {text}\n")
    assert (read_grid(file).alpha, read_grid(file).beta) == ((number,), (number,))
    assert (
        read_scalar(text) == read_number(text) == parse_settings([f"--genpas_alpha={text}"])["genpas_alpha"] == number
    )
    if 0 < number < math.inf:
        file.write_text(f"torchrec: {{learning_rate: {text}}}\n")
        assert TorchRecConfig.from_config(read_yaml(file).content) == TorchRecConfig(learning_rate=number)


@pytest.mark.parametrize("text", ["info", "1e", "e3", "infinite", "[5,inf)", "1.2.3", "Nonesuch", "1e-3s"])
def test_other_text_stays_text(text: str):
    assert read_scalar(text) == text


@pytest.mark.parametrize("text", ["!!python/object/apply:os.getcwd []", "!!python/name:os.system", "!own 3"])
def test_nothing_is_constructed(text: str, tmp_path: Path):
    assert read_scalar(text) == text
    file = tmp_path / "a.yaml"
    file.write_text(f"seed: 1\nother: {text}\n")
    with pytest.raises(InputError, match=rf"^{file}, line 2: a setting must be a plain value"):
        read_yaml(file)
    assert key_lines(file) == {("seed",): 1, ("other",): 2}


def test_every_key_has_its_line(tmp_path: Path):
    file = tmp_path / "a.yaml"
    file.write_text("a: 1\nb:\n  c:\n    - {d: 1}\n    - 2\nagain: &x\n  e: [*x]\n")
    assert key_lines(file) == read_yaml(file).lines
    assert [read_yaml(file).lines[path] for path in (("b",), ("b", "c"), ("b", "c", 0, "d"), ("b", "c", 1))] == [
        2,
        3,
        4,
        5,
    ]
    assert read_yaml(file).where([("b", "c", 7), ("again",)]) == f"{file}, line 3"
    assert read_yaml(file).where([("missing",)]) == str(file)


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 3\n", "b:\n  a: 1\n  a: 2\n"])
def test_a_key_that_is_there_twice_is_refused(text: str, tmp_path: Path):
    file = tmp_path / "a.yaml"
    file.write_text(text)
    for read in (read_yaml, check_yaml):
        with pytest.raises(InputError, match=rf"^{file}, line 3: a is also in line [12]\. Remove one"):
            read(file)


@pytest.mark.parametrize(
    ("content", "message"), [(b"a: [0", "line 1: this is not YAML"), (b"\xff\xfe\x00", "UTF-8"), (b"a: \x01", "YAML")]
)
def test_what_is_not_yaml_is_a_sentence(content: bytes, message: str, tmp_path: Path):
    file = tmp_path / "a.yaml"
    file.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_yaml(file)
    with pytest.raises(InputError, match="does not exist; check the path after --grid"):
        read_yaml(tmp_path / "b.yaml", "--grid")


def test_of_places_with_a_key_the_last_counts():
    places = [("a.yaml", {("x",): 3, ("x", "y"): 4}), ("b.yaml", {("x",): 1}), ("the command line", {("z",): 0})]
    assert name_places([("x", "y"), ("z",)], places) == "b.yaml, line 1 and the command line"
    assert name_places([("x", "y")], places[:1]) == "a.yaml, line 4"
    assert name_places([("w",)], places) == "the configuration"
