"""A model's own training loss taken apart: the vectors of the histories, and the loss of each."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genpas_plugins import InputError
from genpas_plugins.mixing.losses import Targets, check_loss, history_losses

_TOLERANCE = 0.01
"""How far our mean of a model's own loss may be off, relatively: half precision rounds by less."""


class Encoded(NamedTuple):
    """A model's own loss of a batch, a scalar, its histories' vectors [B, D], and what they are trained towards."""

    loss: Tensor
    hidden: Tensor
    targets: Targets


class HistoryLoss:
    """A RecBole model whose loss is CE or BPR of forward's output times item_embedding, taken apart.

    `section` is the key that asks for it, for messages. Nothing is stored in the model.
    """

    def __init__(self, model: Any, kind: str, section: str) -> None:
        self.name = type(model).__name__
        if not isinstance(getattr(model, "item_embedding", None), torch.nn.Embedding):
            raise InputError(
                f"{section} needs a model with an embedding table called item_embedding; {self.name} has none. "
                f"Remove the {section} key or choose another model."
            )
        self.model, self.kind, self.section, self.verified = model, kind, section, False

    def __call__(self, interaction: Any) -> Encoded:
        """Compute the model's own loss and keep its vectors. Raises InputError, at the first, for another loss."""
        model = self.model
        negative = None if self.kind == "CE" else interaction[model.NEG_ITEM_ID]
        targets = Targets(interaction[model.POS_ITEM_ID], negative)
        check_loss(self.kind, targets)
        with _recorded_outputs(model) as outputs:
            own = model.calculate_loss(interaction)
        shape = (len(targets.positive), model.item_embedding.weight.shape[1])
        fits = isinstance(own, Tensor) and len(outputs) == 1 and outputs[0].shape == shape
        if fits and not self.verified:
            with torch.no_grad():
                mean = self.single(Encoded(own, outputs[0], targets)).mean()
            fits = bool((mean - own).abs() <= _TOLERANCE * own.abs())
        if not fits:
            raise InputError(
                f"{self.section} needs a model whose loss is {self.kind} of forward's output times item_embedding; "
                f"{self.name} computes another. Remove the {self.section} key or choose another model."
            )
        self.verified = True
        return Encoded(own, outputs[0], targets)

    def single(self, encoded: Encoded) -> Tensor:
        """Return the loss of every history, float [B], of which the model's own is the mean."""
        return history_losses(self.kind, encoded.hidden, self.model.item_embedding.weight, encoded.targets)


def reads_histories(model_class: Any) -> bool:
    """Tell whether a model's forward takes histories and their lengths and nothing else."""
    return list(inspect.signature(model_class.forward).parameters)[1:] == ["item_seq", "item_seq_len"]


@contextmanager
def _recorded_outputs(model: Any) -> Iterator[list[Tensor]]:
    """Collect what the model's forward returns, also where it calls `self.forward` past torch's hooks."""
    outputs: list[Tensor] = []
    original = model.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        outputs.append(original(*args, **kwargs))
        return outputs[-1]

    model.forward = forward
    try:
        yield outputs
    finally:
        del model.forward
