"""The `mixing:` section: valid ones, and a sentence for every other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from genpas_plugins import InputError
from genpas_plugins.settings.mixing import MixingConfig

FILE = Path(__file__).parents[3] / "configs" / "mixing" / "basrec.yaml"


def test_the_file_in_configs_holds_the_defaults():
    section = yaml.safe_load(FILE.read_text(encoding="utf-8"))["mixing"]
    assert MixingConfig.from_mapping(section) == MixingConfig.from_mapping("basrec")


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({}, "method is missing"),
        (None, "must hold keys such as"),
        ("basrek", "Did you mean 'basrec'"),
        ({"method": "basrec", "vews": 1}, "no key 'vews'. Did you mean 'views'"),
        ({"method": "basrec", "views": -1}, "views must be a whole number from 0"),
        ({"method": "basrec", "cross": 1.5}, "cross must be a whole number"),
        ({"method": "basrec", "beta": 0}, "beta must be a number above 0"),
        ({"method": "basrec", "beta": float("nan")}, "beta must be a number above 0"),
        ({"method": "basrec", "rate_high": "0.5"}, "rate_high must be a number"),
        ({"method": "basrec", "rate_low": 0.8}, "must be in order"),
        ({"method": "basrec", "rate_high": 1.1}, "rate_high must be a number above 0 and at most 1"),
        ({"method": "basrec", "released_weights": 1}, "released_weights must be true or false"),
        ({"method": "basrec", "views": 0, "cross": 0}, "nothing would be mixed"),
    ],
)
def test_what_is_wrong_is_said(section: Any, message: str):
    with pytest.raises(InputError, match=f"^here: mixing.*{message}"):
        MixingConfig.from_mapping(section, "here")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"mixing": {"method": "basrec", "views": 1, "cross": 1}, "mixing_views": 4}, {"views": 4, "cross": 1}),
        ({"mixing": "basrec", "mixing_beta": 0.5}, {"beta": 0.5}),
        ({"mixing_method": "basrec", "mixing_cross": 0}, {"cross": 0}),
        ({"mixing": None, "mixing_method": "basrec"}, {}),
    ],
)
def test_flat_keys_mean_the_same_and_win(config: dict[str, Any], expected: dict[str, Any]):
    assert MixingConfig.from_config({"seed": 1, **config}) == MixingConfig(method="basrec", **expected)


def test_without_the_key_and_flat_ones_nothing_is_mixed():
    assert MixingConfig.from_config({"seed": 1, "genpas": "multi_target"}) is None


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"mixing": None}, "must hold keys such as"),
        ({"mixing_views": 1}, "method is missing"),
        ({"mixing": "basrec", "mixing_vews": 1}, "no key 'vews'. Did you mean 'views'"),
    ],
)
def test_what_is_wrong_in_a_configuration_is_said(config: dict[str, Any], message: str):
    with pytest.raises(InputError, match=f"^here: mixing.*{message}"):
        MixingConfig.from_config(config, "here")
