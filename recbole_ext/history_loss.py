"""A model's own training loss taken apart: the vectors of the histories, and the loss of each."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from recbole.config import Config
from recbole.utils import ModelType
from torch import Tensor

from genpas_plugins import InputError
from genpas_plugins.neural.layers.dropout import cheap_dropout
from genpas_plugins.neural.layers.history_losses import LOSSES, Targets, check_loss, history_losses
from recbole_ext.trimming import TRIM, check_trim, trimmed_groups

_TOLERANCE = 0.01
"""How far our mean of a model's own loss may be off, relatively: half precision rounds by less."""


def check_trainable(config: Config, section: str, place: str, warmup_epochs: int) -> None:
    """Raise InputError, naming `place`, for a configuration whose loss could not be taken apart after the warm-up."""
    if config["MODEL_TYPE"] != ModelType.SEQUENTIAL or not _reads_histories(config.model_class):
        raise InputError(
            f"{place}: {section} needs a sequential model with forward(item_seq, item_seq_len), such as SASRec, "
            f"GRU4Rec or FMLPRec; {config.model} has none. Remove the key or choose another model."
        )
    if config["loss_type"] not in LOSSES:
        raise InputError(
            f"{place}: {section} knows the losses {', '.join(LOSSES)}, but the loss_type of {config.model} is "
            f"{config['loss_type']!r}."
        )
    if warmup_epochs >= config["epochs"]:
        raise InputError(
            f"{place}: {section} would never begin: warmup_epochs is {warmup_epochs}, epochs {config['epochs']}."
        )


class Encoded(NamedTuple):
    """A model's own loss of a batch, a scalar, its histories' vectors [B, D], and what they are trained towards."""

    loss: Tensor
    hidden: Tensor
    targets: Targets


class HistoryLoss:
    """A RecBole model whose loss is CE or BPR of forward's output times item_embedding, taken apart.

    section : the key that asks for it, for messages
    trim    : whether a batch goes through the model in groups of like length, which gives the same (`trimming`)

    Nothing is stored in the model. Raises InputError for a model without a table, or that cannot be trimmed.
    """

    def __init__(self, model: Any, kind: str, section: str, *, trim: bool = False) -> None:
        self.name = type(model).__name__
        if not isinstance(getattr(model, "item_embedding", None), torch.nn.Embedding):
            raise InputError(
                f"{section} needs a model with an embedding table called item_embedding; {self.name} has none. "
                f"Remove the {section} key or choose another model."
            )
        if trim:
            check_trim(model, TRIM)
        self.model, self.kind, self.section, self.trim, self.verified = model, kind, section, trim, False

    def __call__(self, interaction: Any) -> Encoded:
        """Compute the model's own loss and keep its vectors. Raises InputError, at the first, for another loss."""
        if not self.trim:
            return self._encoded(interaction)
        rows, groups = zip(*trimmed_groups(self.model, interaction), strict=True)
        with cheap_dropout(self.model):
            parts = [self._encoded(group) for group in groups]
        share = [len(chosen) / len(interaction) for chosen in rows]
        back = torch.cat(rows).argsort()
        return Encoded(
            torch.stack([part.loss * weight for part, weight in zip(parts, share, strict=True)]).sum(),
            torch.cat([part.hidden for part in parts])[back],
            self._targets(interaction),
        )

    def _targets(self, interaction: Any) -> Targets:
        negative = None if self.kind == "CE" else interaction[self.model.NEG_ITEM_ID]
        return Targets(interaction[self.model.POS_ITEM_ID], negative)

    def _encoded(self, interaction: Any) -> Encoded:
        model = self.model
        targets = self._targets(interaction)
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


def _reads_histories(model_class: Any) -> bool:
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
