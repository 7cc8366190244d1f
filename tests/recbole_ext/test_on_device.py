"""RecBole's losses on a stand-in for a GPU: equal to the CPU's, with few waits, copies and kernels a step."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ONE_A_DRAW = {"genpas_plugins/neural/device/device_batch.py:fetched_sizes": 2}
BUDGET = {
    # case: waits by function, copies, kernels; lower a figure when a step needs less, and raise none
    "plain": ({}, 0, 94),
    "trim": ({}, 1, 231),
    "parallel": ({}, 3, 249),
    "plain, half": ({}, 0, 137),
    "parallel, half": ({}, 3, 306),
    # of two steps' draws and one step
    "plain, drawn": (ONE_A_DRAW, 0, 1148),
    "trim, drawn": (ONE_A_DRAW, 0, 1295),
    "parallel, drawn": (ONE_A_DRAW, 0, 891),
    "sampled, drawn": (ONE_A_DRAW, 0, 1195),
    "sampled, parallel, drawn": (ONE_A_DRAW, 0, 1973),
    "augmented, drawn": (ONE_A_DRAW, 1, 2610),
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
def test_a_step_is_the_cpus_and_stays_within_its_budget(found, check_on_device, case):
    assert found[case].get("different", 0) == 0
    check_on_device(found[case], *BUDGET[case], tolerance=0.02 if "half" in case else 1e-5)
