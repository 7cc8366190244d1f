"""Which runs on a GPU draw their batches there; what is drawn is in test_on_device.py."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch

from recbole_ext.device_draws import device_draws

SAMPLED = {"strategy": "sampled", "alpha": 1, "beta": 0, "gamma": 0}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"loss_type": "BPR"}, "RecBole samples negatives there"),
        ({"worker": 2}, "worker asks for processes of their own"),
        ({"transform": "crop_itemseq", "eta": 0.2}, "the transform crop_itemseq is computed there"),
        ({}, "bytes, and the device has 1,000 free"),
    ],
)
def test_a_gpu_that_cannot_draw_is_left_with_a_reason(
    prepare: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    changes: dict[str, Any],
    reason: str,
) -> None:
    made = prepare(SAMPLED, **changes)
    made.config.final_config_dict["device"] = torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1000, 1 << 40))
    loader = made.train
    negatives = loader._samples_negatives
    with caplog.at_level(logging.INFO):
        loader._dataset.logger = logging.getLogger("genpas_test")
        assert device_draws(made.config, loader.stream, loader._dataset, negatives=negatives) is None
    assert "GenPAS draws batches on the CPU: " in caplog.text
    assert reason in caplog.text


@pytest.mark.parametrize(("section", "device"), [(SAMPLED, "cpu"), ({**SAMPLED, "device": "cpu"}, "cuda")])
def test_a_run_that_asks_for_the_cpu_is_not_warned(
    prepare: Callable[..., Any], caplog: pytest.LogCaptureFixture, section: dict[str, Any], device: str
) -> None:
    made = prepare(section)
    made.config.final_config_dict["device"] = torch.device(device)
    with caplog.at_level(logging.INFO):
        assert device_draws(made.config, made.train.stream, made.train._dataset, negatives=False) is None
    assert "draws batches" not in caplog.text
