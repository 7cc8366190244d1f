"""RecBole's losses on a stand-in for a GPU: equal to the CPU's, with few waits, copies and kernels a step."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BUDGET = {
    # case: waits by function, copies, kernels; lower a figure when a step needs less, and raise none
    "plain": ({}, 0, 94),
    "trim": ({}, 1, 231),
    "parallel": ({}, 3, 249),
    "plain, half": ({}, 0, 137),
    "parallel, half": ({}, 3, 306),
}


@pytest.fixture(scope="module")
def found(on_stand_in: Callable[..., Any], settings: dict[str, Any], tmp_path_factory) -> dict[str, dict[str, Any]]:
    """Return what `on_device.py` measures, by case."""
    file = tmp_path_factory.mktemp("settings") / "settings.json"
    file.write_text(json.dumps({**settings, "MAX_ITEM_LIST_LENGTH": 12}))
    lines = on_stand_in(Path(__file__).with_name("on_device.py"), str(file))
    return {line["case"]: line for line in lines}


@pytest.mark.slow
@pytest.mark.parametrize("case", BUDGET)
def test_a_step_on_a_device_is_the_step_on_a_cpu(found, case):
    on_device, on_cpu = found[case]["losses"]
    tolerance = 0.02 if "half" in case else 1e-5
    assert on_device == pytest.approx(on_cpu, rel=tolerance)
    assert found[case]["gradients"] <= tolerance


@pytest.mark.slow
@pytest.mark.parametrize("case", BUDGET)
def test_a_step_stays_within_its_budget(found, case):
    line, (waits, copies, kernels) = found[case], BUDGET[case]
    by_function: dict[str, int] = {}
    for place, count in line["waits"].items():
        function = place.rsplit(":", 1)[0]
        by_function[function] = by_function.get(function, 0) + count
    assert all(count <= waits.get(function, 0) for function, count in by_function.items()), line["waits"]
    assert sum(line["copies"].values()) <= copies, line["copies"]
    assert line["kernels"] <= kernels
