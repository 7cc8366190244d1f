"""Flip one bit of one file of a store or of semantic IDs, and use the folder in every way.

A trial fails if the process dies, or if an error is not an `InputError`. Run it with
`python -m benchmarks.faults.bit_flips [TRIALS] [SEED]`.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from genpas_plugins import InputError, SamplingPolicy, SequenceStore, pair_stream
from genpas_plugins.analysis.measures import analyze
from genpas_plugins.augment.neighbours import nearest_items
from genpas_plugins.data.recbole_files import export_recbole
from genpas_plugins.data.store_summary import summarize_store
from genpas_plugins.sampling.pairs_table import pair_tables
from genpas_plugins.sampling.stream import window_stream
from genpas_plugins.search.criteria import Criteria
from genpas_plugins.semantic_ids.codebook import SemanticIds

_LENGTH = 10
_POLICIES = [SamplingPolicy(0.5, 1, 0), SamplingPolicy.named("slide_window")]


def make_store(path: Path, seed: int = 0) -> None:
    """Save a small store with ids and columns."""
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(1, 30, 40))])
    n = int(offsets[-1])
    SequenceStore.from_arrays(
        rng.integers(1, 31, n),
        offsets,
        n_items=30,
        user_ids=[f"u{number}" for number in range(40)],
        item_ids=np.arange(30) + 100,
        columns={"timestamp": np.arange(n), "price": rng.random((n, 2))},
    ).save(path)


def make_semantic_ids(path: Path) -> None:
    """Save semantic IDs of 30 items."""
    codes = np.stack([np.arange(30) // 10, np.arange(30) % 10], axis=1)
    SemanticIds.of(codes, item_ids=[f"i{number}" for number in range(30)]).save(path)


def _stream(path: Path, backend: str) -> None:
    view = SequenceStore.open(path).leave_last_out().train
    for policy in _POLICIES:
        pairs = pair_stream(view, policy, seed=1, backend=backend)
        windows = window_stream(view, policy, max_length=_LENGTH, seed=1, backend=backend)
        for stream in (pairs, windows):
            batch = stream.batch(0, np.arange(stream.size), _LENGTH)
            batch.histories.padded(_LENGTH)
            batch.histories.jagged()
            batch.histories.padded_column(view.store.columns["timestamp"], _LENGTH)


def _ids(path: Path) -> None:
    store = SequenceStore.open(path)
    assert store.user_ids is not None
    store.user_rows(store.user_ids)
    store.item_numbers(np.arange(30) + 100)


def _sample(path: Path) -> None:
    stream = pair_stream(SequenceStore.open(path).leave_last_out().train, _POLICIES[0], seed=1)
    for table in pair_tables(stream, epoch=0, first=0, count=stream.size):
        table.to_pylist()


def _criteria(path: Path) -> None:
    split = SequenceStore.open(path).leave_last_out()
    Criteria.of(split.train, split.validation).divergence(_POLICIES[0])


STORE_USES: dict[str, Callable[[Path], object]] = {
    "summary": summarize_store,
    "numpy stream": lambda path: _stream(path, "numpy"),
    "numba stream": lambda path: _stream(path, "numba"),
    "ids": _ids,
    "sample": _sample,
    "analyze": lambda path: analyze(SequenceStore.open(path).leave_last_out(), _POLICIES, threads=1),
    "search": _criteria,
    "neighbours": lambda path: nearest_items(SequenceStore.open(path).view()),
    "export": lambda path: export_recbole(SequenceStore.open(path), path.parent / "export", "data", overwrite=True),
}
ID_USES: dict[str, Callable[[Path], object]] = {"semantic IDs": SemanticIds.open}


def flip(file: Path, bit: int) -> None:
    """Invert one bit of a file."""
    content = bytearray(file.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)


def outcome_of(use: Callable[[Path], object], path: Path) -> str:
    """Use a folder in a child process; return "used", "refused", "crash" or "traceback"."""
    child = os.fork()
    if child == 0:
        code = 2
        try:
            use(path)
            code = 0
        except InputError as error:
            code = 1 if len(str(error).splitlines()) == 1 else 2
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return {0: "used", 1: "refused", 2: "traceback"}.get(os.waitstatus_to_exitcode(status), "crash")


def campaign(trials: int, seed: int, folder: Path) -> tuple[Counter[str], list[str]]:
    """Flip `trials` bits in every file; return how often each outcome came, and the failures."""
    make_store(folder / "whole")
    make_semantic_ids(folder / "ids")
    counts: Counter[str] = Counter()
    failures = []
    rng = np.random.default_rng(seed)
    for whole, uses in ((folder / "whole", STORE_USES), (folder / "ids", ID_USES)):
        for use in uses.values():
            use(whole)  # compiles the kernels before the processes fork
        for file in sorted(whole.iterdir()):
            for bit in rng.integers(8 * file.stat().st_size, size=trials).tolist():
                damaged = folder / "damaged"
                shutil.copytree(whole, damaged)
                flip(damaged / file.name, bit)
                for name, use in uses.items():
                    outcome = outcome_of(use, damaged)
                    counts[outcome] += 1
                    if outcome in ("crash", "traceback"):
                        failures.append(f"{file.name} bit {bit}: {outcome} in {name}")
                shutil.rmtree(damaged)
    return counts, failures


def main(arguments: list[str]) -> int:
    """Run the campaign and print its outcome."""
    trials, seed = map(int, [*arguments, *["40", "0"][len(arguments) :]])
    with tempfile.TemporaryDirectory() as folder:
        counts, failures = campaign(trials, seed, Path(folder))
    print(*failures, sep="\n")
    print(f"trials {sum(counts.values())}, survived {counts['used'] + counts['refused']}, failed {len(failures)}")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
