"""Measure the pairs that the core draws and gathers a second, beside a memcpy of the same bytes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import timing
from benchmarks.goals import Goal
from benchmarks.jobs import Job
from benchmarks.sizes import Shape, Sizes
from genpas_plugins import Pairs, PairStream, SamplingPolicy, SequenceStore, gather_jagged, gather_padded, pair_stream
from genpas_plugins.support.array_types import AnyArray

SECTION = "sampler"
TITLE = "Core sampler: million pairs/s, batches of 4096, histories of at most 50 items"
BATCH = 4096
MAX_LENGTH = 50
BACKENDS = ("numpy", "numba")
POLICIES = {
    "sampled 1,0,0": SamplingPolicy(1, 0, 0),
    "multi_target": SamplingPolicy.named("multi_target"),
    "slide_window": SamplingPolicy.named("slide_window"),
}
GATHERS: dict[str, Callable[..., tuple[AnyArray, ...]]] = {
    "padded": gather_padded,
    "jagged": gather_jagged,
}
BEAUTY, ML_20M = "beauty", "ml-20m shape"
_FRESH = 16  # drawn batches that the gather alone goes round: enough to differ, few enough to stay in the cache


def jobs(sizes: Sizes, folder: Path, beauty: Path | None) -> Iterator[Job]:
    """Yield one job for each store and backend. `beauty` is the file of interactions or None."""
    stores = {ML_20M: folder / "ml-20m"}
    arguments: dict[str, Any] = {"path": stores[ML_20M], "shape": sizes.ml_20m}
    yield Job("data", {"make": "store of ML-20M's shape"}, "sampler", "make_store", arguments, recorded=False)
    if beauty is not None:
        stores = {BEAUTY: folder / "beauty", **stores}
        arguments = {"path": stores[BEAUTY], "source": beauty}
        yield Job("data", {"make": "store of Beauty"}, "sampler", "read_store", arguments, recorded=False)
    for (name, path), backend in itertools.product(stores.items(), BACKENDS):
        arguments = {
            "path": path,
            "backend": backend,
            "batches": sizes.sampler_batches,
            "repeats": sizes.sampler_repeats,
        }
        yield Job(SECTION, {"store": name, "backend": backend}, "sampler", "measure", arguments)


def make_store(path: str, shape: dict[str, int]) -> dict[str, Any]:
    """Make a synthetic store."""
    from benchmarks.synthetic import write_store

    write_store(Path(path), Shape(**shape))
    return {}


def read_store(path: str, source: str) -> dict[str, Any]:
    """Read the interactions of a real data set."""
    from genpas_plugins.data.prepare.build import build_store

    build_store(source, path, user="user_id", item="item_id", order="position")
    return {}


def measure(path: str, backend: str, batches: int, repeats: int) -> dict[str, Any]:
    """Return the pairs a second of every strategy and layout on the training view of a store.

    rates : [{"strategy", "layout", "draw", "gather", "both", "memcpy"}], spreads; "memcpy" copies the batch's bytes
    """
    store = SequenceStore.open(path)
    rates = []
    for strategy, policy in POLICIES.items():
        stream = pair_stream(store.leave_last_out().train, policy, seed=7, backend=backend)
        for layout in GATHERS:
            stages = Stages(store, stream, layout, batches)
            measured = timing.rates(stages.all(), repeats)
            rates.append({"strategy": strategy, "layout": layout, "batch_bytes": stages.batch_bytes, **measured})
    return {"interactions": store.n_interactions, "rates": rates}


class Stages:
    """The timed loops over `batches` batches for one store, stream and layout."""

    def __init__(self, store: SequenceStore, stream: PairStream, layout: str, batches: int) -> None:
        self.store = store
        self.stream = stream
        self.gather = GATHERS[layout]
        self.batches = batches
        self.steps = itertools.count()
        self.per_epoch = stream.pairs_per_epoch // BATCH
        self.drawn = [self.draw_batch() for _ in range(min(_FRESH, batches))]
        self.batch_bytes = sum(array.nbytes for array in self.gather_batch(self.drawn[0]))

    def all(self) -> dict[str, Callable[[], int]]:
        """Return the loops by name."""
        return {"draw": self.draw, "gather": self.gather_drawn, "both": self.both, "memcpy": self.memcpy}

    def draw_batch(self) -> Pairs:
        """Draw the next full batch, epoch after epoch, as in training."""
        epoch, step = divmod(next(self.steps), self.per_epoch)
        return self.stream.pairs(epoch, np.arange(step * BATCH, (step + 1) * BATCH))

    def gather_batch(self, pairs: Pairs) -> tuple[AnyArray, ...]:
        """Gather a drawn batch."""
        return self.gather(self.store.values, self.store.offsets, pairs, MAX_LENGTH, backend=self.stream.backend)

    def draw(self) -> int:
        """Draw only."""
        for _ in range(self.batches):
            self.draw_batch()
        return self.batches * BATCH

    def gather_drawn(self) -> int:
        """Gather only."""
        for number in range(self.batches):
            self.gather_batch(self.drawn[number % len(self.drawn)])
        return self.batches * BATCH

    def both(self) -> int:
        """Draw and gather."""
        for _ in range(self.batches):
            self.gather_batch(self.draw_batch())
        return self.batches * BATCH

    def memcpy(self) -> int:
        """Copy as many bytes as a batch has from one buffer to another."""
        source = np.ones(self.batch_bytes, np.uint8)
        goal = np.zeros_like(source)
        for _ in range(self.batches):
            np.copyto(goal, source)
        return self.batches * BATCH


def goals(records: Sequence[dict[str, Any]]) -> list[Goal]:
    """Compare numba with padded batches on Beauty with five million pairs a second."""
    what = "{}, {}: draw and gather, padded, numba"
    return [
        Goal(SECTION, what.format(BEAUTY, rate["strategy"]), rate["both"]["median"] / 1e6, 5, True, "M pairs/s")
        for record in records
        if record["store"] == BEAUTY and record["backend"] == "numba"
        for rate in record["rates"]
        if rate["layout"] == "padded"
    ]


def table(records: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows."""
    stages = ("both", "draw", "gather", "memcpy")
    rows = [
        [record["store"], rate["strategy"], rate["layout"], record["backend"]]
        + [timing.text(rate[stage], 2, 1e6) for stage in stages]
        for record in records
        for rate in record["rates"]
    ]
    head = ["store", "strategy", "layout", "backend", "draw + gather", "draw alone", "gather alone", "memcpy"]
    return head, rows
