"""The order of interactions at the same time: the file's or a random one. Figures can then state their spread.

Amazon's times are days. The last two interactions of 40 to 50 % of the users of its data sets are at the same time.
The order of ties then decides what is tested. The word of an order is `file` or `random:SEED`.
"""

from __future__ import annotations

import re

import numpy as np

from genpas_plugins.support.array_types import Int64, UInt64
from genpas_plugins.support.errors import InputError, nearest

FILE, RANDOM = "file", "random"


def parse_ties(word: str) -> int | None:
    """Return the seed of the word `random:SEED`; None for `file`. Raises InputError for another word.

    >>> parse_ties("random:1")
    1
    """
    kind, _, seed = word.partition(":")
    if word == FILE:
        return None
    if kind != RANDOM:
        raise InputError(f"the order of ties {word!r} is not a choice.{nearest(kind, (FILE, RANDOM))}")
    if not re.fullmatch(r"[0-9]{1,18}", seed):
        raise InputError(
            f"the order of ties {word!r} has no seed of 1 to 18 digits. Write {RANDOM}:SEED, as {RANDOM}:1."
        )
    return int(seed)


def tie_keys(rows: Int64, seed: int) -> UInt64:
    """Return a random number uint64 [n] of each row of a file to sort ties by.

    It is SplitMix64 (OOPSLA 2014) with the seed in both rounds. Rows have different numbers because all steps can be
    undone.
    """
    key = (np.asarray(rows).astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        key = (key ^ (key >> np.uint64(shift)) ^ np.uint64(seed)) * np.uint64(factor)
    return np.asarray(key ^ (key >> np.uint64(31)))
