"""The grid: its values, its named points, and what it refuses."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml

from genpas_plugins import GenPASConfig, InputError, SamplingPolicy
from genpas_plugins.search.grid import Grid, point_name, read_grid, yaml_number
from genpas_plugins.search.search_output import MARK, check_replaceable, genpas_yaml

INF = math.inf


@pytest.mark.parametrize(
    "point",
    [(0, INF, -INF), (1, 0, -INF), (2, 1, 0), (1, 0, 0), (1, 0, 1), (1, 1, 1), (0, 2, -INF)],
)
def test_the_default_grid_holds_the_named_and_the_published_points(point: tuple[float, float, float]):
    assert SamplingPolicy(*point) in Grid().points


def test_a_grid_is_every_combination_once():
    grid = Grid(alpha=[0, 0.0, -0.0, 1], beta=2, gamma=[-INF])
    assert [policy.label for policy in grid.points] == ["0,2,-inf", "1,2,-inf"]
    assert len(grid.points) == 2
    assert grid.bounds == ((0, 1), (2, 2), None)


@pytest.mark.parametrize(
    ("mapping", "told"),
    [
        ({"gamma": [0, math.nan]}, ["value 2 of gamma", "NaN"]),
        ({"alpha": ["one"]}, ["value 1 of alpha", "'one'"]),
        ({"beta": []}, ["beta has no value"]),
        ({"beta": [True]}, ["value 1 of beta", "True"]),
        ({"alhpa": [0]}, ["'alhpa'", "Did you mean 'alpha'?"]),
        ({3: [0]}, ["no key '3'"]),
        ([0, 1], ["must hold keys such as"]),
    ],
)
def test_what_cannot_be_used_is_refused_with_key_and_value(mapping: object, told: list[str]):
    with pytest.raises(InputError) as error:
        Grid.read(mapping, "grid.yaml")
    for part in ["grid.yaml", *told]:
        assert part in str(error.value)


@pytest.mark.parametrize("text", ["alpha: [0, .inf]\ngamma: -.inf\n", "grid: {alpha: [0, .inf], gamma: [-.inf]}\n"])
def test_a_grid_file_is_yaml_with_or_without_the_word_grid(text: str, tmp_path: Path):
    (tmp_path / "grid.yaml").write_text(text)
    assert read_grid(tmp_path / "grid.yaml") == Grid(alpha=(0.0, INF), gamma=(-INF,))


@pytest.mark.parametrize("content", [b"alpha: [0", b"\xff\xfe\x00", b"", b"alpha: [.nan]"])
def test_a_broken_grid_file_is_a_sentence(content: bytes, tmp_path: Path):
    (tmp_path / "grid.yaml").write_bytes(content)
    with pytest.raises(InputError, match=r"grid\.yaml"):
        read_grid(tmp_path / "grid.yaml")


@pytest.mark.parametrize("number", [0.0, 1.0, -0.5, 1e-7, 1.5e-9, 1e22, 0.1 + 0.2, INF, -INF])
def test_yaml_reads_a_number_back(number: float):
    assert float(yaml.safe_load(yaml_number(number))) == number
    assert not isinstance(yaml.safe_load(yaml_number(number)), str)


def test_the_yaml_of_a_point_is_a_valid_section_that_says_where_it_comes_from():
    text = genpas_yaml(SamplingPolicy(1e-7, 2, -INF), "because\nof this", 512)
    config = GenPASConfig.from_config(yaml.safe_load(text), "genpas.yaml")
    assert config is not None
    assert (config.policy, config.pairs_per_epoch) == (SamplingPolicy(1e-7, 2, -INF), 512)
    assert text.startswith(f"{MARK}: because of this\n")


def test_only_a_file_of_our_own_is_replaced(tmp_path: Path):
    file = tmp_path / "genpas.yaml"
    check_replaceable(file)
    file.write_text(genpas_yaml(SamplingPolicy(1, 0, 0), "x"))
    check_replaceable(file)
    file.write_text("genpas: multi_target\n")
    with pytest.raises(InputError, match="not written by"):
        check_replaceable(file)


def test_names_of_points():
    assert point_name(SamplingPolicy(0, INF, -INF)) == "last_target"
    assert point_name(SamplingPolicy(2, 1, 0)) == "≈ slide_window"
    assert point_name(SamplingPolicy(1, 0, 0)) == ""
