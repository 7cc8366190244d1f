"""Measure what a target's loss costs as the catalogue grows: all scores at once, in blocks, and against a sample."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.jobs import Job
from benchmarks.report import Grid
from benchmarks.timing import spread, text

SECTION = "catalogue"
FULL, BLOCKS, SAMPLED = "all scores, torch's cross_entropy", "in blocks, catalogue_loss", "sampled softmax"
DIMENSION, NEGATIVES = 64, 2048
SCORES = 2**27
"""Scores of a step, so that all of them are 512 MB; at most 2,048 targets."""


def jobs(quick: bool) -> Iterator[Job]:
    """Yield a job for each size and number of threads."""
    for items, threads in itertools.product((100,) if quick else (10**4, 10**5, 10**6), (1, 2)):
        arguments = {"items": items, "threads": threads, "repeats": 1 if quick else 3}
        yield Job(SECTION, {"items": items, "threads": threads}, "catalogue_size", "measure", arguments)


def measure(items: int, threads: int, repeats: int) -> dict[str, Any]:
    """Compute each loss and its gradients in turn.

    targets : of a step
    rates : {loss: spread of targets a second}
    """
    import torch

    from genpas_plugins.neural.layers.catalogue_loss import weighted_catalogue_loss
    from genpas_plugins.neural.layers.sampled_losses import sampled_softmax_loss

    torch.set_num_threads(threads)
    torch.manual_seed(1)
    count = min(2048, SCORES // items)
    hidden = torch.randn(count, DIMENSION).requires_grad_()
    table = torch.randn(items, DIMENSION).mul_(0.1).requires_grad_()
    targets, weights = torch.randint(items, (count,)), torch.full((count,), 1 / count)
    log_q = torch.full((NEGATIVES,), 1 / items).log()

    def sampled() -> Any:
        negatives = torch.randint(items, (NEGATIVES,))
        rows = table[targets], table[negatives]
        return sampled_softmax_loss(hidden, *rows, targets=targets, negatives=negatives, log_q=log_q).mean()

    losses: dict[str, Callable[[], Any]] = {
        FULL: lambda: torch.nn.functional.cross_entropy(hidden @ table.T, targets),
        BLOCKS: lambda: weighted_catalogue_loss(hidden, table, targets, weights),
        SAMPLED: sampled,
    }
    seen: dict[str, list[float]] = {name: [] for name in losses}
    for repeat, (name, loss) in itertools.product(range(repeats + 1), losses.items()):
        hidden.grad = table.grad = None
        begin = time.process_time()
        loss().backward()
        if repeat:
            # Waiting threads sleep: the processor time of all, shared out, is the time on a quiet machine.
            seen[name].append(count * threads / (time.process_time() - begin))
    return {"targets": count, "rates": {name: spread(values) for name, values in seen.items()}}


def tables(records: list[dict[str, Any]]) -> list[Grid]:
    """Return the table of the sizes."""
    rows = [
        [f"{record['items']:,}", str(record["threads"]), f"{record['targets']:,}"]
        + [text(record["rates"][name], 0) for name in (FULL, BLOCKS, SAMPLED)]
        for record in records
    ]
    head = ["items", "threads", "targets a step", FULL, BLOCKS, f"{SAMPLED}, {NEGATIVES:,} negatives"]
    title = "Targets a second by the size of the catalogue: the loss and its gradients alone"
    return [Grid(title, head, rows)] if rows else []
