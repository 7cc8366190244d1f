"""Split a model's own training loss into the vectors and the loss of each history."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from recbole.config import Config
from recbole.trainer import Trainer
from recbole.utils import ModelType
from torch import Tensor

from genpas_plugins.neural.layers.history_losses import LOSSES, Targets, check_loss, history_losses
from genpas_plugins.settings.mixing import MixingConfig
from genpas_plugins.settings.personaliser import PersonaliserConfig
from genpas_plugins.support.override import recorded
from recbole_ext.fast_layers import fast_layers
from recbole_ext.genpas_key import Mistake, genpas_config, keys_of
from recbole_ext.models.contract import TRIM, reads_histories, refusal, require
from recbole_ext.trimming import trimmed_groups


def check_trainable(config: Config, section: MixingConfig | PersonaliserConfig) -> Iterator[Mistake]:
    """Yield why the loss of a configuration cannot be taken apart after the warm-up of a section."""
    name, genpas = section.SECTION, genpas_config(config)
    sequential = config["MODEL_TYPE"] == ModelType.SEQUENTIAL
    reason = reads_histories(config.model_class) if sequential else "it is not a sequential model"
    if reason is None and config["loss_type"] not in LOSSES:
        reason = f"its loss_type {config['loss_type']!r} is none of {', '.join(LOSSES)}"
    if reason is not None:
        yield keys_of(name), refusal(config.model, name, reason)
    if genpas is not None and genpas.loss is not None:
        what = "has a loss of its own, which loss of the genpas section would replace. Remove one of the two keys."
        yield keys_of(name), f"{name} {what}"
    if section.warmup_epochs >= config["epochs"]:
        plain, epochs = section.warmup_epochs, config["epochs"]
        what = f"warmup_epochs is {plain}, epochs {epochs}. Set warmup_epochs below epochs."
        yield keys_of(name), f"{name} would never begin: {what}"


def loss_after_warmup(
    trainer: Trainer, section: MixingConfig | PersonaliserConfig, epoch: int, make: Callable[[], Any], what: str
) -> Any:
    """Return the loss function of an epoch. None in the warm-up means the model's own loss.

    Parameters
    ----------
    make : makes the loss in the first epoch: an unsuitable model stops at once
    what : text about the loss for the log
    """
    loss = getattr(trainer, "_loss_after_warmup", None)
    if loss is None:
        loss = trainer._loss_after_warmup = make()
        values = ", ".join(f"{key} = {value}" for key, value in section)
        trainer.logger.info(f"{what} from epoch {section.warmup_epochs} on: {values}")
    if epoch <= section.warmup_epochs:
        trainer.cur_step = 0  # RecBole counts epochs without a better validation; the warm-up must not stop early
    if epoch < section.warmup_epochs:
        return None
    loss.start_epoch(epoch)
    return loss


class Encoded(NamedTuple):
    """A model's own loss of a batch with the vectors `[B, D]` of its histories and their targets."""

    loss: Tensor
    hidden: Tensor
    targets: Targets


class HistoryLoss:
    """The parts of a RecBole model's loss on forward's output times item_embedding."""

    def __init__(self, model: Any, kind: str, section: str, *, trim: bool = False) -> None:
        for feature in (section, *([TRIM] if trim else [])):
            require(model, feature, kind)
        self.model, self.kind, self.trim = model, kind, trim

    def __call__(self, interaction: Any) -> Encoded:
        """Compute the model's own loss and keep its vectors."""
        if not self.trim:
            return self._encoded(interaction)
        rows, groups = zip(*trimmed_groups(self.model, interaction), strict=True)
        with fast_layers(self.model):
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
        """Return the loss `float [B]` of every history. The model's own loss is their mean."""
        return history_losses(self.kind, encoded.hidden, self.model.item_embedding.weight, encoded.targets)
