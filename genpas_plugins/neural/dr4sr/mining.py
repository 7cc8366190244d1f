"""Ordered patterns that several training sequences share (DR4SR §3.2.1) and the sequences that hold them.

A pattern is two to five items in this order within five positions of a sequence. Gaps are allowed. Its frequency is
the number of distinct sequences that hold it. Mining is exact: each choice of later items in a window is one
shifted comparison of the item array with itself. A pattern of n items is counted only where its first n - 1 items
are frequent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np

from genpas_plugins.data.lengths import bounds
from genpas_plugins.data.sequences import SequenceView
from genpas_plugins.sampling.jagged import spans
from genpas_plugins.sampling.random_stream import check_seed, philox
from genpas_plugins.support.array_types import AnyArray, Bools, Int64
from genpas_plugins.support.errors import InputError, whole_number

Progress = Callable[[int, int], None]
Offsets = tuple[int, ...]

SPAN = 5
LONGEST = 5
_SHORTEST = 2
_ROWS = 1 << 23  # candidates that are sorted at once


@dataclass(frozen=True, eq=False)
class Patterns:
    """Mined patterns and where some of them occur."""

    values: Int64  # int64, pattern p is values[offsets[p] : offsets[p + 1]]; by length, then lexicographically
    offsets: Int64
    frequency: Int64  # int64 [n], the distinct sequences that hold each pattern
    sequence: Int64  # int64 [m], pairs of a sequence's row and a pattern in it, by row, then by pattern
    pattern: Int64

    @property
    def n(self) -> int:
        """Number of patterns."""
        return len(self.frequency)

    def by_length(self) -> dict[int, int]:
        """Return the number of patterns of each length."""
        lengths, counts = np.unique(np.diff(self.offsets), return_counts=True)
        return {int(length): int(count) for length, count in zip(lengths, counts, strict=True)}


class _Training(NamedTuple):
    """All training items and the row of each item's sequence (`int64 [n]` both), and the catalogue's size."""

    items: Int64
    sequence: Int64
    n_items: int


def mine_patterns(
    view: SequenceView,
    *,
    longest: int = LONGEST,  # most items of a pattern
    span: int = SPAN,  # positions that a pattern may cover, first and last included
    min_frequency: int = 2,  # distinct sequences that must hold a pattern
    per_sequence: int = 10,  # most patterns kept of a sequence, each choice equally likely
    seed: int = 0,
    rows: int = _ROWS,  # candidates sorted at once, which changes no result
    progress: Progress | None = None,
) -> Patterns:
    """Find every frequent pattern of a view and up to `per_sequence` of them in each sequence.

    Memory is one int64 a training item for each way to choose a pattern's positions (fifteen by default). Sorting
    `rows` candidates adds to it.
    """
    longest, span = whole_number("longest", longest, _SHORTEST), whole_number("span", span, _SHORTEST)
    whole_number("min_frequency", min_frequency, 1)
    whole_number("per_sequence", per_sequence, 1)
    whole_number("rows", rows, 1)
    check_seed(seed)
    items, sequence = training_items(view)
    n_items = view.store.n_items
    training = _Training(items, sequence, n_items)
    steps = min(longest, span) + 1
    tell = progress if progress is not None else lambda done, total: None
    found: list[tuple[Int64, Int64]] = []  # for each length, items [p, length] and frequency [p]
    numbers: dict[Offsets, Int64] = {(0,): items}  # for each choice of positions, the pattern that begins at a place
    ids_before, first_id = n_items + 1, 0
    places: dict[Offsets, Int64] = {}
    table = np.arange(n_items + 1)[:, None]  # "patterns" of one item, numbered by the item
    for length in range(_SHORTEST, min(longest, span) + 1):
        tell(length - _SHORTEST, steps)
        if ids_before > np.iinfo(np.int64).max // (n_items + 1):
            raise InputError(
                f"{ids_before:,} patterns over {n_items:,} items are more than 64 bits can number. Raise min_frequency."
            )
        choices = [(0, *rest) for rest in combinations(range(1, span), length - 1)]
        keys, frequency = _frequent(training, numbers, choices, min_frequency=min_frequency, rows=rows)
        prefix, last = np.divmod(keys, n_items + 1)
        table = np.column_stack([table[prefix], last])
        numbers = {offsets: _number(training, numbers, offsets, keys) for offsets in choices}
        places |= {offsets: np.where(ids >= 0, ids + first_id, -1) for offsets, ids in numbers.items()}
        found.append((table, frequency))
        first_id += len(keys)
        ids_before = len(keys)
    tell(steps - 2, steps)
    kept = list(_occurrences(sequence, places, first_id, per_sequence=per_sequence, seed=seed, rows=rows))
    tell(steps, steps)
    lengths = np.concatenate([np.full(len(table), table.shape[1]) for table, _ in found])
    return Patterns(
        values=np.concatenate([table.ravel() for table, _ in found]).astype(np.int64),
        offsets=bounds(lengths),
        frequency=np.concatenate([frequency for _, frequency in found]),
        sequence=np.concatenate([np.empty(0, np.int64), *(rows for rows, _ in kept)]),
        pattern=np.concatenate([np.empty(0, np.int64), *(patterns for _, patterns in kept)]),
    )


def training_items(view: SequenceView) -> tuple[Int64, Int64]:
    """Return the items of a view and the row of each item's sequence: `int64 [n]` both."""
    view.store.check_content()
    lengths = view.lengths()
    sequence = np.repeat(np.arange(len(lengths)), lengths)
    return view.store.values[spans(view.store.offsets[:-1], lengths)].astype(np.int64), sequence


def _candidates(training: _Training, numbers: dict[Offsets, Int64], offsets: Offsets) -> tuple[Int64, Int64]:
    """Return where patterns at these positions may begin and their keys: a frequent prefix and one more item."""
    items, sequence, n_items = training
    reach = offsets[-1]
    n = max(len(items) - reach, 0)
    prefix = numbers[offsets[:-1]]
    begin = np.flatnonzero((sequence[:n] == sequence[reach : reach + n]) & (prefix[:n] >= 0))
    return begin, prefix[begin] * (n_items + 1) + items[begin + reach]


def _frequent(
    training: _Training, numbers: dict[Offsets, Int64], choices: list[Offsets], *, min_frequency: int, rows: int
) -> tuple[Int64, Int64]:
    """Return the int64 keys that enough sequences hold and their frequencies. Keys rise."""
    items, sequence, n_items = training
    # Candidates with one key have the same first item, so ranges of first items can be counted one at a time.
    per_item = np.cumsum(np.bincount(items, minlength=n_items + 1)) * len(choices)
    n_parts = max(1, -(-int(per_item[-1]) // rows))
    bounds = np.searchsorted(per_item, np.arange(1, n_parts) * rows)
    part = np.searchsorted(bounds, items, side="left") if n_parts > 1 else np.zeros(len(items), np.int64)
    keys_of, frequencies = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for number in range(n_parts):
        pieces = []
        for offsets in choices:
            begin, keys = _candidates(training, numbers, offsets)
            mine = part[begin] == number if n_parts > 1 else slice(None)
            pieces.append((keys[mine], sequence[begin[mine]]))
        keys = np.concatenate([key for key, _ in pieces])
        rows_of = np.concatenate([row for _, row in pieces])
        order = np.lexsort((rows_of, keys))
        keys, rows_of = keys[order], rows_of[order]
        new_key = _changes(keys)
        distinct = new_key | _changes(rows_of)
        count = np.bincount(np.cumsum(new_key)[distinct] - 1, minlength=int(new_key.sum()))
        enough = count >= min_frequency
        keys_of.append(keys[new_key][enough])
        frequencies.append(count[enough].astype(np.int64))
    return np.concatenate(keys_of), np.concatenate(frequencies)


def _changes(values: Int64) -> Bools:
    changed = np.ones(len(values), np.bool_)
    changed[1:] = values[1:] != values[:-1]
    return changed


def _number(training: _Training, numbers: dict[Offsets, Int64], offsets: Offsets, keys: Int64) -> Int64:
    """Return for every place the frequent key at these positions from there, or -1."""
    result = np.full(len(training.items), -1, np.int64)
    if len(keys):
        begin, candidates = _candidates(training, numbers, offsets)
        at = np.minimum(np.searchsorted(keys, candidates), len(keys) - 1)
        result[begin] = np.where(keys[at] == candidates, at, -1)
    return result


def _occurrences(
    sequence: Int64, places: dict[Offsets, Int64], n_patterns: int, *, per_sequence: int, seed: int, rows: int
) -> Iterator[tuple[Int64, Int64]]:
    """Yield int64 pairs of sequence and pattern for some whole sequences at a time."""
    n = len(sequence)
    counted = 0
    first = 0
    size = max(1, rows // max(1, len(places)))
    while first < n:
        # The block ends where a sequence does.
        stop = n if first + size >= n else int(np.searchsorted(sequence, sequence[first + size - 1], side="right"))
        held = [(sequence[first:stop][ids[first:stop] >= 0], ids[first:stop]) for ids in places.values()]
        pairs = np.concatenate([row * n_patterns + ids[ids >= 0] for row, ids in held] or [np.empty(0, np.int64)])
        pairs = np.unique(pairs)
        row, pattern = np.divmod(pairs, max(1, n_patterns))
        word = philox(seed, 0, 0, counted + np.arange(len(pairs)))[0]
        order = np.lexsort((word, row))
        begins = np.flatnonzero(_changes(row))
        rank = np.arange(len(row)) - np.repeat(begins, np.diff(np.append(begins, len(row))))
        chosen = np.sort(order[rank < per_sequence])
        yield row[chosen], pattern[chosen]
        counted += len(pairs)
        first = stop


def pattern_rows(patterns: Patterns, which: Int64, width: int) -> AnyArray:
    """Return patterns as right-padded rows int64 [len(which), width]."""
    begin, length = patterns.offsets[which], np.diff(patterns.offsets)[which]
    column = np.arange(width)
    inside = column < length[:, None]
    at = np.where(inside, begin[:, None] + column, 0)
    return np.where(inside, patterns.values[at] if patterns.n else 0, 0)
