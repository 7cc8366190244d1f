"""Measure the targets a second that TIGER trains on, and its decoding beside transformers' generate.

    python -m benchmarks.bench_tiger                     on random semantic IDs of Beauty's size
    python -m benchmarks.bench_tiger --data-dir DIR      on DIR/beauty: its sequences and semantic_ids_letter.json
    python -m benchmarks.bench_tiger --quick             a smoke test on toy sizes

A whole run writes benchmarks/results/tiger.json and tiger.md, a quick one outputs/benchmarks/.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import typer

from benchmarks import environment, tiger_decoding, tiger_targets
from benchmarks.goals import Goal
from benchmarks.report import Grid, goals_grid
from benchmarks.session import COMMITTED, DATA_DIR, SCRATCH, Benchmark, DataDir, Quick, Results, Scratch, Sections
from benchmarks.tiger_decoding import FULL, QUICK

BLOCKS = (
    "transformers' T5. In a study before, 2026-11-21, forward and backward pass, batch of 256, 80 tokens, one thread, "
    "they took 0.97 to 1.02 × the time of hand-written ones; not measured again here"
)


def main(quick: Quick = False, data_dir: DataDir = None, results: Results = None, scratch: Scratch = None) -> None:
    """Measure decoding and compare it with its goals."""
    sizes = QUICK if quick else FULL
    index = data_dir / "beauty" / "semantic_ids_letter.json" if data_dir is not None else None
    skipped = ["A CUDA device was not measured."]
    if index is None or not index.is_file():
        skipped.append(f"Random semantic IDs replace Beauty's: give its folder with --data-dir or ${DATA_DIR}.")
        index = None
    BENCHMARK.run(
        lambda _: chain(
            tiger_targets.jobs(tiger_targets.QUICK if quick else tiger_targets.FULL, index and index.parent, index),
            tiger_decoding.jobs(sizes, index),
        ),
        results or (SCRATCH if quick else COMMITTED),
        command=BENCHMARK.command(quick=quick, data_dir=index is not None),
        quick=quick,
        data={
            "semantic IDs": "LETTER's index of Beauty, three codes, and one against collisions"
            if index
            else f"random ones of {sizes.n_items:,} items, three codes of 256, and one against collisions",
            "network": f"random weights, float32, {sizes.network or 'TigerNetwork as it comes'}, histories of 2 to 20",
            "blocks": BLOCKS,
        },
        skipped=skipped,
        scratch=scratch,
    )


def tables(sections: Sections, goals: Sequence[Goal]) -> list[Grid]:
    """Return the tables of the measurements and the table of the goals."""
    grids = [*tiger_targets.tables(sections), *tiger_decoding.tables(sections)]
    return [*(grid for grid in grids if grid.rows), goals_grid(goals)]


# Its results say which version of the peer they are held against.
environment.DISTRIBUTIONS += () if "transformers" in environment.DISTRIBUTIONS else ("transformers",)

BENCHMARK = Benchmark(
    "tiger",
    "benchmarks.bench_tiger",
    "TIGER: what training and decoding cost",
    "1, or 2 where a table says so,",
    lambda sections: [*tiger_targets.goals(sections), *tiger_decoding.goals(sections)],
    tables,
)

if __name__ == "__main__":
    typer.run(main)
