"""`loss` of the `genpas` section in RecBole: sampled negatives in place of the model's softmax over all items."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from recbole.config import Config
from recbole.trainer import Trainer
from torch import Tensor

from genpas_plugins.neural.layers.negatives import Proposal
from genpas_plugins.neural.layers.sampled_losses import sampled_losses
from recbole_ext import growth
from recbole_ext.dataloader import TARGETS, PairDataLoader
from recbole_ext.fast_layers import fast_layers
from recbole_ext.genpas_key import genpas_config
from recbole_ext.models.contract import LOSS, PARALLEL, TRIM, require
from recbole_ext.parallel_targets import window_targets
from recbole_ext.trimming import trimmed_groups


def loss_of_epoch(trainer: Trainer, train_data: Any, epoch: int) -> SampledLoss | None:
    """Return the loss of the section; None without one."""
    section = genpas_config(trainer.config)
    if section is None or section.loss is None or not isinstance(train_data, PairDataLoader):
        return None
    loss: SampledLoss | None = getattr(trainer, "_genpas_sampled_loss", None)
    if loss is None or loss.train_data is not train_data:
        loss = trainer._genpas_sampled_loss = SampledLoss(trainer.config, trainer.model, train_data)
    loss.epoch, loss.step = epoch, 0
    return loss


class SampledLoss:
    """A loss with sampled negatives. It replaces `model.calculate_loss`.

    The negatives are a pure function of seed, epoch and step.

    Raises InputError for a model whose loss is not cross-entropy of forward's output times its item table.
    """

    epoch = step = 0

    def __init__(self, config: Config, model: Any, train_data: PairDataLoader) -> None:
        section = genpas_config(config)
        assert section is not None and section.loss is not None
        self.model, self.train_data, self.loss, self.trim = model, train_data, section.loss, section.trim
        self.windows = train_data.stream.unit == "windows"
        for feature in (LOSS, *((PARALLEL,) if self.windows else (TRIM,) if self.trim else ())):
            require(model, feature, config["loss_type"])
        self.proposal = Proposal.of(growth.distribution(train_data), self.loss.uniform_share).to(config["device"])

    def __call__(self, interaction: Any) -> Tensor:
        """Return the loss of a batch with the same target weights as in a softmax over all items."""
        seed = self.train_data.stream.seed
        negatives = self.proposal.draw(self.loss.negatives, seed=seed, epoch=self.epoch, step=self.step)
        self.step += 1
        if self.windows:
            hidden, weight, targets = window_targets(self.model, interaction, (TARGETS,))
        else:
            hidden, targets = self._histories(interaction)
            weight = hidden.new_full((len(hidden),), 1 / len(hidden))
        table, log_q = self.model.item_embedding.weight, self.proposal.log_q[negatives]
        losses = sampled_losses(
            self.loss, hidden, table[targets], table[negatives], targets=targets, negatives=negatives, log_q=log_q
        )
        return (weight * losses).sum()

    def _histories(self, interaction: Any) -> tuple[Tensor, Tensor]:
        """Return the vectors [B, D] of a batch's histories and their targets [B] in any order."""
        model = self.model
        with fast_layers(model) if self.trim else nullcontext():
            groups = [group for _, group in trimmed_groups(model, interaction)] if self.trim else [interaction]
            hidden = [model(group[model.ITEM_SEQ], group[model.ITEM_SEQ_LEN]) for group in groups]
        return torch.cat(hidden), torch.cat([group[model.POS_ITEM_ID] for group in groups])
