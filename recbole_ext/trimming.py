"""`trim: true` in RecBole: a batch is padded to its longest history, and encoded in groups of like length.

Most histories are far shorter than the longest of their batch. Grouping happens inside the batch that was drawn: every
batch has the pairs that it would have, its loss is the same mean, and only the padding is less. (Drawing batches of
like length would be cheaper still and a different distribution of gradients.) Full ranking reads histories in the same
groups, which leaves every user's scores as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import AbstractRecommender
from recbole.trainer import Trainer
from torch import Tensor

from genpas_plugins.neural.layers.dropout import cheap_dropout
from genpas_plugins.support.errors import InputError
from recbole_ext.genpas_key import genpas_config
from recbole_ext.model_probe import as_input_error, close, evaluating, random_batch

TRIM, PARALLEL = "trim: true", "targets: parallel"
"""The settings under which batches are trimmed, as messages name them."""

_SHORTEST = 8
"""Histories up to this long are one group; each further group is twice as long at most."""


@contextmanager
def ranking_of(trainer: Trainer) -> Iterator[None]:
    """Let a trainer rank in groups of like length for a while, if its run trains in them."""
    genpas = genpas_config(trainer.config)
    if genpas is None or not (genpas.trim or genpas.targets == "parallel"):
        yield
        return
    if getattr(trainer, "_genpas_ranks_in_groups", None) is not trainer.model:  # it may not have been trained here
        check_trim(trainer.model, TRIM if genpas.trim else PARALLEL)
        trainer._genpas_ranks_in_groups = trainer.model
    with ranking_in_groups(trainer.model):
        yield


def length_groups(lengths: Tensor) -> list[tuple[Tensor, int]]:
    """Return the rows of every group of like length and its longest, for lengths int64 [B].

    >>> [(rows.tolist(), longest) for rows, longest in length_groups(torch.tensor([3, 40, 12, 1]))]
    [([0, 3], 3), ([2], 12), ([1], 40)]
    """
    octave = (lengths.clamp(min=_SHORTEST) - 1).log2().floor()
    groups = [(octave == value).nonzero()[:, 0] for value in octave.unique()]
    return [(rows, int(lengths[rows].max())) for rows in groups]


def trimmed_groups(model: Any, interaction: Interaction) -> Iterator[tuple[Tensor, Interaction]]:
    """Yield the rows of every group of like length, int64, and these rows of the batch with histories cut to it."""
    for rows, longest in length_groups(interaction[model.ITEM_SEQ_LEN]):
        group = interaction[rows]
        group.interaction[model.ITEM_SEQ] = group[model.ITEM_SEQ][:, :longest]
        yield rows, group


@contextmanager
def ranking_in_groups(model: Any) -> Iterator[None]:
    """Let the model's full_sort_predict, float [B, n_items], read a batch group by group for a while."""
    whole = model.full_sort_predict

    def full_sort_predict(interaction: Interaction) -> Tensor:
        scores: Tensor | None = None
        for rows, group in trimmed_groups(model, interaction):
            part = whole(group).view(len(group), -1)
            if scores is None:
                scores = part.new_empty(len(interaction), part.shape[1])
            scores[rows] = part
        assert scores is not None  # a batch has rows
        return scores

    model.full_sort_predict = full_sort_predict
    try:
        yield
    finally:
        del model.full_sort_predict


class TrimmedLoss:
    """A model's own loss of a batch, group by group, called as `model.calculate_loss` is.

    Raises InputError for a model whose output depends on the padding.
    """

    def __init__(self, model: Any) -> None:
        check_trim(model, TRIM)
        self.model = model
        batch = random_batch(model)
        with evaluating(model), as_input_error(model, TRIM):
            same = close(self(batch), model.calculate_loss(batch))
        if not same:
            raise InputError(
                f"{TRIM} needs a loss that is the mean of those of single histories; that of "
                f"{type(model).__name__} is not. Set trim: false or choose another model."
            )

    def __call__(self, interaction: Any) -> Tensor:
        """Return the mean loss of the batch; the groups' own means count as often as they have rows."""
        model, total = self.model, torch.zeros((), device=self.model.device)
        with cheap_dropout(model):
            for rows, group in trimmed_groups(model, interaction):
                loss = model.calculate_loss(group)
                if not isinstance(loss, Tensor):
                    raise InputError(f"{type(model).__name__} has a loss of several parts; set trim: false.")
                total = total + loss * (len(rows) / len(interaction))
        return total


def check_trim(model: Any, asked: str) -> None:
    """Raise InputError unless a history has the same output however far it is padded; `asked` is the key for it."""
    batch = random_batch(model)
    histories, lengths = batch[model.ITEM_SEQ], batch[model.ITEM_SEQ_LEN]
    with evaluating(model), as_input_error(model, asked):
        same = close(model(histories[:, : lengths.max()], lengths), model(histories, lengths))
        if type(model).full_sort_predict is not AbstractRecommender.full_sort_predict:
            scores = model.full_sort_predict(batch)
            with ranking_in_groups(model):
                same = same and close(model.full_sort_predict(batch), scores.view(len(batch), -1))
    if not same:
        raise InputError(
            f"{asked} pads histories to the longest of their batch, and {type(model).__name__} computes something else "
            "for a history that is padded less far. Leave it out or choose another model."
        )
