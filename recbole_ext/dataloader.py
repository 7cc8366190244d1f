"""RecBole's TrainDataLoader over the addressable stream: a batch is a step number until it is needed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.utils.data
from recbole.data.dataloader import TrainDataLoader
from recbole.data.interaction import Interaction
from recbole.data.transform import construct_transform
from recbole.utils import ModelType

from genpas_plugins import pair_stream
from genpas_plugins.augment import augment_stream
from genpas_plugins.neural.device.device_batch import DeviceBatch, order_by_length
from genpas_plugins.neural.layers.length_groups import LengthOrder
from genpas_plugins.sampling.batch import Batch
from genpas_plugins.sampling.protocol import PairStream, Stream
from genpas_plugins.sampling.replay import ReplayStream
from genpas_plugins.sampling.stream import window_stream
from genpas_plugins.support.array_types import Int64
from recbole_ext import growth
from recbole_ext.dataset import Columns, WindowDataset, as_tensor
from recbole_ext.device_draws import device_draws
from recbole_ext.genpas_key import genpas_config
from recbole_ext.masked_objective import is_masked, masked_fields, operators_with_mask
from recbole_ext.trimming import DrawnInteraction

TARGETS, TARGET_WEIGHT = "_targets", "_target_weight"
"""Fields of a batch under `targets: parallel`: the item after each item of the history, and its weight."""


class Step(NamedTuple):
    """The address of a batch."""

    epoch: int
    step: int


class Steps(torch.utils.data.Sampler[Step]):
    """The steps of an epoch in order. A new iterator starts the next epoch or the epoch of `set_epoch`."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Let the next iterator run through this epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Step]:
        # A generator, so that an epoch begins with its first step: with workers torch makes an extra iterator.
        epoch, self.epoch = self.epoch, self.epoch + 1
        for step in range(self.count):
            yield Step(epoch, step)

    def __len__(self) -> int:
        return self.count


class Addresses(torch.utils.data.Dataset[Step]):
    """The data set for torch's DataLoader: item `address` is the address itself."""

    def __getitem__(self, address: Step) -> Step:
        return address


class PairDataLoader(TrainDataLoader):
    """RecBole's training loader with pairs drawn from the policy of the `genpas` key.

    Step t of an epoch is the pairs `[t G, (t + 1) G)` of the stream. G is the batch of all processes together. Each
    process takes a contiguous part. Workers and resuming do not change a pair. RecBole draws negatives and random
    transforms from global random states.

    With `targets: parallel` a batch is windows with train_batch_size targets on average. With `train_users` the data
    set holds the kept users alone. `replay` is the stream of a section with this key, before it is augmented.
    """

    stream: Stream
    step: int

    def __init__(self, config: Any, dataset: WindowDataset, sampler: Any, shuffle: bool = False) -> None:
        # Replaces the __init__ of TrainDataLoader and AbstractDataLoader, which list every index of the epoch.
        section = genpas_config(config)
        assert section is not None
        dataset = dataset.of_users(section.train_users, config["seed"])
        self.logger = dataset.logger
        self._set_neg_sample_args(config, dataset, config["MODEL_INPUT_TYPE"], config["train_neg_sample_args"])
        view, policy, seed, per_epoch = dataset.training_view(), section.policy, config["seed"], section.pairs_per_epoch
        self.replay: ReplayStream | None = None
        if section.targets == "parallel":
            limit = dataset.max_item_list_len
            self.stream = window_stream(view, policy, max_length=limit, seed=seed, pairs_per_epoch=per_epoch)
        else:
            drawn: PairStream = pair_stream(view, policy, seed=seed, pairs_per_epoch=per_epoch)
            if section.replay is not None:
                drawn = self.replay = growth.replay_stream(dataset, view, section, seed)
            operators = operators_with_mask(config, section.augment)
            self.stream = augment_stream(drawn, operators, with_rows=True)
        self.sample_size = self.stream.size
        self.trim = section.trim
        self.shuffle = shuffle
        self.config = config
        self._dataset = dataset
        self._sampler = sampler
        self.model = None
        self.rank, self.world_size = 0, 1
        if not config["single_spec"]:
            self.rank, self.world_size = torch.distributed.get_rank(), config["world_size"]
        self._init_batch_size_and_step()
        self.generator = torch.Generator()
        self.generator.manual_seed(config["seed"])
        self.masked = is_masked(config)
        self.transform = construct_transform(config)  # it also names the fields of a masked model
        self.is_sequential = config["MODEL_TYPE"] == ModelType.SEQUENTIAL
        self.on_device = device_draws(config, self.stream, dataset, negatives=self._samples_negatives)
        torch.utils.data.DataLoader.__init__(
            self,
            dataset=Addresses(),
            batch_size=None,
            sampler=Steps(self._n_steps()),
            collate_fn=self.collate_fn,  # type: ignore[arg-type]  # without batch_size it takes one address
            num_workers=config["worker"],
            generator=self.generator,
        )

    def _init_batch_size_and_step(self) -> None:
        """Set this process's number of examples a batch. The batch size counts targets."""
        super()._init_batch_size_and_step()
        self.step = max(1, round(self.step / self.stream.targets_per_example))
        self.step = max(1, self.step // self.world_size)

    def _n_steps(self) -> int:
        return math.ceil(self.sample_size / (self.step * self.world_size))

    def update_config(self, config: Any) -> None:
        """Take the batch size of another configuration; RecBole calls this on a saved loader."""
        super().update_config(config)
        self.sampler.count = self._n_steps()

    def part(self, step: int) -> tuple[int, int]:
        """Return the first example of this process's part of a step and the part's size. The epoch wraps around."""
        first = step * self.step * self.world_size
        total = min(self.step * self.world_size, self.sample_size - first)
        # Every process needs a part of the same size: the last batch wraps around, as in DistributedSampler.
        share = math.ceil(total / self.world_size)
        return (first + self.rank * share) % self.sample_size, share

    def indices(self, step: int) -> Int64:
        """Return the stream indices `int64 [n]` of this process's part of a step."""
        first, count = self.part(step)
        return np.asarray((first + np.arange(count)) % self.sample_size)

    def collate_fn(self, address: Step) -> Interaction:
        """Draw the batch at this address and return it as RecBole's."""
        limit = self._dataset.max_item_list_len
        if self.on_device is None:
            return self.interaction(self.stream.batch(address.epoch, self.indices(address.step), limit))
        return self.interaction(self.on_device.batch(address.epoch, *self.part(address.step), limit))

    def interaction(self, batch: Batch | DeviceBatch) -> Interaction:
        """Gather and join a batch of the stream and then transform it and sample negatives."""
        dataset, there = self._dataset, self.on_device
        several, limit = self.stream.unit == "windows", dataset.max_item_list_len
        last = batch.targets.rows[batch.targets.offsets[1:] - 1]
        grouped = self.trim or several
        if there is None or isinstance(batch, Batch):
            columns, longest = Columns(dataset.owner, dataset.store.columns), int(batch.histories.lengths.max())
        else:
            columns, longest = there.columns, batch.sizes.width
        width = longest if grouped else limit
        data = dataset.windows(batch.histories, last, width, columns)
        data = (dataset if there is None else there).join(data)
        if self.masked:
            items = dataset.store.columns[self.iid_field]
            data.update(Interaction(masked_fields(self.config, data, batch.histories, items, dataset.item_num)))
        else:
            data = self.transform(dataset, data)
        data = self._with_targets(data, batch, columns) if several else self._neg_sampling(data)
        if isinstance(batch, DeviceBatch):
            order = (
                LengthOrder(order_by_length(batch.histories.lengths, limit), batch.sizes.groups) if grouped else None
            )
            return DrawnInteraction(data.interaction, {}, order, batch.sizes.targets)
        read = [dataset.item_list_length_field, TARGET_WEIGHT] if several else [dataset.item_list_length_field]
        return DrawnInteraction(data.interaction, {name: data[name] for name in read})

    @property
    def _samples_negatives(self) -> bool:
        return bool(self.neg_sample_args["distribution"] != "none" and self.neg_sample_args["sample_num"] != "none")

    def _with_targets(self, data: Interaction, batch: Batch | DeviceBatch, columns: Columns) -> Interaction:
        """Add targets and weights as wide as the lists. Add a negative for each target if the loss needs negatives."""
        items, width = columns.fields[self.iid_field], data[self._dataset._list_fields[self.iid_field]].shape[1]
        items, place, offsets, weights = map(as_tensor, (items[batch.targets.rows], *batch.targets[1:], batch.weights))
        row = torch.repeat_interleave(offsets.diff(), output_size=len(items))
        # The loss divides by the number of histories, of which an example may have several.
        fields = {TARGETS: items, TARGET_WEIGHT: weights * (len(data) / batch.n_examples)}
        if self._samples_negatives:
            users = data[self.uid_field][row].numpy()
            fields[self.neg_item_id] = self._sampler.sample_by_user_ids(users, items.numpy(), 1)
        for name, values in fields.items():
            data.update(Interaction({name: values.new_zeros(len(data), width).index_put_((row, place), values)}))
        return data


def loader_class(config: Any, phase: str) -> type[PairDataLoader] | None:
    """Return the loader for a phase of a run or None for RecBole's own."""
    return PairDataLoader if phase == "train" and genpas_config(config) is not None else None


def start_epoch(train_data: Any, epoch: int) -> None:
    """Let the loader draw this epoch next."""
    if isinstance(train_data, PairDataLoader):
        train_data.sampler.set_epoch(epoch)
