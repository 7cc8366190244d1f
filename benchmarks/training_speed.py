"""Measure the cost of a million targets and the share of the matrix products."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.goals import Goal
from benchmarks.jobs import Job
from benchmarks.report import Grid
from benchmarks.timing import spread, text
from benchmarks.training_setup import HALF, PARALLEL, STOCK, TRIMMED, WAYS, loss_of, make, targets_in, train_step

SECTION = "step"


def jobs(folder: Path, network: dict[str, int], repeats: int) -> Iterator[Job]:
    """Yield the one job: the ways take turns in one process."""
    arguments = {"folder": folder, "network": network, "repeats": repeats}
    yield Job(SECTION, {"threads": 1}, "training_speed", "measure", arguments)


def measure(folder: str, network: dict[str, int], repeats: int) -> dict[str, Any]:
    """Train steps of every way in turn.

    ways : {way: {"cpu": spread of processor seconds a target, "targets": mean of a step, "flop": of a target,
        "bound": seconds a target at the rate that `rate` has}}
    rate : {dtype: floating-point operations a second of the scores' matrix product}
    """
    import torch

    steps: dict[str, Callable[[], int]] = {}
    flop: dict[str, float] = {}
    for way in WAYS:
        trainer, loader, _ = make(folder, way, network)
        steps[way] = _step(trainer, loader, way)
        flop[way] = flop_of(steps[way])
    seen: dict[str, list[float]] = {way: [] for way in WAYS}
    targets: dict[str, list[int]] = {way: [] for way in WAYS}
    for repeat in range(repeats + 1):
        for way, step in steps.items():
            begin = time.process_time()
            count = step()
            if repeat:
                seen[way].append((time.process_time() - begin) / count)
                targets[way].append(count)
    rate = {str(dtype).removeprefix("torch."): product_rate(dtype) for dtype in (torch.float32, torch.bfloat16)}
    return {
        "ways": {
            way: {
                "cpu": spread(seen[way]),
                "targets": sum(targets[way]) / len(targets[way]),
                "flop": flop[way],
                "bound": flop[way] / rate["bfloat16" if way.endswith(HALF) else "float32"],
            }
            for way in WAYS
        },
        "rate": rate,
    }


def _step(trainer: Any, loader: Any, way: str) -> Callable[[], int]:
    """Return what trains one step and says how many targets it had."""
    loss_of_batch, batches = loss_of(trainer, way), itertools.chain.from_iterable(itertools.repeat(loader))
    trainer.model.train()

    def step() -> int:
        batch = next(batches)
        train_step(trainer, loss_of_batch, batch)
        return targets_in(batch)

    return step


def flop_of(step: Callable[[], int]) -> float:
    """Count the floating-point operations a target in matrix products, forward and backward."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    def in_place(_: Any, left: Any, right: Any, **__: Any) -> int:
        return 2 * int(left[0]) * int(left[1]) * int(right[1])

    # The counter knows addmm, not its in-place form.
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: in_place}) as counter:
        count = step()
    return float(counter.get_total_flops()) / count


def product_rate(dtype: Any) -> float:
    """Measure the product of 256 vectors of 64 with 12,000 items. Return the fastest of ten."""
    import torch

    states, items = torch.randn(256, 64).to(dtype), torch.randn(12_000, 64).to(dtype)
    fastest = float("inf")
    for _ in range(11):
        begin = time.process_time()
        for _ in range(10):
            states @ items.T
        fastest = min(fastest, (time.process_time() - begin) / 10)
    return 2 * 256 * 64 * 12_000 / fastest


def tables(records: list[dict[str, Any]]) -> list[Grid]:
    """Return the table of the ways."""
    rows = [
        [
            way,
            text(seen["cpu"], 0, 1e-6),
            f"{record['ways'][STOCK]['cpu']['median'] / seen['cpu']['median']:.1f}",
            f"{seen['targets']:,.0f}",
            f"{seen['flop'] / 1e6:.1f}",
            f"{seen['bound'] / seen['cpu']['median']:.0%}",
        ]
        for record in records
        for way, seen in record["ways"].items()
    ]
    head = ["way", "processor s / M targets", "× stock", "targets a step", "MFLOP a target", "of matrix-product bound"]
    return [Grid("A training step of SASRec, every target of every sequence", head, rows)]


def goals(records: list[dict[str, Any]]) -> list[Goal]:
    """Compare the ways with stock RecBole."""
    found = []
    for record in records:
        seen = {way: of["cpu"]["median"] for way, of in record["ways"].items()}
        for way, bound in ((TRIMMED, 3.0), (PARALLEL, 10.0), (PARALLEL + HALF, 10.0)):
            found.append(
                Goal(SECTION, f"stock RecBole's time a target / {way}", seen[STOCK] / seen[way], bound, True, "×")
            )
    return found
