"""Make data for measurements. Equal arguments give equal data.

Lengths   every user has 20 interactions and a log-normal share of the rest (σ = 1.3), as in MovieLens-20M, whose users
          have 20 to 9,254 interactions, 144 in the mean and 68 in the median
Items     item k has rank k in popularity, P(item ≤ k) = (k / n)^⅓: the first tenth of the items has 46 % of the
          interactions; consecutive interactions are independent
Times     whole seconds, a user's gaps log-normal around five minutes, first interactions spread over ten years
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.sizes import Shape
from genpas_plugins import SequenceStore
from genpas_plugins.support.array_types import AnyArray, Int32, Int64

SEED = 20_240_917
MINIMUM = 20
SIGMA = 1.3
_CHUNK = 1 << 22
_TEN_YEARS = 315_360_000
_YEAR_2000 = 946_684_800


def sequence_lengths(n_sequences: int, n_interactions: int) -> Int64:
    """Return log-normal lengths of at least 20 that sum to `n_interactions`, int64 [n_sequences]."""
    weights = np.random.default_rng(SEED).lognormal(sigma=SIGMA, size=n_sequences)
    shares = np.cumsum(weights) / weights.sum() * (n_interactions - MINIMUM * n_sequences)
    # Rounding the running sum, not the shares, keeps the total.
    lengths: Int64 = MINIMUM + np.diff(np.rint(shares).astype(np.int64), prepend=0)
    return lengths


def item_numbers(n_items: int, n_interactions: int) -> Iterator[Int32]:
    """Yield `n_interactions` item numbers from 1 to n_items, int32, in chunks of 4 Mi."""
    generator = np.random.default_rng(SEED + 1)
    for first in range(0, n_interactions, _CHUNK):
        u = generator.random(min(_CHUNK, n_interactions - first))
        yield (u**3 * n_items).astype(np.int32) + np.int32(1)


def write_store(path: Path, shape: Shape) -> SequenceStore:
    """Make a store of this shape in `path`, in chunks, through a scratch file beside it."""
    scratch = path.with_name(f"{path.name}.scratch")
    scratch.mkdir(parents=True)
    try:
        values = np.lib.format.open_memmap(
            scratch / "values.npy", mode="w+", dtype=np.int32, shape=(shape.interactions,)
        )
        first = 0
        for chunk in item_numbers(shape.items, shape.interactions):
            values[first : first + len(chunk)] = chunk
            first += len(chunk)
        lengths = sequence_lengths(shape.users, shape.interactions)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        SequenceStore.from_arrays(values, offsets, n_items=shape.items).save(path)
    finally:
        shutil.rmtree(scratch)
    return SequenceStore.open(path)


def write_inter(folder: Path, name: str, shape: Shape) -> None:
    """Write RecBole's atomic file `folder`/`name`/`name`.inter, whose rows are in no order."""
    import polars as pl

    lengths = sequence_lengths(shape.users, shape.interactions)
    generator = np.random.default_rng(SEED + 2)
    gaps = generator.lognormal(mean=np.log(300), sigma=1.0, size=shape.interactions).astype(np.int64) + 1
    elapsed = np.cumsum(gaps)
    began = np.repeat(elapsed[np.cumsum(lengths) - lengths], lengths)
    first_times = _YEAR_2000 + generator.integers(_TEN_YEARS, size=shape.users)
    columns: dict[str, AnyArray] = {
        "user_id:token": np.repeat(np.arange(1, shape.users + 1), lengths),
        "item_id:token": np.concatenate(list(item_numbers(shape.items, shape.interactions))),
        "timestamp:float": np.repeat(first_times, lengths) + elapsed - began,
    }
    order = generator.permutation(shape.interactions)
    (folder / name).mkdir(parents=True)
    frame = pl.DataFrame({column: values[order] for column, values in columns.items()})
    frame.write_csv(folder / name / f"{name}.inter", separator="\t")
