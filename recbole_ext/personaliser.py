"""The `personaliser:` key in RecBole's configuration: DR4SR+ around the training loss of a sequential model.

A personaliser gives every pair of the `genpas` key a weight. It learns by implicit gradients which weights make the
model fit pairs of the original sequences. `recbole_ext.models.contract` lists what a model must have. Checkpoints hold
its state with the model's other parameters. RecBole's early stopping counts from the end of the warm-up on.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from recbole.config import Config
from recbole.trainer import Trainer
from torch import Tensor

from genpas_plugins import pair_stream
from genpas_plugins.neural.dr4sr.personaliser import Personaliser, outer_step, relative_weights
from genpas_plugins.settings.mixing import SECTION as MIXING
from genpas_plugins.settings.personaliser import SECTION, PersonaliserConfig
from genpas_plugins.support.errors import InputError
from recbole_ext.dataloader import PairDataLoader, Step
from recbole_ext.genpas_key import Mistake, genpas_config, keys_of
from recbole_ext.history_loss import HistoryLoss, check_trainable, loss_after_warmup

STATE = "personaliser_state"  # the model's other parameter that holds the personaliser and its optimiser


def check(config: Config) -> Iterator[Mistake]:
    """Yield why a configuration cannot be trained with its `personaliser` section; nothing without one."""
    section, pairs, keys = config[SECTION], genpas_config(config), keys_of(SECTION)
    if section is None:
        return
    yield from check_trainable(config, section)
    if pairs is None:
        yield keys, f"{SECTION} weighs the pairs of a genpas key, and there is none. Add one."
    elif pairs.targets == "parallel":
        yield keys, f"{SECTION} weighs single pairs; remove it, or targets: parallel of the genpas key."
    if config[MIXING] is not None:
        yield keys, f"{SECTION} and {MIXING} are two training losses; remove one of the keys."


def loss_of_epoch(trainer: Trainer, train_data: Any, epoch: int) -> Any:
    """Return the loss function of this epoch. None in the warm-up means the model's own loss."""
    section: PersonaliserConfig | None = trainer.config[SECTION]
    if section is None:
        return None
    make = partial(PersonalisedLoss, trainer.config, section, trainer.model, train_data)
    return loss_after_warmup(trainer, section, epoch, make, "DR4SR+ weighs pairs")


class PersonalisedLoss:
    """A model's training loss with a weight for every pair. It replaces `model.calculate_loss`.

    The loss is Σ w l / Σ w over the batch. Equal weights give the model's own loss to the bit. The personaliser takes
    a step before every `interval`-th batch after the warm-up. Its inner loss is the loss of this batch. Its outer
    loss is the model's own loss on a batch of original pairs. That batch depends on seed, epoch and step alone.
    """

    def __init__(self, config: Config, section: PersonaliserConfig, model: Any, train_data: PairDataLoader) -> None:
        if not config["single_spec"]:
            raise InputError(f"{SECTION} trains in one process; remove the key or train with one.")
        if not train_data._dataset.n_added:
            raise InputError(
                f"{SECTION} weighs added sequences, and the data set {config['dataset']} has none. Export a store that "
                f"`genpas regenerate` made, or remove the {SECTION} key."
            )
        self.section, self.model = section, model
        self.losses = HistoryLoss(model, config["loss_type"], SECTION, trim=train_data.trim)
        self.step_size = config["learning_rate"] if section.step is None else section.step
        self.device = torch.device(config["device"])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config["seed"])
            self.personaliser = Personaliser(model.item_embedding.embedding_dim, section.hidden).to(self.device)
        self.optimiser = torch.optim.Adam(self.personaliser.parameters(), lr=section.learning_rate)
        saved = getattr(model, STATE, None)
        if saved is not None:
            self.personaliser.load_state_dict(saved["personaliser"])
            self.optimiser.load_state_dict(saved["optimiser"])
        self.steps_per_epoch = len(train_data)
        self.originals = _originals(train_data)
        self.epoch, self.step = section.warmup_epochs, 0
        self._keep_state()

    def start_epoch(self, epoch: int) -> None:
        """Let the next call be the first batch of this epoch."""
        self.epoch, self.step = epoch, 0

    def __call__(self, interaction: Any) -> Tensor:
        """Return the weighted loss of a batch; every `interval`-th call moves the personaliser first."""
        batches = (self.epoch - self.section.warmup_epochs) * self.steps_per_epoch + self.step
        self.step += 1
        if batches and batches % self.section.interval == 0:
            self._move(interaction, batches // self.section.interval)
        with torch.no_grad():
            weights = self.weights(interaction)
        return self._weighted(interaction, weights)

    def weights(self, interaction: Any) -> Tensor:
        """Return the weights `float [B]` in (0, 1) of a batch's pairs."""
        vectors = self.model.item_embedding
        histories, targets = interaction[self.model.ITEM_SEQ], interaction[self.model.POS_ITEM_ID]
        padded = (histories == 0)[..., None]
        made: Tensor = self.personaliser(vectors(histories).masked_fill(padded, 0), vectors(targets))
        return made

    def original_batch(self, number: int) -> Any:
        """Return the batch of original pairs for the personaliser's step `number`. Steps start at 1."""
        epoch, step = divmod(number - 1, self.originals._n_steps())
        # The class's method: torch's loader keeps a method of the loader that this one is a copy of.
        return PairDataLoader.collate_fn(self.originals, Step(epoch, step))

    def _weighted(self, interaction: Any, weights: Tensor) -> Tensor:
        encoded = self.losses(interaction)
        single = self.losses.single(encoded)
        # The model's own loss plus a change that is exactly 0 if all weights are equal.
        return encoded.loss + ((relative_weights(weights) - 1) * single).mean()

    def _move(self, interaction: Any, number: int) -> None:
        original = self.original_batch(number).to(self.device)
        cuda = [self.device] if self.device.type == "cuda" else []
        # cuDNN's recurrent layers have no second derivative, and half precision has too few digits for one.
        with (
            torch.random.fork_rng(devices=cuda),
            torch.backends.cudnn.flags(enabled=False),
            torch.autocast(self.device.type, enabled=False),
        ):
            outer_step(
                self._weighted(interaction, self.weights(interaction)),
                self.losses(original).loss,
                [parameter for parameter in self.model.parameters() if parameter.requires_grad],
                self.personaliser,
                self.optimiser,
                step=self.step_size,
                terms=self.section.terms,
            )
        self._keep_state()

    def _keep_state(self) -> None:
        names = getattr(self.model, "other_parameter_name", [])
        self.model.other_parameter_name = names if STATE in names else [*names, STATE]
        state = {"personaliser": self.personaliser.state_dict(), "optimiser": self.optimiser.state_dict()}
        setattr(self.model, STATE, state)


def _originals(train_data: PairDataLoader) -> PairDataLoader:
    """Return a copy of a loader with unaugmented pairs of the original sequences alone."""
    section = genpas_config(train_data.config)
    assert section is not None
    loader = copy.copy(train_data)
    seed = (train_data.config["seed"] + 1) % 2**64  # draws of its own
    loader.stream = pair_stream(train_data._dataset.original_view(), section.policy, seed=seed)
    loader.sample_size = loader.stream.size
    return loader
