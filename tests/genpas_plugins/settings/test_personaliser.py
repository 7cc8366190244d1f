"""The `personaliser:` section: valid ones, and a sentence for every other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from genpas_plugins import InputError
from genpas_plugins.settings.personaliser import PersonaliserConfig

FILE = Path(__file__).parents[3] / "configs" / "regeneration" / "dr4sr_plus.yaml"


def test_the_file_in_configs_holds_the_defaults():
    section = yaml.safe_load(FILE.read_text(encoding="utf-8"))["personaliser"]
    assert PersonaliserConfig.from_mapping(section) == PersonaliserConfig.from_mapping("dr4sr_plus")


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({}, "method is missing"),
        (None, "must hold keys such as"),
        ("dr4sr", "Did you mean 'dr4sr_plus'"),
        ({"method": "dr4sr_plus", "term": 1}, "no key 'term'. Did you mean 'terms'"),
        ({"method": "dr4sr_plus", "warmup_epochs": -1}, "warmup_epochs must be a whole number from 0"),
        ({"method": "dr4sr_plus", "interval": 0}, "interval must be a whole number from 1"),
        ({"method": "dr4sr_plus", "terms": 1.5}, "terms must be a whole number"),
        ({"method": "dr4sr_plus", "hidden": 0}, "hidden must be a whole number from 1"),
        ({"method": "dr4sr_plus", "step": 0}, "step must be a number above 0"),
        ({"method": "dr4sr_plus", "learning_rate": None}, "learning_rate must be a number above 0"),
        ({"method": "dr4sr_plus", "learning_rate": float("inf")}, "learning_rate must be a number above 0"),
    ],
)
def test_what_is_wrong_is_said(section: Any, message: str):
    with pytest.raises(InputError, match=f"^here: personaliser.*{message}"):
        PersonaliserConfig.from_mapping(section, "here")
