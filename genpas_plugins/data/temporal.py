"""A global temporal split at the same times for all users. No training example is later than a test target.

    train        interactions before the first cut
    validation   of users with an interaction between the cuts: the last or the first of them is the target
    test         the same after the second cut

The history of a target is all that its user did before it. (Time-to-Split: RecSys 2025, arXiv 2507.16289.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from genpas_plugins.data.sequences import PAIR_ITEMS, SequenceStore, SequenceView, Split
from genpas_plugins.support.array_types import AnyArray, Bools, Int64
from genpas_plugins.support.errors import InputError, nearest

SHARES = (0.8, 0.1, 0.1)
COLUMN = "timestamp"
TARGETS = ("last", "first")
LEAVE_LAST_OUT, TEMPORAL = "leave_last_out", "temporal"


def check_shares(shares: Sequence[float]) -> tuple[float, float, float]:
    """Return three shares of a split. Raises InputError unless they are positive and add up to 1."""
    numbers = [float(share) for share in shares]
    if len(numbers) != len(SHARES) or min(numbers) <= 0 or not math.isclose(sum(numbers), 1, abs_tol=1e-6):
        raise InputError(
            f"a temporal split needs three shares above 0 that add up to 1, such as 0.8,0.1,0.1, not {list(shares)}."
        )
    return numbers[0], numbers[1], numbers[2]


def cut_times(times: AnyArray, shares: Sequence[float]) -> tuple[float, float]:
    """Return the times from which interactions validate and test: quantiles of all `times` `[n]`.

    Raises InputError if the times leave no interaction for a part.

    >>> cut_times(np.arange(10), (0.8, 0.1, 0.1))
    (8.0, 9.0)
    """
    first, second, _ = check_shares(shares)
    places = [min(math.floor(round(share * len(times), 9)), len(times) - 1) for share in (first, first + second)]
    cuts = np.partition(times, places)[places] if len(times) else np.zeros(2)
    if not len(times) or not times.min() < cuts[0] < cuts[1]:
        raise InputError(
            f"A temporal split into {', '.join(map(str, shares))} leaves a part empty: too many interactions have the "
            "same time. Choose other shares."
        )
    return float(cuts[0]), float(cuts[1])


def temporal_split(
    store: SequenceStore,
    shares: Sequence[float] = SHARES,
    *,
    target: Literal["last", "first"] = "last",
    column: str = COLUMN,
) -> Split:
    """Split a store at two times.

    Parameters
    ----------
    store
        Its sequences must be in the order of `column`.
    shares
        Of the interactions before the first cut, between the cuts and after the second.
    target
        Which interaction of a user in a part is the target.
    column
        Name of the store's column with times.

    Raises
    ------
    InputError
        The column is missing or has gaps. A sequence is not in its order. A part is empty.
    """
    if target not in TARGETS:
        raise InputError(f"the target {target!r} is not a choice.{nearest(target, TARGETS)}")
    times = checked_times(store, column)
    validation_from, test_from = cut_times(times, shares)
    trained, validated = (_count(store, times < cut) for cut in (validation_from, test_from))
    views = [trained]
    for before, until in ((trained, validated), (validated, store.lengths())):
        views.append(np.where(until > before, until if target == "last" else before + 1, 0))
    return Split(*(store.view(lengths=lengths) for lengths in views))


def parse_split(text: str) -> tuple[tuple[float, float, float], str] | None:
    """Return shares and target of the word of a split. None for leave_last_out.

    The word is leave_last_out or temporal[:TRAIN,VALIDATION,TEST[:last|first]]. Raises InputError for another one.

    >>> parse_split("temporal:0.6,0.2,0.2:first")
    ((0.6, 0.2, 0.2), 'first')
    """
    kind, _, rest = text.partition(":")
    if kind == LEAVE_LAST_OUT and not rest:
        return None
    if kind != TEMPORAL:
        raise InputError(f"the split {text!r} is not a choice.{nearest(kind, (LEAVE_LAST_OUT, TEMPORAL))}")
    shares, _, target = rest.partition(":")
    try:
        numbers = [float(word) for word in shares.split(",")] if shares else list(SHARES)
    except ValueError:
        numbers = []
    if target and target not in TARGETS:
        raise InputError(f"the target {target!r} is not a choice.{nearest(target, TARGETS)}")
    return check_shares(numbers), target or "last"


def read_split(store: SequenceStore, text: str) -> Split:
    """Split a store as a word of `parse_split` says."""
    parsed = parse_split(text)
    if parsed is None:
        return store.leave_last_out()
    shares, target = parsed
    return temporal_split(store, shares, target=target)  # type: ignore[arg-type]  # parse_split checked it


def evaluated_counts(split: Split) -> dict[str, dict[str, int]]:
    """Return how many users and targets of validation and test are known from training.

    Returns
    -------
    By part: `users` with a target and a history, `unseen_users` of them without a training pair, `unseen_items`
    (targets that no training sequence has), and `without_history`, users whose target is their first interaction.
    """
    store, lengths = split.train.store, split.train.lengths()
    whole = store.lengths()
    position = np.arange(store.n_interactions) - np.repeat(store.offsets[:-1], whole)
    trained = store.values[position < np.repeat(lengths, whole)]
    known = np.bincount(trained, minlength=store.n_items + 1) > 0
    views = {"validation": split.validation, "test": split.test}
    return {name: _counts(view, lengths, known) for name, view in views.items()}


def _counts(view: SequenceView, trained: Int64, known: Bools) -> dict[str, int]:
    pairs = view.last_pairs()
    targets = view.store.values[view.store.offsets[pairs.sequence] + pairs.target]
    return {
        "users": len(targets),
        "unseen_users": int(np.count_nonzero(trained[pairs.sequence] < PAIR_ITEMS)),
        "unseen_items": int(np.count_nonzero(~known[targets])),
        "without_history": int(np.count_nonzero(view.lengths() == 1)),
    }


def _count(store: SequenceStore, chosen: Bools) -> Int64:
    """Return how many interactions of each sequence are chosen."""
    before = np.concatenate([[0], np.cumsum(chosen)])
    return np.asarray(np.diff(before[store.offsets]))


def checked_times(store: SequenceStore, column: str = COLUMN) -> AnyArray:
    """Return the times `[n]` of a store's interactions in order inside every sequence.

    Raises InputError for sequences that only train and for times that are missing or in no order.
    """
    if store.has_train_only:
        raise InputError("A store with sequences that only train has no order in time: they hold later interactions.")
    if column not in store.columns:
        known = f"its columns are {', '.join(store.columns)}" if store.columns else "it has no columns"
        raise InputError(
            f"A temporal split and the order of ties need the column {column!r} of times, and {known}. Prepare the "
            f"store with --column {column}."
        )
    times = np.asarray(store.columns[column])
    if times.dtype.kind not in "iufM":
        raise InputError(f"The column {column!r} has {times.dtype}, which has no order in time.")
    times = times.astype(np.int64) if times.dtype.kind == "M" else times
    missing = int(np.count_nonzero(np.isnan(times))) if times.dtype.kind == "f" else 0
    if missing:
        raise InputError(f"{missing} interactions have no {column}. Remove them for a temporal split.")
    later = np.flatnonzero(times[1:] < times[:-1]) + 1
    wrong = np.setdiff1d(later, store.offsets)
    if len(wrong):
        row = int(np.searchsorted(store.offsets, wrong[0], side="right")) - 1
        raise InputError(
            f"Sequence {row} is not in the order of {column}: its interaction {int(wrong[0] - store.offsets[row])} is "
            "earlier than the one before. Prepare the store with --order " + column + "."
        )
    return times
