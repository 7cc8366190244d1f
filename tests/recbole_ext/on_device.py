"""Train two steps on the stand-in device and on the CPU: python on_device.py SETTINGS.json; a JSON line a case.

With `enable_amp` the device alone computes in half precision. A line has the losses, how far the gradients differ
relative to the largest, and the waits, copies and kernels of one step on the device: of the loss and of backward. A
case "drawn" draws its batches on the device too; its line has the draw's counts as well, and how many fields of the
batches are not the CPU's.
"""

from __future__ import annotations

import copy
import json
import os
import sys
from pathlib import Path
from typing import Any

import stand_in  # isort: skip – before torch

import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed

from recbole_ext import half_precision
from recbole_ext.parallel_targets import loss_of_epoch

DRAWS = {
    "plain": {"strategy": "multi_target"},
    "trim": {"strategy": "multi_target", "trim": True},
    "parallel": {"strategy": "multi_target", "targets": "parallel"},
}
CASES = [*((draw, False) for draw in DRAWS), ("plain", True), ("parallel", True)]
POLICY = {"strategy": "sampled", "alpha": 0.5, "beta": 0.5, "gamma": 2}
DRAWN = {
    **DRAWS,
    "sampled": {**POLICY, "trim": True},
    "sampled, parallel": {**POLICY, "targets": "parallel"},
    "augmented": {**POLICY, "augment": [{"operator": name, "rate": 0.4} for name in ("insert", "reorder", "mask")]},
}


def steps(settings: dict[str, Any], *, on_device: bool, drawn: bool = False) -> dict[str, Any]:
    """Return batches, losses, gradients and counts of two steps of SASRec, without dropout."""
    config = Config("SASRec", "tiny", config_dict=settings)
    init_seed(config["seed"], config["reproducibility"])
    data = create_dataset(config)
    place = config["device"]
    config.final_config_dict["device"] = stand_in.CUDA if drawn else place
    train, *_ = data_preparation(config, data)
    assert (train.on_device is not None) == drawn
    config.final_config_dict["device"] = place
    init_seed(config["seed"], config["reproducibility"])
    model = get_model("SASRec")(config, data)
    if on_device:
        config.final_config_dict["device"] = model.device = stand_in.CUDA
        stand_in.to_device(model)
    trainer = get_trainer(config["MODEL_TYPE"], "SASRec")(config, model)
    model.train()
    with stand_in.counting() as of_draw:
        batches = [batch.to(config["device"]) for _, batch in zip(range(2), train, strict=False)]
    loss_of = loss_of_epoch(trainer, train, 0) or model.calculate_loss
    losses = []
    for batch in batches:
        model.zero_grad()
        with stand_in.counting() as counts, half_precision.autocast_type(config):
            with torch.autocast(config["device"].type, enabled=config["enable_amp"]):
                loss = loss_of(copy.copy(batch))
            loss.backward()
        losses.append(float(stand_in.held(loss.detach())))
    gradients = [stand_in.held(value.grad) for value in model.parameters() if value.grad is not None]
    fields = [{name: stand_in.held(value) for name, value in batch.interaction.items()} for batch in batches]
    return {"losses": losses, "gradients": gradients, "counts": counts, "of_draw": of_draw, "batches": fields}


def furthest(found: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
    """Return the largest difference of gradients, relative to the largest gradient."""
    largest = max(float(gradient.abs().max()) for gradient in expected)
    return max(float((a - b).abs().max()) for a, b in zip(found, expected, strict=True)) / largest


def different(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> int:
    """Return how many fields differ; a list may be longer on the device, with zeros."""
    number = 0
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name, values in other.items():
            same = one[name] if values.dim() == 1 else one[name][:, : values.shape[1]]
            padding = one[name].count_nonzero() - same.count_nonzero()
            number += int(values.dtype != same.dtype or not torch.equal(values, same) or bool(padding))
    return number


def main(settings: dict[str, Any]) -> None:
    for draw, half in CASES:
        given = {**settings, "gpu_id": "", "genpas": DRAWS[draw]}
        expected = steps(given, on_device=False)
        with stand_in.Device():
            found = steps({**given, "enable_amp": half}, on_device=True)
        counts = found["counts"]
        line = {
            "case": f"{draw}, half" if half else draw,
            "losses": [found["losses"], expected["losses"]],
            "gradients": furthest(found["gradients"], expected["gradients"]),
            "waits": counts.waits,
            "copies": counts.copies,
            "kernels": counts.kernels,
        }
        print(json.dumps(line), flush=True)
    for draw, section in DRAWN.items():
        given = {**settings, "gpu_id": "", "genpas": section}
        expected = steps(given, on_device=False)
        with stand_in.Device():
            found = steps(given, on_device=True, drawn=True)
        counts, of_draw = found["counts"], found["of_draw"]
        line = {
            "case": f"{draw}, drawn",
            "losses": [found["losses"], expected["losses"]],
            "gradients": furthest(found["gradients"], expected["gradients"]),
            "different": different(found["batches"], expected["batches"]),
            "waits": counts.waits + of_draw.waits,
            "copies": counts.copies + of_draw.copies,
            "kernels": counts.kernels + of_draw.kernels,
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    settings = json.loads(Path(sys.argv.pop()).read_text())
    main({**settings, "hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0, "dropout_prob": 0.0})
    os._exit(0)  # a library's thread may still run, and the interpreter's end would abort
