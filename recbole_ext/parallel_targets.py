"""`targets: parallel` in RecBole: one forward pass of a causal model trains every target of a window.

A model takes part as it is if its `forward(item_seq, item_seq_len)` ends in `gather_indexes`, which picks the last
position, and its CE or BPR loss is of that vector times `item_embedding`: SASRec, GRU4Rec and others. Its forward is
asked for all positions at once; whether these are what it says of every history by itself is checked before training.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from recbole.config import Config
from recbole.trainer import Trainer
from torch import Tensor

from genpas_plugins.neural.layers.catalogue_loss import weighted_catalogue_loss
from genpas_plugins.neural.layers.dropout import cheap_dropout
from genpas_plugins.neural.layers.history_losses import Targets, history_losses
from genpas_plugins.sampling.windows import WindowStream
from genpas_plugins.support.errors import InputError
from recbole_ext.dataloader import TARGET_WEIGHT, TARGETS, PairDataLoader
from recbole_ext.model_probe import as_input_error, close, evaluating, random_batch, random_histories
from recbole_ext.trimming import PARALLEL, TrimmedLoss, check_trim, length_groups

_NO_POSITIONS = "does not give every position of a history a vector of its own"


def loss_of_epoch(trainer: Trainer, train_data: Any, _: int) -> Any:
    """Return the loss for the loader's batches, None where they are RecBole's own or padded as RecBole pads."""
    if not isinstance(train_data, PairDataLoader):
        return None
    if getattr(trainer, "_genpas_loss_for", None) is not train_data:
        trainer._genpas_loss_for, trainer._genpas_loss = train_data, None
        if isinstance(train_data.stream, WindowStream):
            trainer._genpas_loss = WindowLoss(trainer.config, trainer.model)
        elif train_data.trim:
            trainer._genpas_loss = TrimmedLoss(trainer.model)
    return trainer._genpas_loss


class WindowLoss:
    """A model's loss of all weighted targets of a batch of windows, called as `model.calculate_loss` is.

    Raises InputError for a model whose loss this is not, or that is not causal.
    """

    def __init__(self, config: Config, model: Any) -> None:
        self.model, self.kind = model, config["loss_type"]
        check_model(self.kind, model)

    def __call__(self, interaction: Any) -> Tensor:
        """Return the weighted losses of all targets, as a mean over the windows."""
        model = self.model
        histories, lengths, weights = (interaction[f] for f in (model.ITEM_SEQ, model.ITEM_SEQ_LEN, TARGET_WEIGHT))
        wanted = [weights, interaction[TARGETS], *([] if self.kind == "CE" else [interaction[model.NEG_ITEM_ID]])]
        groups = []
        with every_position(model), cheap_dropout(model):
            for rows, longest in length_groups(lengths):
                chosen = weights[rows, :longest] > 0
                hidden = model(histories[rows, :longest], lengths[rows])[chosen]
                groups.append((hidden, *(field[rows, :longest][chosen] for field in wanted)))
        hidden, weight, *targets = (torch.cat(parts) for parts in zip(*groups, strict=True))
        weight, table = weight / len(lengths), model.item_embedding.weight
        if self.kind == "CE":
            return weighted_catalogue_loss(hidden, table, targets[0], weight)
        loss: Tensor = (weight * history_losses(self.kind, hidden, table, Targets(*targets))).sum()
        return loss


@contextmanager
def every_position(model: Any) -> Iterator[None]:
    """Let the model's forward return its outputs at all positions, [B, L, H], instead of the last."""
    model.gather_indexes = lambda output, _: output
    try:
        yield
    finally:
        del model.gather_indexes


def check_model(kind: str, model: Any) -> None:
    """Raise InputError for a model that cannot be trained on windows with this loss_type."""
    check_loss(kind, model)
    check_causal(model)
    check_trim(model, PARALLEL)


def check_loss(kind: str, model: Any) -> None:
    """Raise InputError unless the model's own loss is the one that `WindowLoss` computes for a single target."""
    name = type(model).__name__
    batch = random_batch(model)
    table = getattr(getattr(model, "item_embedding", None), "weight", None)
    fits = False
    if kind in ("CE", "BPR") and isinstance(table, Tensor):
        with evaluating(model), as_input_error(model, PARALLEL, "does not read a history and its length alone"):
            own, hidden = model.calculate_loss(batch), model(batch[model.ITEM_SEQ], batch[model.ITEM_SEQ_LEN])
            ours = history_losses(kind, hidden, table, Targets(batch[model.POS_ITEM_ID], batch[model.NEG_ITEM_ID]))
            fits = isinstance(own, Tensor) and close(ours.mean(), own)
    if not fits:
        raise InputError(
            f"{PARALLEL} needs a model whose loss is CE or BPR of forward's output times item_embedding; "
            f"that of {name} (loss_type {kind!r}) is another. Set targets: single or choose another model."
        )


def check_causal(model: Any) -> None:
    """Raise InputError unless the output at every position is that of the history that ends there, by itself."""
    histories, lengths = random_histories(model)
    with evaluating(model), as_input_error(model, PARALLEL, _NO_POSITIONS):
        with every_position(model):
            outputs = model(histories, torch.full_like(lengths, histories.shape[1]))
        whole = torch.arange(histories.shape[1], device=lengths.device)
        alone = model(histories * (whole < lengths[:, None]), lengths)
        causal = outputs.dim() == alone.dim() + 1 and close(outputs[torch.arange(len(lengths)), lengths - 1], alone)
    if not causal:
        raise InputError(
            f"{PARALLEL} needs a causal model, whose output at a position depends on the items up to it alone; "
            f"that of {type(model).__name__} does not. Set targets: single or choose another model, such as SASRec."
        )
