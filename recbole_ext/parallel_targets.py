"""`targets: parallel` in RecBole: one forward pass of a causal model trains every target of a window.

A model's forward ends in `gather_indexes` for the last position. Here it returns all positions at once.
`recbole_ext.models.contract` lists the other conditions and checks them before training.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from recbole.config import Config
from recbole.trainer import Trainer
from torch import Tensor

from genpas_plugins.neural.layers.catalogue_loss import weighted_catalogue_loss
from genpas_plugins.neural.layers.history_losses import Targets, history_losses
from genpas_plugins.neural.layers.length_groups import ROWS, LengthGroup, LengthOrder
from recbole_ext.dataloader import TARGET_WEIGHT, TARGETS, PairDataLoader
from recbole_ext.fast_layers import fast_layers, last_position, reads_last_position
from recbole_ext.genpas_key import genpas_config
from recbole_ext.model_probe import every_position
from recbole_ext.models.contract import PARALLEL, TRIM, require
from recbole_ext.trimming import TrimmedLoss, on_cpu, order_of, ranking_in_groups, trimmed_groups


def loss_of_epoch(trainer: Trainer, train_data: Any, _: int) -> Any:
    """Return the loss for windows or trimmed batches; None for batches that RecBole's own loss can use."""
    if not isinstance(train_data, PairDataLoader):
        return None
    if getattr(trainer, "_genpas_loss_for", None) is not train_data:
        trainer._genpas_loss_for, trainer._genpas_loss = train_data, None
        if train_data.stream.unit == "windows":
            own = hasattr(trainer.model, "target_losses")
            trainer._genpas_loss = (OwnWindowLoss if own else WindowLoss)(trainer.config, trainer.model)
        elif train_data.trim:
            require(trainer.model, TRIM, trainer.config["loss_type"])
            trainer._genpas_loss = TrimmedLoss(trainer.model)
    return trainer._genpas_loss


def ranking_of(trainer: Trainer) -> AbstractContextManager[None]:
    """Let a trainer rank in groups of similar length inside the block if its run trains in them."""
    genpas = genpas_config(trainer.config)
    # A model with a search groups histories itself.
    parallel = genpas is not None and genpas.targets == "parallel" and not hasattr(trainer.model, "best_items")
    if genpas is None or not (genpas.trim or parallel):
        return nullcontext()
    if getattr(trainer, "_genpas_ranks_in_groups", None) is not trainer.model:  # it may not have been trained here
        require(trainer.model, TRIM if genpas.trim else PARALLEL, trainer.config["loss_type"])
        trainer._genpas_ranks_in_groups = trainer.model
    return ranking_in_groups(trainer.model)


class WindowLoss:
    """A model's loss of all weighted targets of a batch of windows. It replaces `model.calculate_loss`.

    Raises InputError for a model that cannot be trained with `targets: parallel`.
    """

    def __init__(self, config: Config, model: Any) -> None:
        self.model, self.kind = model, config["loss_type"]
        require(model, PARALLEL, self.kind)

    def __call__(self, interaction: Any) -> Tensor:
        """Return the sum of the weighted losses of all targets over the number of windows."""
        fields = (TARGETS, *(() if self.kind == "CE" else (self.model.NEG_ITEM_ID,)))
        hidden, weight, *targets = window_targets(self.model, interaction, fields)
        table = self.model.item_embedding.weight
        if self.kind == "CE":
            return weighted_catalogue_loss(hidden, table, targets[0], weight)
        loss: Tensor = (weight * history_losses(self.kind, hidden, table, Targets(*targets))).sum()
        return loss


class OwnWindowLoss:
    """A `WindowLoss` of a model that computes the losses of a window's targets itself."""

    def __init__(self, config: Config, model: Any) -> None:
        self.model = model
        require(model, PARALLEL, config["loss_type"])

    def __call__(self, interaction: Any) -> Tensor:
        """Return the sum of the weighted losses of all targets over the number of windows."""
        width = interaction[TARGET_WEIGHT].shape[1]
        chosen = _trained_mask(interaction, width)
        here = chosen.to(interaction[TARGETS].device)
        weight, targets = (interaction[field].flatten().index_select(0, here) for field in (TARGET_WEIGHT, TARGETS))
        chosen = chosen.cpu()  # the model sorts windows on the CPU
        losses = self.model.target_losses(interaction, chosen // width, chosen % width, targets)
        loss: Tensor = (weight * losses).sum() / len(interaction)
        return loss


def window_targets(model: Any, interaction: Any, fields: tuple[str, ...]) -> tuple[Tensor, ...]:
    """Return the vectors [T, D] at a batch's trained places, their weights [T] over the number of windows and fields.

    The batch's fields are as wide as the lists. Each is returned at the trained places: [T].
    """
    groups, (order, flags) = [], _window_order(model, interaction)
    with fast_layers(model):
        for (_, group), alone in zip(trimmed_groups(model, interaction, order), flags, strict=True):
            histories = group[model.ITEM_SEQ]
            longest = histories.shape[1]
            with last_position(model) if alone else every_position(model):
                hidden = model(histories, group[model.ITEM_SEQ_LEN])
            chosen = _trained_mask(group, longest).to(hidden.device)
            places = [group[field][:, :longest].flatten() for field in (TARGET_WEIGHT, *fields)]
            hidden = hidden if alone else hidden.flatten(0, 1).index_select(0, chosen)
            groups.append([hidden, *(values.index_select(0, chosen) for values in places)])
    hidden, weight, *others = (torch.cat(parts) for parts in zip(*groups, strict=True))
    return hidden, weight / len(interaction), *others


def _window_order(model: Any, interaction: Any) -> tuple[LengthOrder, list[bool]]:
    """Return the windows of a batch by length, and whether each window of a group trains its last place alone.

    A target beyond the L-th of its sequence has a window of its own: on Beauty half of all positions.
    """
    by_length = order_of(model, interaction)
    on_device = getattr(interaction, "by_length", None) is not None or interaction[TARGETS].device.type != "cpu"
    if on_device or not reads_last_position(model):
        return by_length, [False] * len(by_length.groups)  # more groups are more copies and kernels there
    trained, last = on_cpu(interaction, TARGET_WEIGHT) > 0, on_cpu(interaction, model.ITEM_SEQ_LEN) - 1
    alone = (trained.sum(1) == 1) & trained.gather(1, last[:, None])[:, 0]
    step = ROWS if torch.is_autocast_enabled("cpu") else 1
    parts = []
    for rows, group in zip(by_length.rows, by_length.groups, strict=True):
        single = rows[alone[rows]]
        single = single[: len(single) // step * step]
        split = (rows[~torch.isin(rows, single)], False), (single, True)
        parts += [(chosen, LengthGroup(len(chosen), group.width), flag) for chosen, flag in split if len(chosen)]
    order, groups, flags = zip(*parts, strict=True)
    return LengthOrder(torch.cat(order), groups), list(flags)


def _trained_mask(interaction: Any, width: int) -> Tensor:
    """Return the trained places `int64 [T]` of the flattened histories."""
    number = getattr(interaction, "n_targets", None)
    if number is None:
        return (on_cpu(interaction, TARGET_WEIGHT)[:, :width] > 0).flatten().nonzero()[:, 0]
    return torch.nonzero_static((interaction[TARGET_WEIGHT][:, :width] > 0).flatten(), size=number)[:, 0]
