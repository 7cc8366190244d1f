"""What every section keeps: one sentence for a mistake, flat keys that hide nothing, an object that travels."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest

from genpas_plugins import InputError
from genpas_plugins.settings.all_sections import SECTIONS, flat_keys, misspelt_section
from genpas_plugins.settings.base import Section
from genpas_plugins.settings.field_words import valid_values
from genpas_plugins.settings.yaml_text import read_yaml

LEAST = {
    "genpas": {"strategy": "multi_target"},
    "mixing": {"method": "basrec"},
    "personaliser": {"method": "dr4sr_plus"},
}
WRONG = {"no": "such"}
KEYS = [(name, key) for name, kind in SECTIONS.items() for key in kind.model_fields]


def least(name: str) -> Section:
    return SECTIONS[name].from_mapping(LEAST.get(name, {}))


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_travels_unchanged_and_comes_back_from_plain_values(name: str):
    section = least(name)
    kind = type(section)
    assert kind.from_config({name: section, "seed": 1}) is section
    assert kind.from_mapping(section.model_dump()) == section
    assert pickle.loads(pickle.dumps(section)) == copy.deepcopy(section) == section
    assert kind.from_config({"seed": 1, f"{name}s": 1}) is None
    with pytest.raises(ValueError, match="frozen"):
        setattr(section, next(iter(kind.model_fields)), "other")


@pytest.mark.parametrize(("name", "key"), KEYS)
def test_a_flat_key_is_the_section_s_key_and_both_values_are_checked(name: str, key: str):
    kind, section = SECTIONS[name], least(name)
    flat = {f"{name}_{key}": getattr(section, key)}
    assert next(iter(flat)) in flat_keys(name)
    assert kind.from_config({name: LEAST.get(name, {}), **flat}) == section
    for config in (
        {name: {**LEAST.get(name, {}), key: WRONG}, **flat},
        {name: LEAST.get(name, {}), f"{name}_{key}": WRONG},
    ):
        with pytest.raises(InputError, match=f"^here: {name}: .*{key}"):
            kind.from_config(config, "here")


@pytest.mark.parametrize(("name", "key"), KEYS)
def test_a_misspelt_key_names_the_nearest(name: str, key: str):
    wrong = f"{key}x"
    with pytest.raises(InputError, match=f"^here: {name} has no key '{wrong}'. Did you mean '{key}'"):
        SECTIONS[name].from_mapping({**LEAST.get(name, {}), wrong: 1}, "here")
    with pytest.raises(InputError, match=f"^{SECTIONS[name].__name__} has no key '{wrong}'. Did you mean '{key}'"):
        SECTIONS[name](**LEAST.get(name, {}), **{wrong: 1})


@pytest.mark.parametrize("name", SECTIONS)
def test_every_key_is_documented_and_says_what_it_takes(name: str):
    for field in SECTIONS[name].model_fields.values():
        assert field.description and field.description[-1] not in ".;"
        assert valid_values(field.annotation, field.metadata)


@pytest.mark.parametrize("name", SECTIONS)
def test_a_message_names_the_line_of_the_key_or_of_the_section(name: str, tmp_path: Path):
    file = tmp_path / "a.yaml"
    file.write_text(f"seed: 1\n{name}:\n  # why\n  nonsense: 1\n")
    read = read_yaml(file)
    with pytest.raises(InputError, match=f"^{file}, line 4: {name} has no key"):
        SECTIONS[name].from_config(read.content, read.where)
    file.write_text(f"seed: 1\n\n{name}: [1]\n")
    read = read_yaml(file)
    with pytest.raises(InputError, match=f"^{file}, line 3: {name} must hold keys such as"):
        SECTIONS[name].from_config(read.content, read.where)


@pytest.mark.parametrize("key", [*SECTIONS, *flat_keys(), "seed", "general", "transform", "train_neg_sample_args"])
def test_a_key_that_is_right_is_not_called_misspelt(key: str):
    assert misspelt_section(key) == ""


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("genpass", "genpas"),
        ("GENPAS_alpha", "genpas"),
        ("mixin", "mixing"),
        ("torch_rec", "torchrec"),
        ("personalizer", "personaliser"),
    ],
)
def test_a_misspelt_section_is_noticed(key: str, meant: Any):
    assert misspelt_section(key) == meant
