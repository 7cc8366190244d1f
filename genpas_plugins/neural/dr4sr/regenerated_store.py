"""The regenerated data set: original sequences, patterns and regenerated sequences in one store.

The originals keep their rows and come first: a user's row is the same in both stores. Patterns and regenerated
sequences only train. See `SequenceStore.kinds` and `SequenceStore.owners`. A pattern has no owner.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genpas_plugins.data.lengths import bounds
from genpas_plugins.data.sequences import KIND, OWNER, SequenceStore
from genpas_plugins.neural.dr4sr.inference import Regenerated
from genpas_plugins.neural.dr4sr.mining import Patterns
from genpas_plugins.support.array_types import AnyArray, Int64
from genpas_plugins.support.errors import InputError

ORIGINS = ("original", "pattern", "regenerated")  # names of the values of `SequenceStore.kinds`


def regenerated_store(store: SequenceStore, patterns: Patterns, made: Regenerated) -> SequenceStore:
    """Return `store` plus the patterns, the regenerated sequences and two new columns.

    Equal patterns of one sequence are kept once. Added sequences have 0 or empty text in other columns. Their new
    ids are texts such as "pattern:0" and "regenerated:17:2" (row 17, memory 2) or the next whole numbers.

    Raises InputError if the store is regenerated already.
    """
    for name in (KIND, OWNER):
        if name in store.columns:
            raise InputError(
                f"The store has a column {name!r} already, so it is regenerated. Start from the original store."
            )
    row, memory = _distinct(made.patterns)
    written = made.patterns[row, memory]
    lengths = [store.lengths(), np.diff(patterns.offsets), (written > 0).sum(1)]
    values = np.concatenate([store.values, patterns.values, written[written > 0]])
    counts = [len(part) for part in lengths]
    per_sequence = {
        KIND: np.repeat(np.arange(len(ORIGINS), dtype=np.int8), counts),
        OWNER: np.concatenate([np.arange(counts[0]), np.full(counts[1], -1), made.sequence[row]]),
    }
    length = np.concatenate(lengths)
    columns: dict[str, AnyArray] = {
        name: np.concatenate([column, np.zeros((len(values) - len(column), *column.shape[1:]), column.dtype)])
        for name, column in store.columns.items()
    }
    columns |= {name: np.repeat(column, length) for name, column in per_sequence.items()}
    return SequenceStore.from_arrays(
        values,
        bounds(length),
        n_items=store.n_items,
        user_ids=_user_ids(store.user_ids, patterns.n, made.sequence[row], memory),
        item_ids=store.item_ids,
        columns=columns,
    )


def _distinct(written: Int64) -> tuple[Int64, Int64]:
    """Return row and memory of every pattern that no earlier memory of its row wrote; both int64."""
    n, memories, width = written.shape
    earlier = np.zeros((n, memories), np.bool_)
    for k in range(1, memories):
        earlier[:, k] = (written[:, :k] == written[:, k, None]).all(axis=-1).any(axis=1)
    row, memory = np.nonzero(~earlier & (written > 0).any(axis=-1)) if width else np.nonzero(earlier)
    return row, memory


def _user_ids(ids: pa.Array | None, n_patterns: int, source: Int64, memory: Int64) -> pa.Array | None:
    """Return different ids for all sequences; None if the row number is the id."""
    if ids is None:
        return None
    if pa.types.is_integer(ids.type):
        n_added = n_patterns + len(source)
        highest = pc.max(ids).as_py() or 0
        known = pa.array(ids.to_numpy(zero_copy_only=False).astype(np.int64) if len(ids) else np.empty(0, np.int64))
        return pa.concat_arrays([known, pa.array(highest + 1 + np.arange(n_added))])
    text = ids.cast(pa.string())
    mark = ""
    while pc.any(pc.match_substring_regex(text, f"^{mark}(pattern|regenerated):")).as_py():
        mark += "_"
    added = [f"{mark}pattern:{number}" for number in range(n_patterns)]
    added += [f"{mark}regenerated:{row}:{k}" for row, k in zip(source.tolist(), memory.tolist(), strict=True)]
    return pa.concat_arrays([text, pa.array(added, pa.string())])
