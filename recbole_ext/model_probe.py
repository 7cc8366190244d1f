"""Probe what a model's output depends on with random histories."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from genpas_plugins.support.override import override

_TOLERANCE = 1e-4
"""How far outputs may be off, relative to their largest: float32 rounds products in another order by less."""


PROBE_ERRORS = (RuntimeError, LookupError, TypeError, ValueError, AttributeError, NotImplementedError)
"""What a model raises for histories that it cannot read."""


def random_histories(model: Any) -> tuple[Tensor, Tensor]:
    """Return eight full histories of random items `int64 [8, L]` and lengths from 1 to L."""
    longest, random = model.max_seq_length, torch.Generator().manual_seed(0)
    lengths = torch.linspace(1, longest, 8).round().long()
    items = torch.randint(1, model.n_items, (len(lengths), longest), generator=random)
    return items.to(model.device), lengths.to(model.device)


def random_batch(model: Any) -> Interaction:
    """Return a padded batch with targets and negatives. Its histories have up to half the maximum length."""
    histories, lengths = random_histories(model)
    lengths = lengths.clamp(max=max(1, model.max_seq_length // 2))
    targets = histories[:, -1]
    kept = torch.arange(histories.shape[1], device=lengths.device) < lengths[:, None]
    return Interaction(
        {
            model.USER_ID: torch.ones_like(lengths),
            model.ITEM_SEQ: histories * kept,
            model.ITEM_SEQ_LEN: lengths,
            model.POS_ITEM_ID: targets,
            model.NEG_ITEM_ID: targets.flip(0),
        }
    )


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Switch a model to evaluation without gradients inside the block on the device of its weights."""
    training = model.training
    # A model on its way to a GPU has that device as its `device`, and its weights are still here.
    device = next(iter(model.parameters())).device
    model.eval()
    try:
        with torch.no_grad(), override(model, device=device):
            yield
    finally:
        model.train(training)


def every_position(model: Any) -> AbstractContextManager[None]:
    """Let the model's forward return its outputs `[B, L, D]` at all positions inside the block."""
    return override(model, gather_indexes=lambda output, _: output)


def close(ours: Tensor, theirs: Tensor) -> bool:
    """Return whether two tensors are the same up to rounding."""
    return ours.shape == theirs.shape and bool((ours - theirs).abs().max() <= _TOLERANCE * theirs.abs().max())
