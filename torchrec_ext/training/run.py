"""A run in memory: the sharded model, its optimizers, the stream of batches and the record."""

# ruff: noqa: E402 – a torchrec that cannot be imported is explained before it is imported

from __future__ import annotations

import itertools
import json
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from torchrec_ext.import_guard import require_torchrec

require_torchrec()

import torch
import torch.distributed as dist
from recbole.utils import get_model, init_seed
from torch import Tensor
from torchrec.distributed.model_parallel import DistributedModelParallel
from torchrec.distributed.train_pipeline.pipeline_stage import PipelineStage

import recbole_ext  # noqa: F401 – makes RecBole importable with today's numpy
from genpas_plugins.neural.device.device_stream import has_twin
from genpas_plugins.neural.layers.negatives import Proposal
from genpas_plugins.sampling.random_stream import philox
from genpas_plugins.settings.loss import LossConfig
from genpas_plugins.settings.torchrec import TorchRecConfig
from genpas_plugins.support.errors import InputError
from recbole_ext import growth
from recbole_ext.genpas_key import genpas_config
from recbole_ext.training_settings import rate_factor, validation_loader
from torchrec_ext.batch import PairBatch
from torchrec_ext.evaluation import check_catalogue
from torchrec_ext.pipeline_stage import genpas_stage, stage_batches
from torchrec_ext.prefetch import prefetch
from torchrec_ext.shard import SAMPLED_SOFTMAX, OutputLayer, own_rows, shard, with_output_rows
from torchrec_ext.stream import GenPASStream
from torchrec_ext.tables import dense_parameters, layer_of, set_table_rate, set_table_steps
from torchrec_ext.training.ranks import Ranks
from torchrec_ext.training.torchrec_section import OPTIMIZERS, sampled_loss

READ_AHEAD = 4  # batches that the reading thread is ahead on CPU

DROPOUT = 0xFFFFFFFD  # the block of the random stream that seeds dropout. Pairs use 0 and 1.

_MAX_RANKS = 2**20


class Loaders(NamedTuple):
    """The result of RecBole's `data_preparation`. `train.stream` is the stream of pairs."""

    train: Any
    valid: Any
    test: Any


@dataclass
class Record:
    """What a run remembers beside weights and position: plain values in every checkpoint."""

    loss: float = 0.0  # sum of the global mean losses of this epoch
    steps: int = 0
    recent_loss: float = 0.0  # the same since the loss was logged last
    recent_steps: int = 0
    best_score: float | None = None  # of validation, epochs counted from 1. None before the first.
    best_epoch: int | None = None
    not_better: int = 0  # validations since the best, as RecBole counts them
    stopped: bool = False  # whether RecBole's early stopping has ended the run
    seconds: float = 0.0  # of the whole run without restarts
    training_seconds: float = 0.0
    curve: list[dict[str, Any]] = field(default_factory=list)  # one entry an epoch
    draws: int = 1  # how the run's epochs are drawn; 1 in a record without it


@dataclass
class Run:
    """The objects of a run."""

    config: Any
    section: TorchRecConfig
    loaders: Loaders
    ranks: Ranks
    device: torch.device
    stream: GenPASStream
    sharded: DistributedModelParallel
    optimizer: torch.optim.Optimizer
    loss: LossConfig | None  # with sampled negatives, of `proposal`
    proposal: Proposal | None
    stage: PipelineStage | None
    record: Record
    validation: Any  # the loader of validation: `loaders.valid`, or a part of it by `validation_users`

    @property
    def steps_done(self) -> int:
        """Optimizer steps since the beginning."""
        return self.stream.epoch * self.stream.steps_per_epoch + self.stream.step

    @property
    def pairs_seen(self) -> int:
        """Pairs trained on since the beginning on all ranks. Of windows it is the expected number of targets."""
        stream = self.stream
        per_epoch = stream.stream.pairs_per_epoch
        done = min(stream.step * stream.batch_size, stream.size)
        return stream.epoch * per_epoch + round(done * (per_epoch / stream.size))

    def state(self) -> dict[str, Any]:
        """Return the content of a checkpoint: live tensors and the position as plain values."""
        names = {id(value): name for name, value in dense_parameters(self.sharded).items()}
        # `draws` is in the record: the keys must be the same in every earlier checkpoint.
        position = {name: value for name, value in self.stream.state_dict().items() if name != "draws"}
        return {
            "model": self.sharded.state_dict(),
            "table_optimizer": self.sharded.fused_optimizer.state_dict(),
            "optimizer": {names[id(value)]: dict(state) for value, state in self.optimizer.state.items()},
            "progress": {**position, "record": json.dumps(asdict(self.record))},
        }

    def set_rates(self) -> None:
        """Set the learning rates of model and tables for the stream's epoch by `learning_rate_decay`."""
        factor = rate_factor(self.config, self.stream.epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config["learning_rate"] * factor
        set_table_rate(self.sharded, self.section.learning_rate * factor)

    def go_on(self, progress: dict[str, Any]) -> None:
        """Take over the position and the record of a checkpoint."""
        record = Record(**json.loads(progress["record"]))
        self.stream.load_state_dict({**progress, "draws": record.draws})
        self.record = record
        set_table_steps(self.sharded, self.steps_done)


def prepare(config: Any, section: TorchRecConfig, loaders: Loaders, ranks: Ranks) -> Run:
    """Build and shard the model and make its optimizers and the stream of batches: a collective call."""
    device = config["device"]
    torch.backends.cuda.matmul.allow_tf32 = section.tf32
    pairs = loaders.train.stream
    stream = ranks.together(lambda: _batches_of(pairs, config, ranks))
    model = _model(config, loaders.train._dataset, ranks)
    loss = sampled_loss(config, section)
    proposal = None if loss is None else _proposal(loss, loaders.train, ranks).to(device)
    sharded = shard(
        model,
        sharding=section.sharding,
        output=section.output if loss is None else "sampled",
        targets="parallel" if pairs.unit == "windows" else "single",
        optimizer=section.optimizer,
        learning_rate=section.learning_rate,
        log_q=None if proposal is None else proposal.log_q,
        loss=loss or SAMPLED_SOFTMAX,
        device=device,
        memory_per_rank=section.memory_per_rank,
        table_type=section.table_type,
        cached=section.cached,
    )
    store = pairs.view.store
    check_catalogue(sharded, store.n_items)
    ranks.together(lambda: store.known_items(store.values))  # a GPU does not stop at an id out of range
    return Run(
        config=config,
        section=section,
        loaders=loaders,
        ranks=ranks,
        device=device,
        stream=stream,
        sharded=sharded,
        optimizer=dense_optimizer(config, list(dense_parameters(sharded).values())),
        loss=loss,
        proposal=proposal,
        # Other batches are made on the CPU by the reading thread. The pipeline copies them.
        stage=genpas_stage(stream, device) if _draws_on_device(config, pairs) else None,
        record=Record(draws=stream.stream.draws),
        validation=validation_loader(config, loaders.valid, ranks.say),
    )


def _draws_on_device(config: Any, stream: Any) -> bool:
    return bool(config["device"].type == "cuda" and config["genpas"].device == "auto" and has_twin(stream))


def dense_optimizer(config: Any, parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """Return RecBole's optimizer with its state made. A checkpoint can then be loaded into it."""
    kind = OPTIMIZERS[config["learner"].lower()]
    on_gpu = any(parameter.device.type == "cuda" for parameter in parameters)
    # One kernel for all parameters on a GPU; RMSprop has none.
    fused: dict[str, Any] = {"fused": True} if on_gpu and kind is not torch.optim.RMSprop else {}
    optimizer = kind(
        parameters,
        lr=config["learning_rate"],
        weight_decay=config["weight_decay"],  # type: ignore[call-arg]  # all of these take it
        **fused,
    )
    (group,) = optimizer.param_groups
    chosen = {name: group[name] for name in ("lr", "weight_decay")}
    # torch makes an optimizer's state in its first step, so take one that changes nothing.
    group.update(lr=0.0, weight_decay=0.0)
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    group.update(chosen)
    for state in optimizer.state.values():
        for value in state.values():
            if isinstance(value, Tensor):
                value.zero_()
    return optimizer


def batches(run: Run) -> Generator[PairBatch, None, None]:
    """Yield the remaining batches of an epoch with the output layer's rows. They are drawn ahead of training."""
    first = run.stream.step
    if run.stage is not None:
        source = stage_batches(run.stream.addresses(), [run.stage])
    else:
        source = prefetch((batch.pin_memory() for batch in iter(run.stream)), depth=READ_AHEAD)
    return _with_rows(run, source, first)


def step_seed(seed: int, epoch: int, step: int, rank: int) -> int:
    """Return the seed of dropout in a step on a rank: 64 bits of the random stream."""
    high, low = philox(seed, epoch, DROPOUT, [step * _MAX_RANKS + rank])[:2, 0].tolist()
    return int(high) << 32 | int(low)


def _with_rows(run: Run, source: Iterator[PairBatch], first: int) -> Generator[PairBatch, None, None]:
    # The pipeline asks for a batch on the stream that copies batches, so all of this runs there.
    layer = layer_of(run.sharded)
    source = (batch.to(run.device, non_blocking=True) for batch in source)
    if not isinstance(layer, OutputLayer):
        yield from map(layer.with_features, source)
        return
    rows = own_rows(run.sharded)
    seed, epoch = run.stream.stream.seed, run.stream.epoch
    for step, batch in zip(itertools.count(first), source, strict=False):
        if run.loss is None or run.proposal is None:
            yield with_output_rows(batch, "all", rows)
        else:
            drawn = run.proposal.draw(run.loss.negatives, seed=seed, epoch=epoch, step=step)
            yield with_output_rows(batch, "negatives", drawn)


def _model(config: Any, dataset: Any, ranks: Ranks) -> torch.nn.Module:
    """Return RecBole's model with the same weights on every rank: a collective call."""

    def make(**more: Any) -> torch.nn.Module:
        init_seed(config["seed"], config["reproducibility"])
        try:
            model: torch.nn.Module = get_model(config["model"])(config, dataset, **more)
        except (ValueError, NotImplementedError) as error:
            raise InputError(f"{config['model']} refuses these settings: {error}") from error
        section = genpas_config(config)
        if section is not None and section.warm_start is not None:
            growth.start_from(section.warm_start, model, dataset, config["seed"])
        return model

    if not hasattr(get_model(config["model"]), "shared_arguments"):
        return ranks.together(make)
    # Ranks could compute different values: sums of many threads differ in their last bits.
    made: Any = ranks.together(lambda: make() if ranks.rank == 0 else None)
    shared: list[dict[str, Any]] = [made.shared_arguments() if ranks.rank == 0 else {}]
    dist.broadcast_object_list(shared, 0, group=ranks.control)
    return ranks.together(lambda: make(**shared[0]))


def _batches_of(pairs: Any, config: Any, ranks: Ranks) -> GenPASStream:
    # As many examples as have train_batch_size targets on average.
    batch_size = max(1, round(config["train_batch_size"] / pairs.targets_per_example))
    name, size = pairs.unit, pairs.size
    meaning = "" if name == "pairs" else f" targets, {batch_size} {name}"
    remainder = size % batch_size
    if 0 < remainder < ranks.world_size <= batch_size:
        raise InputError(
            f"The last step of an epoch has {remainder} {name} for {ranks.world_size} ranks: an epoch has "
            f"{size} {name}, train_batch_size is {config['train_batch_size']}{meaning}. Change train_batch_size or "
            "genpas.pairs_per_epoch."
        )
    if batch_size < ranks.world_size:
        raise InputError(
            f"train_batch_size is {config['train_batch_size']}{meaning or ' pairs'} on all ranks together, too few for "
            f"{ranks.world_size} ranks."
        )
    return GenPASStream(
        pairs,
        batch_size=batch_size,
        max_length=config["MAX_ITEM_LIST_LENGTH"],
        rank=ranks.rank,
        world_size=ranks.world_size,
    )


def _proposal(loss: LossConfig, train_data: Any, ranks: Ranks) -> Proposal:
    """Return rank 0's proposal on every rank: sums of many threads differ in their last bits."""
    proposal = Proposal.of(growth.distribution(train_data), loss.uniform_share)
    for tensor in (proposal.log_q, proposal.cumulative):
        dist.broadcast(tensor, 0, group=ranks.control)
    return proposal
