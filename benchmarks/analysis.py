"""Measure the cost of the training-free figures, of a grid of 1,000 points, and of KL at scale."""

from __future__ import annotations

import itertools
import os
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import timing
from benchmarks.goals import Goal
from benchmarks.jobs import Job
from benchmarks.report import Grid, goals_grid
from benchmarks.sizes import Shape
from genpas_plugins import SamplingPolicy, SequenceStore
from genpas_plugins.analysis.alignment import alignment_discrimination, alignment_discriminations
from genpas_plugins.analysis.divergence import kl_divergence
from genpas_plugins.analysis.target_distribution import last_target_distribution, target_distribution

BACKENDS = ("numpy", "numba")
POLICIES = {
    "last_target": SamplingPolicy.named("last_target"),
    "multi_target": SamplingPolicy.named("multi_target"),
    "2,1,0": SamplingPolicy(2, 1, 0),
}
DATA_SETS = ("beauty", "ml-1m")
KL_MS = {"beauty": 3.0, "ml-1m": 20.0}
ALPHAS = BETAS = GAMMAS = tuple(np.linspace(-1, 3.5, 10).tolist())
"""A grid of 1,000 points."""
SHAPES = tuple(Shape(n // 100, 100_000, n) for n in (1_000_000, 10_000_000, 100_000_000))
"""One catalogue for all: the sums of a larger one leave the cache, which costs more than interactions do."""
QUICK_SHAPES = (Shape(100, 300, 10_000), Shape(1000, 300, 100_000))


def jobs(shapes: Sequence[Shape], repeats: int, folder: Path, data_dir: Path | None) -> Iterator[Job]:
    """Yield the jobs: figures of the available real data sets, then KL on synthetic stores."""
    names = [name for name in DATA_SETS if data_dir and (data_dir / name / "interactions.parquet").is_file()]
    for name in names:
        arguments: dict[str, Any] = {
            "path": folder / name,
            "source": data_dir and data_dir / name / "interactions.parquet",
        }
        yield Job("data", {"make": name}, "sampler", "read_store", arguments, recorded=False)
    for name, backend in itertools.product(names, BACKENDS):
        arguments = {"path": folder / name, "backend": backend, "repeats": repeats}
        yield Job("figures", {"store": name, "backend": backend}, "analysis", "figures", arguments)
    for name, backend in itertools.product(names[:1], BACKENDS):
        arguments = {"path": folder / name, "backend": backend}
        yield Job("grid", {"store": name, "backend": backend}, "analysis", "grid", arguments)
    for shape in shapes:
        path = folder / f"synthetic-{shape.interactions}"
        made: dict[str, Any] = {"path": path, "shape": shape}
        yield Job("data", {"make": str(shape)}, "sampler", "make_store", made, recorded=False)
        for backend, threads in itertools.product(BACKENDS, (1, 2)):
            label = {"interactions": shape.interactions, "backend": backend, "threads": threads}
            arguments = {"path": path, "backend": backend, "threads": threads, "repeats": min(repeats, 3)}
            yield Job("scale", label, "analysis", "scale", arguments)


def figures(path: str, backend: str, repeats: int) -> dict[str, Any]:
    """Return seconds of one KL and of one alignment and discrimination. Only the store is reused.

    kl, alignment : {policy: spread}; first_kl_s : the first of the process, with imports and compiled code's loading
    """
    _choose(backend)
    split = SequenceStore.open(path).leave_last_out()
    observed = last_target_distribution(split.test)

    def kl(policy: SamplingPolicy) -> float:
        return kl_divergence(observed, target_distribution(split.train, policy))

    first = timing.seconds(lambda: kl(POLICIES["2,1,0"]))
    values: dict[str, Any] = {"first_kl_s": first, "kl": {}, "alignment": {}, "values": {}}
    for name, policy in POLICIES.items():
        align = alignment_discrimination(split.train, policy, split.test)
        values["values"][name] = {"kl": kl(policy), "ratio": align.ratio}
        values["kl"][name] = timing.spread(
            timing.seconds(lambda policy=policy: kl(policy))
            for _ in range(10 * repeats)  # type: ignore[misc]  # default
        )
        values["alignment"][name] = timing.spread(
            timing.seconds(lambda policy=policy: alignment_discrimination(split.train, policy, split.test))  # type: ignore[misc]  # default
            for _ in range(repeats)
        )
    return values


def grid(path: str, backend: str) -> dict[str, Any]:
    """Return seconds for KL and for A/D of all points of the grid. KL is computed once an (α, β)."""
    _choose(backend)
    split = SequenceStore.open(path).leave_last_out()
    points = [SamplingPolicy(*point) for point in itertools.product(ALPHAS, BETAS, GAMMAS)]
    observed = last_target_distribution(split.validation)

    def divergences() -> None:
        for alpha, beta in itertools.product(ALPHAS, BETAS):
            kl_divergence(observed, target_distribution(split.train, SamplingPolicy(alpha, beta, 0)))

    return {
        "points": len(points),
        "kl_s": timing.seconds(divergences),
        "alignment_s": timing.seconds(lambda: alignment_discriminations(split.train, points, split.validation)),
    }


def scale(path: str, backend: str, threads: int, repeats: int) -> dict[str, Any]:
    """Return seconds and peak memory of one KL on a large store, without the store's own memory."""
    _choose(backend)
    folder = Path(path)
    store = SequenceStore.open(folder)
    split = store.leave_last_out()
    observed = last_target_distribution(split.test)
    policy = SamplingPolicy(1, 0.5, 0)

    def kl() -> None:
        kl_divergence(observed, target_distribution(split.train, policy, threads=threads))

    kl()
    seen = timing.spread(timing.seconds(kl) for _ in range(repeats))
    tracemalloc.start()  # numpy reports its arrays to it; compiled code allocates none
    kl()
    _, peak = tracemalloc.get_traced_memory()
    return {"kl_s": seen, "items": store.n_items, "peak_bytes": peak}


def goals(sections: dict[str, list[dict[str, Any]]]) -> list[Goal]:
    """Compare the slowest policy of each figure with its bound."""
    found = []
    for record in sections.get("figures", []):
        who = f"{record['store']}, {record['backend']}"
        kl = max(of["median"] for of in record["kl"].values()) * 1e3
        found.append(Goal("figures", f"{who}: one KL", kl, KL_MS[record["store"]], False, "ms"))
        if record["store"] == "beauty":
            align = max(of["median"] for of in record["alignment"].values())
            found.append(Goal("figures", f"{who}: one exact A/D", align, 2, False, "s"))
    for record in sections.get("grid", []):
        who = f"{record['store']}, {record['backend']}: grid of {record['points']:,} points"
        found.append(Goal("grid", who, record["kl_s"] + record["alignment_s"], 60, False, "s"))
    for (backend, threads), of in _by_way(sections.get("scale", [])).items():
        per = [record["kl_s"]["median"] / record["interactions"] for record in of]
        growth = per[-1] / per[0]
        what = f"{backend}, {threads} threads: cost an interaction, largest store / smallest"
        found.append(Goal("scale", what, growth, 2, False, "×"))
    return found


def tables(sections: dict[str, list[dict[str, Any]]], goals: Sequence[Goal]) -> list[Grid]:
    """Return the tables, the goals last."""
    policies = list(POLICIES)
    figures_rows = [
        [
            record["store"],
            record["backend"],
            name,
            timing.text(record["kl"][name], 2, 1e-3),
            timing.text(record["alignment"][name], 3),
            f"{record['values'][name]['kl']:.3f}",
            f"{record['values'][name]['ratio']:.2f}",
        ]
        for record in sections.get("figures", [])
        for name in policies
    ]
    grid_rows = [
        [
            record["store"],
            record["backend"],
            f"{record['points']:,}",
            f"{record['kl_s']:.2f}",
            f"{record['alignment_s']:.2f}",
        ]
        for record in sections.get("grid", [])
    ]
    scale_rows = [
        [
            f"{record['interactions']:,}",
            f"{record['items']:,}",
            record["backend"],
            str(record["threads"]),
            timing.text(record["kl_s"], 4),
            f"{record['kl_s']['median'] / record['interactions'] * 1e9:.2f}",
            f"{record['peak_bytes'] / 1e6:.0f}",
        ]
        for record in sections.get("scale", [])
    ]
    head = ["store", "backend", "policy", "KL ms", "A/D s", "KL to test", "A/D"]
    found = [
        Grid("One KL, and one exact alignment and discrimination, against test", head, figures_rows),
        Grid(
            "A grid: KL and A/D of every point, against validation",
            ["store", "backend", "points", "KL s", "A/D s"],
            grid_rows,
        ),
        Grid(
            "KL on synthetic stores",
            ["interactions", "items", "backend", "threads", "KL s", "ns an interaction", "peak MB beside the store"],
            scale_rows,
        ),
    ]
    return [*(grid for grid in found if grid.rows), goals_grid(goals)]


def _by_way(records: Sequence[dict[str, Any]]) -> dict[tuple[str, int], list[dict[str, Any]]]:
    ways: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for record in records:
        ways.setdefault((record["backend"], record["threads"]), []).append(record)
    return ways


def _choose(backend: str) -> None:
    """Use one backend for everything in this process."""
    os.environ["GENPAS_BACKEND"] = backend
