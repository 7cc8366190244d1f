"""A model's own training loss taken apart: the vectors of the histories, and the loss of each history."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from recbole.config import Config
from recbole.utils import ModelType
from torch import Tensor

from genpas_plugins import InputError
from genpas_plugins.neural.layers.dropout import cheap_dropout
from genpas_plugins.neural.layers.history_losses import LOSSES, Targets, check_loss, history_losses
from genpas_plugins.support.override import recorded
from recbole_ext.genpas_key import genpas_config
from recbole_ext.models.contract import TRIM, reads_histories, refusal, require
from recbole_ext.trimming import trimmed_groups


def check_trainable(config: Config, section: str, place: str, warmup_epochs: int) -> None:
    """Raise InputError for a configuration whose loss cannot be taken apart after the warm-up."""
    sequential = config["MODEL_TYPE"] == ModelType.SEQUENTIAL
    reason = reads_histories(config.model_class) if sequential else "it is not a sequential model"
    if reason is None and config["loss_type"] not in LOSSES:
        reason = f"its loss_type {config['loss_type']!r} is none of {', '.join(LOSSES)}"
    genpas = genpas_config(config)
    if reason is None and genpas is not None and genpas.loss is not None:
        raise InputError(
            f"{place}: {section} has a loss of its own, which loss of the genpas section would replace. Remove one of "
            "the two keys."
        )
    if reason is not None:
        raise InputError(f"{place}: {refusal(config.model, section, reason)}")
    if warmup_epochs >= config["epochs"]:
        raise InputError(
            f"{place}: {section} would never begin: warmup_epochs is {warmup_epochs}, epochs {config['epochs']}. Set "
            "warmup_epochs below epochs."
        )


class Encoded(NamedTuple):
    """A model's own loss of a batch, a scalar, the vectors of its histories, `[B, D]`, and their targets."""

    loss: Tensor
    hidden: Tensor
    targets: Targets


class HistoryLoss:
    """A RecBole model whose loss is of forward's output times item_embedding, taken apart."""

    def __init__(self, model: Any, kind: str, section: str, *, trim: bool = False) -> None:
        for feature in (section, *([TRIM] if trim else [])):
            require(model, feature, kind)
        self.model, self.kind, self.trim = model, kind, trim

    def __call__(self, interaction: Any) -> Encoded:
        """Compute the model's own loss and keep its vectors."""
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
        targets = self._targets(interaction)
        check_loss(self.kind, targets)
        with recorded(self.model, "forward") as calls:
            own = self.model.calculate_loss(interaction)
        ((_, hidden),) = calls
        return Encoded(own, hidden, targets)

    def single(self, encoded: Encoded) -> Tensor:
        """Return the loss of every history, `float [B]`, of which the model's own is the mean."""
        return history_losses(self.kind, encoded.hidden, self.model.item_embedding.weight, encoded.targets)
