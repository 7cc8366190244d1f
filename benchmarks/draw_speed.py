"""Measure draws of addresses in two trees in turn, in processor time: pairs and windows of ten policies, by backend.

Every construction is measured too, beside one policy of the power family in the same process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.environment import ROOT
from benchmarks.goals import Goal
from benchmarks.jobs import Job
from benchmarks.report import Grid, goals_grid
from genpas_plugins.sampling.constructions import CONSTRUCTIONS, construction_of

SECTION, BESIDE_POWERS = "draw_speed", "constructions"
BACKENDS, UNITS = ("numpy", "numba", "torch"), ("pairs", "windows")
POLICIES = (
    *("last_target", "multi_target", "slide_window", "1,0,-inf", "1,0,0", "1,0,1"),
    *("0.5,0.5,2", "2,1,0", "0,1,-1", "0,inf,-inf"),
)
_POWERS = "0.5,0.5,2"
_LIMIT, _LIMIT_OF_CONSTRUCTIONS = 1.2, 1.5


def jobs(store: Path, baseline: Path, backends: Sequence[str], repeats: int) -> Iterator[Job]:
    """Yield the jobs of each backend."""
    for backend in backends:
        if backend != "torch":
            arguments = {"store": store, "backend": backend, "repeats": repeats}
            yield Job(BESIDE_POWERS, {"backend": backend}, "draw_speed", "measure_constructions", arguments)
        arguments = {"store": store, "baseline": baseline, "backend": backend, "repeats": repeats}
        yield Job(SECTION, {"backend": backend}, "draw_speed", "measure", arguments)


def measure(store: str, baseline: str, backend: str, repeats: int) -> dict[str, Any]:
    """Ask a process of each tree in turn.

    rates : [{"policy", "unit", "now", "before"}], targets a second of processor time, the median of `repeats` turns;
        None: the baseline has no such draw
    ratio : in each, the median of before / now within a turn
    """
    trees, rates = {"now": ROOT, "before": Path(baseline).resolve()}, []
    with ExitStack() as stack:
        workers = {name: stack.enter_context(_worker(tree, store, backend)) for name, tree in trees.items()}
        for policy in POLICIES:
            for unit in UNITS:
                turns: list[dict[str, float | None]] = []
                for _ in range(repeats):
                    turns.append({name: _rate(worker, unit, policy) for name, worker in workers.items()})
                rates.append({"policy": policy, "unit": unit, **_medians(turns)})
    return {"rates": rates}


def measure_constructions(store: str, backend: str, repeats: int) -> dict[str, Any]:
    """Draw each construction and then the power family, in turn.

    A window costs an address and the weights of its targets. Its ratio is the lower one, by window or by target.

    times : [{"construction", "unit", "ns", "powers", "ratio"}], processor time of a target, the medians
    """
    times = []
    with _worker(ROOT, store, backend) as worker:
        for name in sorted(CONSTRUCTIONS):
            ahead = construction_of(name).ahead
            for unit in ("pairs", "batches", *(() if ahead else ("windows",))):
                turns = [[_ask(worker, unit, policy) for policy in (name, _POWERS)] for _ in range(repeats)]
                of, powers = (median(turn[i][0] / turn[i][1] for turn in turns) * 1e9 for i in (0, 1))
                per = [median(a[0] / a[i] / (b[0] / b[i]) for a, b in turns) for i in (1, 2)]
                times.append({"construction": name, "unit": unit, "ns": of, "powers": powers, "ratio": min(per)})
    return {"times": times}


def _worker(tree: Path, store: str, backend: str) -> subprocess.Popen[str]:
    script = ROOT / "benchmarks" / "draw_worker.py"
    return subprocess.Popen(
        [sys.executable, "-P", "-W", "ignore", str(script), store, backend],
        env={**os.environ, "PYTHONPATH": str(tree)},
        cwd=tree,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _ask(worker: subprocess.Popen[str], unit: str, policy: str) -> Any:
    assert worker.stdin is not None and worker.stdout is not None
    print(unit, policy, file=worker.stdin, flush=True)
    return json.loads(worker.stdout.readline())


def _rate(worker: subprocess.Popen[str], unit: str, policy: str) -> float | None:
    answer = _ask(worker, unit, policy)
    return None if answer is None else answer[1] / answer[0]


def _medians(turns: Sequence[dict[str, float | None]]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for name in turns[0]:
        seen = [rate for turn in turns if (rate := turn[name]) is not None]
        found[name] = median(seen) if seen else None
    ratios = [turn["before"] / turn["now"] for turn in turns if turn["before"] and turn["now"]]
    return {**found, "ratio": median(ratios) if ratios else None}


def goals(sections: dict[str, list[dict[str, Any]]]) -> list[Goal]:
    """Compare the time of a target with the baseline's, and the time of a construction with the power family's."""
    beside_baseline = [
        Goal(SECTION, f"{record['backend']}, {of['policy']}, {of['unit']}", of["ratio"], _LIMIT, False, "×")
        for record in sections.get(SECTION, [])
        for of in record["rates"]
        if of["ratio"] is not None
    ]
    beside_powers = [
        Goal(
            *(BESIDE_POWERS, f"{record['backend']}, {of['construction']}, {of['unit']}"),
            *(of["ratio"], _LIMIT_OF_CONSTRUCTIONS, False, "×"),
        )
        for record in sections.get(BESIDE_POWERS, [])
        for of in record["times"]
    ]
    return beside_baseline + beside_powers


def tables(sections: dict[str, list[dict[str, Any]]], goals: Sequence[Goal]) -> list[Grid]:
    """Return a table for each backend and the table of the goals."""

    def text(value: float | None, unit: float = 1e6) -> str:
        return "–" if value is None else f"{value / unit:.2f}"

    grids = []
    for record in sections.get(SECTION, []):
        rows = [
            [of["policy"], of["unit"], text(of["now"]), text(of["before"]), text(of["ratio"], 1)]
            for of in record["rates"]
        ]
        head = ["policy", "unit", "M targets/s", "of the baseline", "time × baseline's"]
        grids.append(Grid(f"Addresses drawn with {record['backend']}, a second of processor time", head, rows))
    for record in sections.get(BESIDE_POWERS, []):
        rows = [
            [of["construction"], of["unit"], text(of["ns"], 1), text(of["powers"], 1), text(of["ratio"], 1)]
            for of in record["times"]
        ]
        head = ["construction", "unit", "ns a target", f"({_POWERS})", "time × the power family's"]
        grids.append(Grid(f"Constructions with {record['backend']}, in processor time", head, rows))
    return [*grids, goals_grid(list(goals))]
