"""Hybrid inference (DR4SR §3.2.3): the regenerator writes one pattern of a sequence for each of the K memories.

With probability γ a pattern is written in generative mode, where any item may follow. Otherwise restrictive mode
scores the items of the sequence alone. No item is written twice. The exception is an item that the sequence holds
twice in restrictive mode. Without this rule a network of few epochs repeats the last item because input and output
share one item table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from genpas_plugins.data.sequences import PAIR_ITEMS, SequenceView
from genpas_plugins.neural.dr4sr.regenerator import Memory, Regenerator
from genpas_plugins.neural.dr4sr.training import histories
from genpas_plugins.sampling.jagged import spans
from genpas_plugins.sampling.random_stream import check_seed, philox, uniform
from genpas_plugins.support.array_types import Bools, Int64
from genpas_plugins.support.errors import InputError, whole_number

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Regenerated:
    """K patterns for each of n sequences; T is the most items of a pattern."""

    sequence: Int64  # int64 [n], rows of the view
    patterns: Int64  # int64 [n, K, T], at least two item numbers each, padded with 0 on the right
    generative: Bools  # bool [n, K], True for patterns of generative mode


def regenerate(
    model: Regenerator,
    view: SequenceView,
    *,
    gamma: float = 0.1,  # probability of generative mode, drawn for each pattern from `seed` and its place
    seed: int = 0,
    batch_size: int = 256,  # sequences at a time, which changes no pattern
    progress: Progress | None = None,
) -> Regenerated:
    """Write K patterns greedily for every sequence of `view` that has a training pair.

    A pattern ends where the regenerator ends it but has at least the two items of a training pair.
    """
    if not 0 <= gamma <= 1:
        raise InputError(f"gamma must be a probability from 0 to 1, not {gamma!r}.")
    whole_number("batch_size", batch_size, 1)
    shape = model.shape
    if shape.n_items != view.store.n_items:
        raise InputError(f"The regenerator knows {shape.n_items:,} items, the store has {view.store.n_items:,}.")
    rows = np.flatnonzero(view.lengths() >= PAIR_ITEMS)
    words = philox(check_seed(seed), 0, 0, np.arange(len(rows) * shape.memories))
    generative = (uniform(words[0], words[1]) < gamma).reshape(len(rows), shape.memories)
    written = np.zeros((len(rows), shape.memories, shape.max_pattern), np.int64)
    device = model.embedding.weight.device
    was_training = model.training
    model.eval()
    with torch.no_grad():
        for first in range(0, len(rows), batch_size):
            block = slice(first, first + batch_size)
            history = torch.from_numpy(histories(view, rows[block], shape.max_history)).to(device)
            memory = model.encode(history)
            for k in range(shape.memories):
                free = torch.from_numpy(generative[block, k]).to(device)
                written[block, k] = _greedy(model, model.single(memory, k), history, free).cpu().numpy()
            if progress is not None:
                progress(min(first + batch_size, len(rows)), len(rows))
    model.train(was_training)
    return Regenerated(rows, written, generative)


def _greedy(model: Regenerator, memory: Memory, history: Tensor, free: Tensor) -> Tensor:
    """Return greedy patterns `int64 [B, T]` padded with 0. `free` `bool [B]` is True for generative mode."""
    n, longest = len(history), model.shape.max_pattern
    tokens = torch.full((n, 1), model.start, dtype=torch.int64, device=history.device)
    candidates = F.pad(history, (0, 1), value=model.end)
    ended = torch.zeros(n, dtype=torch.bool, device=history.device)
    open_places = candidates != 0  # each place of a history is written once
    for length in range(longest):
        states = model.decode(memory, tokens)[:, -1]
        may_end = length >= PAIR_ITEMS
        following = torch.empty(n, dtype=torch.int64, device=history.device)
        if bool((~free).any()):
            own = candidates[~free]
            scores = model.scores(states[~free], own).masked_fill(~open_places[~free], -torch.inf)
            best = scores[:, : scores.shape[1] if may_end else -1].argmax(1, keepdim=True)
            following[~free] = own.gather(1, best)[:, 0]
            # The end stays open: a pattern that has ended gets it again, and it is cleared below.
            open_places[~free] = open_places[~free].scatter(1, best, best == own.shape[1] - 1)
        if bool(free.any()):
            scores = model.scores(states[free])
            if length:
                # Tokens after the end are 0, and so mark the column of the end, which is not read then.
                scores = scores.scatter(1, (tokens[free, 1:] - 1) % scores.shape[1], -torch.inf)
            best = scores[:, : scores.shape[1] if may_end else -1].argmax(1)
            following[free] = torch.where(best == model.shape.n_items, model.end, best + 1)
        ended |= following == model.end
        tokens = torch.cat([tokens, following.masked_fill(ended, 0)[:, None]], dim=1)
        if bool(ended.all()):
            break
    return F.pad(tokens[:, 1:], (0, longest - (tokens.shape[1] - 1)))


def summarize(made: Regenerated, view: SequenceView) -> dict[str, Any]:
    """Return counts of the written patterns by length, by mode and distinct within their sequence.

    `foreign` is the share of written items that are not in their sequence. It is 0 for restrictive mode.
    """
    n, memories, _ = made.patterns.shape
    lengths, counts = np.unique((made.patterns > 0).sum(-1), return_counts=True)
    flat = made.patterns.reshape(n * memories, -1)
    owner = np.repeat(np.arange(n), memories)
    distinct = len(np.unique(np.column_stack([owner, flat]), axis=0)) if n else 0
    row, column = np.nonzero(flat)
    items = view.store.n_items + 1
    held = view.lengths(made.sequence)
    inside = np.repeat(np.arange(n), held)
    at = spans(view.store.offsets[made.sequence], held)
    foreign = ~np.isin(owner[row] * items + flat[row, column], inside * items + view.store.values[at])
    free = made.generative.ravel()[row]
    return {
        "sequences": n,
        "patterns": n * memories,
        "by_length": {int(length): int(count) for length, count in zip(lengths, counts, strict=True)},
        "generative": int(made.generative.sum()),
        "distinct": distinct,
        "foreign": {
            "generative": float(foreign[free].mean()) if free.any() else 0.0,
            "restrictive": float(foreign[~free].mean()) if (~free).any() else 0.0,
        },
    }
