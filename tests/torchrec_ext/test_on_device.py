"""Losses over a sharded table on a stand-in for a GPU: equal to the CPU's, with few waits, copies and kernels."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torchrec")

BUDGET = {
    # output: waits by function, copies, kernels; lower a figure when a step needs less, and raise none
    "vocab_parallel": ({}, 0, 39),
    "gather": ({}, 0, 22),
}


@pytest.fixture(scope="module")
def found(on_stand_in):
    """Return what `on_device.py` measures, by case."""
    return {line["case"]: line for line in on_stand_in(Path(__file__).with_name("on_device.py"))}


@pytest.mark.slow
@pytest.mark.parametrize("output", BUDGET)
def test_a_loss_is_the_cpus_and_stays_within_its_budget(found, check_on_device, output):
    check_on_device(found[output], *BUDGET[output])
