"""Measure the augmentations: pairs a second, drawn, changed and padded, beside the plain stream's.

    python -m benchmarks.bench_augment --data-dir DIR       on DIR/beauty/interactions.parquet
    python -m benchmarks.bench_augment                      on a synthetic store

Prints a table; the goal is at most twice the plain stream's time. Time is the processor's, one thread, batches of
4096, histories of at most 50 items.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.sampler import BATCH, MAX_LENGTH
from benchmarks.session import DataDir
from genpas_plugins import PairStream, SamplingPolicy, SequenceStore, gather_padded, pair_stream
from genpas_plugins.augment import OPERATORS, AugmentedStream, augmented
from genpas_plugins.backend import BACKENDS


def main(
    data_dir: DataDir = None,
    rate: Annotated[float, typer.Option(help="Of every operator.")] = 0.3,
    batches: Annotated[int, typer.Option(help="In one repeat.")] = 30,
    repeats: Annotated[int, typer.Option(help="Of which the median counts.")] = 7,
) -> None:
    """Measure every operator with both backends."""
    print("| backend | operator | probability | M pairs/s | times the plain stream's time |\n|---|---|---|---|---|")
    with TemporaryDirectory() as folder:
        store = _store(Path(folder) / "store", data_dir)
        for backend in BACKENDS:
            seconds = measure(store, backend, rate, batches, repeats)
            plain = seconds["plain", 1.0]
            for (name, probability), own in seconds.items():
                rate_of = batches * BATCH / own / 1e6
                print(f"| {backend} | {name} | {probability} | {rate_of:.2f} | {own / plain:.2f} |")


def measure(
    store: SequenceStore, backend: str, rate: float, batches: int, repeats: int
) -> dict[tuple[str, float], float]:
    """Return the seconds of `batches` batches for the plain stream, which is first, and every operator."""
    view = store.leave_last_out().train
    stream = pair_stream(view, SamplingPolicy.named("multi_target"), seed=7, backend=backend)
    loops = {("plain", 1.0): lambda step: _plain(store, stream, step)}
    for name, operator in OPERATORS.items():
        for probability in (1.0, 0.5):
            changed = augmented(stream, [operator(rate, probability)])
            assert isinstance(changed, AugmentedStream)
            loops[name, probability] = lambda step, changed=changed: _augmented(store, changed, step)
    seen: dict[tuple[str, float], list[float]] = {key: [] for key in loops}
    for repeat in range(repeats + 1):
        for key, loop in loops.items():
            begin = time.process_time()
            for number in range(batches):
                loop(number)
            if repeat:
                seen[key].append(time.process_time() - begin)
    return {key: statistics.median(values) for key, values in seen.items()}


def _indices(stream: PairStream, step: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.arange(step * BATCH, (step + 1) * BATCH) % stream.pairs_per_epoch


def _plain(store: SequenceStore, stream: PairStream, step: int) -> None:
    pairs = stream.pairs(0, _indices(stream, step))
    gather_padded(store.values, store.offsets, pairs, MAX_LENGTH, backend=stream.backend)


def _augmented(store: SequenceStore, stream: AugmentedStream, step: int) -> None:
    index = _indices(stream, step)
    pairs = stream.pairs(0, index)
    histories = stream.histories(0, index, pairs, MAX_LENGTH)
    store.values[store.offsets[pairs.sequence] + pairs.target]
    histories.padded(histories.items, MAX_LENGTH, stream.backend)


def _store(path: Path, data_dir: Path | None) -> SequenceStore:
    if data_dir is not None:
        from genpas_plugins.readers import build_store

        build_store(
            data_dir / "beauty" / "interactions.parquet", path, user="user_id", item="item_id", order="position"
        )
        return SequenceStore.open(path)
    rng = np.random.default_rng(7)
    lengths = 5 + rng.geometric(0.25, 20_000)
    return SequenceStore.from_arrays(rng.integers(1, 10_000, lengths.sum()), np.cumsum([0, *lengths]))


if __name__ == "__main__":
    typer.run(main)
