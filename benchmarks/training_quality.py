"""Measure the time until validation reaches a quality."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.goals import Goal
from benchmarks.jobs import Job
from benchmarks.report import Grid
from benchmarks.training_setup import HALF, PARALLEL, STOCK, TRIMMED, make

SECTION = "quality"
WAYS = (PARALLEL + HALF, TRIMMED + HALF, STOCK)


def jobs(folder: Path, network: dict[str, int], quality: float, epochs: int) -> Iterator[Job]:
    """Yield a job for each way."""
    for way in WAYS:
        arguments = {"folder": folder, "way": way, "network": network, "quality": quality, "epochs": epochs}
        yield Job(SECTION, {"way": way}, "training_quality", "measure", arguments)


def measure(folder: str, way: str, network: dict[str, int], quality: float, epochs: int) -> dict[str, Any]:
    """Train until validation NDCG@10 is `quality`, for `epochs` at most.

    curve : [[epoch from 1, processor seconds of training alone, NDCG@10]]
    """
    trainer, train, valid = make(folder, way, network)
    # What `Trainer.fit` tells the evaluation before it trains.
    trainer.eval_collector.data_collect(train)
    curve: list[list[float]] = []
    spent = 0.0
    for epoch in range(epochs):
        begin = time.process_time()
        trainer._train_epoch(train, epoch)
        spent += time.process_time() - begin
        score, _ = trainer._valid_epoch(valid)
        curve.append([epoch + 1, round(spent, 1), float(score)])
        if score >= quality:
            break
    return {"curve": curve, "quality": quality, "reached": curve[-1][2] >= quality}


def tables(records: list[dict[str, Any]]) -> list[Grid]:
    """Return the table of the ways."""
    rows = [
        [
            record["way"],
            f"{record['curve'][-1][0]:.0f}",
            f"{record['curve'][-1][1]:,.0f}" if record["reached"] else "not reached",
            f"{record['curve'][-1][2]:.4f}",
        ]
        for record in records
    ]
    goal = records[0]["quality"] if records else 0
    head = ["way", "epochs", "processor s of training", "validation NDCG@10"]
    return [Grid(f"Until validation NDCG@10 is {goal}", head, rows)]


def goals(records: list[dict[str, Any]]) -> list[Goal]:
    """Compare the time to equal quality with stock RecBole."""
    spent = {record["way"]: record["curve"][-1][1] for record in records if record["reached"]}
    if STOCK not in spent or WAYS[0] not in spent:
        return []
    what = f"stock RecBole's time to equal quality / {WAYS[0]}"
    return [Goal(SECTION, what, spent[STOCK] / spent[WAYS[0]], 5.0, True, "×")]
