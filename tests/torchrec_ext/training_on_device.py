"""Whole runs of torchrec_ext.train on the stand-in device and on the CPU: python training_on_device.py CASES.json.

CASES.json holds {case: arguments}. A JSON line a case has the curves of both runs and what the device waits for, copies
and computes in an epoch: figures a step.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import stand_in, table_lookup  # noqa: E401, F401 # isort: skip – before torch

import torch
import torch.distributed as dist

from torchrec_ext import train
from torchrec_ext.training import loop

counted: list[tuple[int, stand_in.Counts]] = []


def train_epoch(run: Any, *rest: Any) -> None:
    """Train an epoch and keep its counts."""
    steps = run.stream.steps_per_epoch
    with stand_in.counting() as counts:
        original(run, *rest)
    counted.append((steps, counts))


def curve(arguments: list[str], *, epochs: int, on_device: bool) -> list[dict[str, float]]:
    """Return loss and metrics by epoch, and the figures of the test, of a run that stops after each epoch."""
    with tempfile.TemporaryDirectory() as folder, stand_in.Device() if on_device else nullcontext():
        for until in range(1, epochs + 1):
            train.main([*arguments, "--out", f"{folder}/run", f"use_gpu={on_device}", f"epochs={until}"])
        results = json.loads(Path(folder, "run", "results.json").read_text())
    assert results["device"] == ("stand-in" if on_device else "cpu")
    return [{"loss": point["train_loss"], **point["validation"]} for point in results["curve"]] + [results["test"]]


def main(cases: dict[str, list[str]]) -> None:
    """Print a line a case."""
    for place, (case, arguments) in enumerate(cases.items()):
        epochs = 1 if place else 2  # the first case is resumed
        expected, found = (curve(arguments, epochs=epochs, on_device=on_device) for on_device in (False, True))
        steps, counts = counted[-1]
        waits, copies = ({place: n / steps for place, n in of.items()} for of in (counts.waits, counts.copies))
        line = {"case": case, "curves": [found, expected], "waits": waits, "copies": copies}
        print(json.dumps({**line, "kernels": counts.kernels / steps}), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    original, loop.train_epoch = loop.train_epoch, train_epoch
    with_gloo = dist.init_process_group
    dist.init_process_group = lambda _, **more: with_gloo("cpu:gloo,cuda:gloo", **more)  # there is no NCCL
    main(json.loads(Path(sys.argv.pop()).read_text()))
    os._exit(0)  # a library's thread may still run, and the interpreter's end would abort
