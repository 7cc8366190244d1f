"""Probe a model with random histories, to see what its output depends on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from genpas_plugins.support.errors import InputError

_TOLERANCE = 1e-4
"""How far outputs may be off, relative to their largest: float32 rounds products in another order by less."""


def random_histories(model: Any) -> tuple[Tensor, Tensor]:
    """Return eight full histories of random items, and lengths from 1 to L, int64 [8, L] and [8]."""
    longest, random = model.max_seq_length, torch.Generator().manual_seed(0)
    lengths = torch.linspace(1, longest, 8).round().long()
    items = torch.randint(1, model.n_items, (len(lengths), longest), generator=random)
    return items.to(model.device), lengths.to(model.device)


def random_batch(model: Any) -> Interaction:
    """Return a batch of histories of up to half the maximum length, padded to it, with targets and negatives."""
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
    """Switch a model to evaluation without gradients for a while."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


@contextmanager
def as_input_error(model: Any, asked: str, lacks: str = "does not take histories of any length") -> Iterator[None]:
    """Turn what a model's forward raises into an InputError; `asked` is the key, `lacks` what its forward does not."""
    try:
        yield
    except (RuntimeError, IndexError, KeyError, TypeError, NotImplementedError) as error:
        raise InputError(
            f"{asked} is not possible with {type(model).__name__}, whose forward {lacks}. "
            "Leave it out or choose another model, such as SASRec or GRU4Rec."
        ) from error


def close(ours: Tensor, theirs: Tensor) -> bool:
    """Tell whether two tensors are the same up to rounding."""
    return ours.shape == theirs.shape and bool((ours - theirs).abs().max() <= _TOLERANCE * theirs.abs().max())
