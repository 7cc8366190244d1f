"""RecBole's data preparation, stock and with `genpas: {strategy: multi_target}`: seconds and memory.

`create_dataset` reads the file and numbers the ids with the same code for both. `data_preparation` splits the data,
builds the training pairs and makes the loaders. GenPAS replaces this step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import memory, recbole_setup, timing
from benchmarks.goals import Goal
from benchmarks.jobs import Job
from benchmarks.sizes import Sizes

SECTION = "preparation"
TITLE = "RecBole data preparation: seconds, and memory above imports"
KINDS: dict[str, dict[str, Any] | None] = {"stock": None, "genpas": {"strategy": "multi_target"}}


def jobs(sizes: Sizes, folder: Path) -> Iterator[Job]:
    """Yield the jobs: stock and ours in turn."""
    yield recbole_setup.data_job(sizes, folder)
    for repeat in range(sizes.preparation_repeats):
        for kind, section in KINDS.items():
            arguments = {"folder": folder / "recbole", "genpas": section}
            yield Job(SECTION, {"kind": kind, "repeat": repeat}, "preparation", "measure", arguments)


def measure(folder: str, genpas: dict[str, Any] | None) -> dict[str, Any]:
    """Prepare the data once and return seconds and bytes of both steps.

    added_bytes      : peak of both steps above what is resident after the imports
    preparation_added_bytes : peak of `data_preparation` above what is resident before it
    held_bytes       : resident afterwards above what is resident after the imports
    """
    from recbole.data import create_dataset, data_preparation

    config = recbole_setup.config(folder, genpas)
    memory.reset_peak()
    imported = memory.resident()
    created: list[Any] = []
    create_seconds = timing.seconds(lambda: created.append(create_dataset(config)))
    create_peak = memory.peak()
    memory.reset_peak()
    before = memory.resident()
    prepare_seconds = timing.seconds(lambda: created.append(data_preparation(config, created[0])))
    prepare_peak = memory.peak()
    return {
        "create_dataset_s": create_seconds,
        "data_preparation_s": prepare_seconds,
        "imports_bytes": imported,
        "added_bytes": max(create_peak, prepare_peak) - imported,
        "preparation_added_bytes": prepare_peak - before,
        "held_bytes": memory.resident() - imported,
        "training_pairs": created[1][0].sample_size,
    }


def _medians(records: Sequence[dict[str, Any]], kind: str) -> dict[str, timing.Spread]:
    own = [record for record in records if record["kind"] == kind]
    return {key: timing.spread(record[key] for record in own) for key in own[0] if key.endswith(("_s", "_bytes"))}


def goals(records: Sequence[dict[str, Any]]) -> list[Goal]:
    """Compare our medians with the medians of stock."""
    stock, ours = (_medians(records, kind) for kind in KINDS)

    def ratio(key: str) -> float:
        return stock[key]["median"] / ours[key]["median"]

    return [
        Goal(SECTION, "data_preparation, stock seconds / ours", ratio("data_preparation_s"), 10, True, "×"),
        Goal(SECTION, "peak memory above imports, ours / stock", 1 / ratio("added_bytes"), 1 / 3, False, "×"),
    ]


def table(records: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows."""
    head = ["", "create_dataset s", "data_preparation s", "peak MB added", "of it by data_preparation", "MB held after"]
    rows = []
    for kind in KINDS:
        of = _medians(records, kind)
        seconds = [timing.text(of[key], 2) for key in ("create_dataset_s", "data_preparation_s")]
        sizes = [timing.text(of[k], 0, 1e6) for k in ("added_bytes", "preparation_added_bytes", "held_bytes")]
        rows.append([kind, *seconds, *sizes])
    return head, rows
