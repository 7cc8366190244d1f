"""What a cell's file was trained with: keys that came later stand at their defaults, anything else is noticed."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from genpas_plugins import GenPASConfig
from genpas_plugins.experiments.methods import read_method
from genpas_plugins.experiments.plan import Cell
from genpas_plugins.settings.mixing import MixingConfig
from genpas_plugins.settings.settings_diff import differences, with_defaults
from genpas_plugins.support.json_text import as_json_value

WORDS = ("multi_target", "1,0,-inf", "-inf,2,inf+insert+reorder", "last_target+basrec", "2,1,0+crop+basrec")


def recorded(word: str) -> dict[str, Any]:
    """Return what a file holds of a method, as JSON gives it back."""
    content: dict[str, Any] = json.loads(
        json.dumps(as_json_value({"seed": 1, "method": Cell(read_method(word), 1).sections}))
    )
    return content


def changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    before = {**before, "method": with_defaults(before["method"])}
    return list(differences(before, now))


@pytest.mark.parametrize("word", WORDS)
def test_a_key_that_came_later_stands_at_its_default(word: str):
    now = recorded(word)
    assert changes(now, now) == []
    for section, kind in (("genpas", GenPASConfig), ("mixing", MixingConfig)):
        for name, field in kind.model_fields.items() if section in now["method"] else ():
            old = copy.deepcopy(now)
            value = old["method"][section].pop(name)
            # Where the key says something, its absence is another method.
            known = value == as_json_value(field.default) and name not in ("strategy", "method")
            assert (changes(old, now) == []) == known, name
    for place, operator in enumerate(now["method"]["genpas"]["augment"] or ()):
        old = copy.deepcopy(now)
        old["method"]["genpas"]["augment"][place]["rate"] = operator["rate"] / 2
        assert [change.partition(" was ")[0] for change in changes(old, now)] == ["method.genpas.augment"]


@pytest.mark.parametrize("word", WORDS)
def test_a_default_that_changed_and_a_key_that_is_gone_are_noticed(word: str):
    now = recorded(word)
    old = copy.deepcopy(now)
    old["method"]["genpas"] |= {"time_order": "stock", "gone": 3}
    del old["method"]["genpas"]["trim"]
    assert sorted(changes(old, now)) == [
        "method.genpas.gone was 3 and is not set now",
        "method.genpas.time_order was 'stock' and is 'exact' now",
    ]
    old["method"]["genpas"]["targets"] = "neither"
    assert "method.genpas.targets was 'neither' and is 'single' now" in changes(old, now)
    assert changes({**now, "method": {}}, now)[0].startswith("method.genpas was not set and is ")


def test_every_difference_is_named_with_its_keys():
    before = {"a": {"b": 1, "c": [1]}, "d": None}
    assert list(differences(before, {"a": {"b": 2, "c": [2]}, "d": None, "e": 0})) == [
        "a.b was 1 and is 2 now",
        "a.c was [1] and is [2] now",
        "e was not set and is 0 now",
    ]
    assert list(differences(before, copy.deepcopy(before))) == []
