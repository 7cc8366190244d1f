"""Repeat measurements and report their median and spread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

Name = TypeVar("Name")

Spread = dict[str, float]
"""{"median": …, "min": …, "max": …}"""


def spread(values: Iterable[float]) -> Spread:
    """Return median, minimum and maximum."""
    seen = list(values)
    return {"median": statistics.median(seen), "min": min(seen), "max": max(seen)}


def seconds(function: Callable[[], object]) -> float:
    """Return how long one call takes."""
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def rates(stages: Mapping[Name, Callable[[], int]], repeats: int) -> dict[Name, Spread]:
    """Call every stage once to warm up and then `repeats` times. A call returns the number of things done.

    Stages take turns, so that whatever disturbs the machine disturbs all of them. Returns things per second.
    """
    seen: dict[Name, list[float]] = {name: [] for name in stages}
    for repeat in range(repeats + 1):
        for name, stage in stages.items():
            begin = time.perf_counter()
            count = stage()
            elapsed = time.perf_counter() - begin
            if repeat:
                seen[name].append(count / elapsed)
    return {name: spread(values) for name, values in seen.items()}


def inverse(of: Spread) -> Spread:
    """Turn a spread of things a second into a spread of seconds a thing."""
    return {"median": 1 / of["median"], "min": 1 / of["max"], "max": 1 / of["min"]}


def text(of: Spread, digits: int, unit: float = 1.0) -> str:
    """Show a spread in units of `unit`: "12.3 (11.9-13.0)". One value alone has no range."""
    median, low, high = (f"{of[key] / unit:,.{digits}f}" for key in ("median", "min", "max"))
    return median if of["min"] == of["max"] else f"{median} ({low}–{high})"
