"""The `mixing:` key in RecBole's configuration: BASRec around the training loss of a sequential model.

The key is used with the `genpas` key or alone. `recbole_ext.models.contract` lists what a model must have. The model,
prediction, evaluation and checkpoints stay as they are. RecBole's early stopping counts from the second stage on; the
best epoch may be in the first stage.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from recbole.config import Config
from recbole.trainer import Trainer
from torch import Tensor

from genpas_plugins import SequenceStore
from genpas_plugins.augment.neighbours import nearest_items
from genpas_plugins.neural.basrec.losses import Batch, Model, mixing_losses
from genpas_plugins.neural.basrec.mixture import mix
from genpas_plugins.neural.basrec.step_draws import generator
from genpas_plugins.neural.layers.length_groups import LengthOrder
from genpas_plugins.settings.mixing import SECTION, MixingConfig
from genpas_plugins.support.override import override
from recbole_ext.fast_layers import fast_layers
from recbole_ext.genpas_key import Mistake, genpas_config, keys_of
from recbole_ext.history_loss import HistoryLoss, check_trainable, loss_after_warmup
from recbole_ext.trimming import order_of


def check(config: Config) -> Iterator[Mistake]:
    """Yield why a configuration cannot be trained with its `mixing` section; nothing without one."""
    section, genpas = config[SECTION], genpas_config(config)
    if section is None:
        return
    yield from check_trainable(config, section)
    if genpas is not None and genpas.targets != "single":
        yield keys_of(SECTION), f"{SECTION} mixes single targets; set targets: single in the genpas key."


def loss_of_epoch(trainer: Trainer, train_data: Any, epoch: int) -> Any:
    """Return the loss function of this epoch. None in the first stage means the model's own loss."""
    section: MixingConfig | None = trainer.config[SECTION]
    if section is None:
        return None
    make = partial(BASRecLoss, trainer.config, section, trainer.model, train_data._dataset)
    return loss_after_warmup(trainer, section, epoch, make, "BASRec mixes")


class BASRecLoss:
    """A model's training loss plus BASRec's losses. It replaces `model.calculate_loss`.

    Random numbers depend on (seed, epoch, step, process) and a resumed epoch repeats them. Dropout uses torch's.
    """

    def __init__(self, config: Config, section: MixingConfig, model: Any, dataset: Any) -> None:
        self.section, self.model = section, model
        self.kind, self.seed = config["loss_type"], config["seed"]
        genpas = genpas_config(config)
        self.plain = HistoryLoss(model, self.kind, SECTION, trim=genpas is not None and genpas.trim)
        self.process = 0 if config["single_spec"] else torch.distributed.get_rank()
        self.neighbours = _neighbours(dataset).to(config["device"])
        self.epoch, self.step = 0, 0

    def start_epoch(self, epoch: int) -> None:
        """Let the next call be the first step of this epoch."""
        self.epoch, self.step = epoch, 0

    def __call__(self, interaction: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Return the model's own loss, the views' loss and the cross loss. Training adds them up."""
        model = self.model
        histories, lengths = interaction[model.ITEM_SEQ], interaction[model.ITEM_SEQ_LEN]
        plain, vectors, targets = self.plain(interaction)
        by_length = LengthOrder.whole(len(lengths), histories.shape[1])
        if self.plain.trim:
            by_length = order_of(model, interaction)
        by_length = by_length._replace(order=by_length.order.to(lengths.device))
        groups = [(rows, group.width) for rows, group in zip(by_length.rows, by_length.groups, strict=True)]
        back = by_length.order.argsort()

        def encode(changed: Tensor, share: Tensor) -> Tensor:
            parts = [
                self._mixed(histories[rows, :longest], lengths[rows], changed[rows, :longest], share[rows])
                for rows, longest in groups
            ]
            return torch.cat(parts)[back]

        random = generator(self.seed, self.epoch, self.step, self.process)
        self.step += 1
        asked = Model(self.kind, model.item_embedding.weight, self.neighbours, encode)
        views, cross = mixing_losses(self.section, random, asked, Batch(histories, lengths, targets), vectors)
        return plain, views, cross

    def _mixed(self, histories: Tensor, lengths: Tensor, changed: Tensor, share: Tensor) -> Tensor:
        """Return the model's vectors of histories whose embeddings are mixed with the embeddings of `changed`."""
        embedding = self.model.item_embedding
        look_up = embedding.forward

        def mixed(items: Tensor) -> Tensor:
            vectors: Tensor = look_up(items)
            return mix(vectors, look_up(changed), share) if items is histories else vectors

        drawn = fast_layers(self.model) if self.plain.trim else nullcontext()
        with drawn, override(embedding, forward=mixed):
            hidden: Tensor = self.model(histories, lengths)
        return hidden


def _neighbours(dataset: Any) -> Tensor:
    """Return every item's nearest other item `int64 [n_items]` in the training data or itself."""
    seen = dataset.inter_matrix(form="csr")
    store = SequenceStore.from_arrays(seen.indices, seen.indptr, n_items=seen.shape[1] - 1)
    nearest = torch.from_numpy(nearest_items(store.view()).astype(np.int64))
    return torch.where(nearest > 0, nearest, torch.arange(len(nearest)))
