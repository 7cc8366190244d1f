"""Train a RecBole sequential model of any class with its tables sharded over ranks.

    batch.features ──> EmbeddingCollection (sharded, fused optimizer) ──> rows ──> RecBole model ──> loss
      history, target,   one lookup a batch, where pipelines see it        history rows padded; own rows   losses.py
      all | negatives                                                      or negatives for the output

With targets "parallel" the batch holds windows (`batch.WindowBatch`). A causal model returns its hidden states at
all positions and every item of a window is a target of one forward pass. On a CPU histories are encoded in groups of
similar length. Each group is padded to its longest history.

`shard` replaces the model's `item_embedding` by a module that returns the rows already looked up. A model with other
tables names its layer in `sharded_as` (`recbole_ext.models.contract`).
"""

# ruff: noqa: E402 – a torchrec that cannot be imported is explained before it is imported

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, TypeVar

from torchrec_ext.import_guard import require_torchrec

require_torchrec()

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torchrec.distributed.model_parallel import DistributedModelParallel
from torchrec.sparse.jagged_tensor import JaggedTensor, KeyedJaggedTensor

from genpas_plugins.neural.layers.dropout import cheap_dropout
from genpas_plugins.neural.layers.length_groups import LengthOrder
from genpas_plugins.neural.layers.sampled_losses import sampled_losses
from genpas_plugins.settings.loss import LossConfig
from genpas_plugins.support.errors import InputError, nearest
from recbole_ext.model_probe import every_position
from recbole_ext.models.contract import ITEMS, PARALLEL, SHARDING, require, sharded_as
from torchrec_ext.batch import WindowBatch
from torchrec_ext.losses import (
    gathered_softmax_loss,
    global_mean,
    row_block,
    vocab_parallel_loss,
)
from torchrec_ext.sharding_plan import SHARDINGS
from torchrec_ext.tables import (
    OPTIMIZERS,
    Layer,
    Step,
    Table,
    check_columns,
    embedding_at,
    layer_of,
    pad_groups,
    padded_length,
    shard_tables,
)
from torchrec_ext.tiger import check_output, tiger_layer

BatchT = TypeVar("BatchT", bound=Any)
TARGETS = ("single", "parallel")
SAMPLED_SOFTMAX = LossConfig(name="sampled_softmax", negatives=1)
# Features that are looked up, by output layer; `target` is always read from the batch.
FEATURES = {
    "vocab_parallel": ("history", "all"),
    "gather": ("history", "all"),
    "sampled": ("history", "target", "negatives"),
}


class OutputLayer(Layer):
    """Runs the RecBole model on the looked-up rows and computes the loss over the items' rows.

    Parameters
    ----------
    model : the RecBole model; its `item_embedding` is the table
    n_rows : rows of the item table, padding included
    output : "vocab_parallel", "gather" or "sampled"
    log_q : float [n_rows], log-probabilities of negatives, for "sampled"
    group : process group over which the table is sharded
    targets : "single", or "parallel" for a causal model, which then takes windows too
    loss : which loss, for "sampled"
    """

    def __init__(
        self,
        model: nn.Module,
        n_rows: int,
        output: str,
        log_q: Tensor | None,
        group: dist.ProcessGroup,
        *,
        targets: str = "single",
        loss: LossConfig = SAMPLED_SOFTMAX,
    ) -> None:
        super().__init__(model, [Table("item", "item_embedding", FEATURES[output])], n_rows, group)
        self.output = output
        self.targets = targets
        self.loss = loss
        self.log_q: Tensor | None
        self.register_buffer("log_q", log_q, persistent=False)

    def forward(self, rows: Mapping[str, JaggedTensor], batch: Any) -> Step:
        """Return loss and hidden states of one batch: [T, D] for windows."""
        windows = isinstance(batch, WindowBatch)
        if windows and self.targets != "parallel":
            raise InputError(
                "The batch holds windows, and whether the model is causal was not checked. Call shard() with "
                'targets="parallel", or use batches of pairs.'
            )
        at = (batch.row, batch.place) if windows else None
        hidden = self.hidden(rows["history"], batch.features["history"], at, width=getattr(batch, "width", None))
        targets = batch.features["target"].values().long()
        weights, count = getattr(batch, "weights", None), len(batch) if windows else None
        if self.output == "vocab_parallel":
            loss = vocab_parallel_loss(
                hidden, self._own(rows), targets, weights, n_rows=self.n_rows, group=self.group, count=count
            )
            return Step(loss, hidden.detach())
        losses = self._losses(hidden, targets, rows, batch)
        return Step(global_mean(losses, weights, self.group, count), hidden.detach())

    def hidden(
        self,
        rows: JaggedTensor,
        history: JaggedTensor,
        at: tuple[Tensor, Tensor] | None = None,
        *,
        width: int | None = None,
    ) -> Tensor:
        """Return the model's hidden states: float [B, D] or [T, D] at the places `at`.

        Parameters
        ----------
        rows : float [sum, D], looked up for the histories
        history : int64, jagged histories
        at : history and place in it of each state, int64 [T] each
        width : of the batch; see `padded_length`
        """
        lengths, table = history.lengths().long(), self.stand_in(self.tables[0])
        longest = padded_length(lengths, int(self.model.max_seq_length), width)  # type: ignore[arg-type]  # nn.Module hides it
        # Groups cost kernels, and a GPU waits to know them.
        by_length = (
            LengthOrder.of(lengths) if lengths.device.type == "cpu" else LengthOrder.whole(len(lengths), longest)
        )
        parts = []
        with every_position(self.model) if at else nullcontext(), cheap_dropout(self.model):
            for ids, dense, lengths in pad_groups(by_length, history, rows):
                with table.holding((ids, dense)):
                    parts.append(self.model(ids, lengths))
        return by_length.states(parts, at)

    def _losses(self, hidden: Tensor, targets: Tensor, rows: Mapping[str, JaggedTensor], batch: Any) -> Tensor:
        if self.output == "sampled":
            negatives = batch.features["negatives"].values().long()
            assert self.log_q is not None, "shard() sets log_q for sampled"
            return sampled_losses(
                self.loss,
                hidden,
                rows["target"].values(),
                rows["negatives"].values(),
                targets=targets,
                negatives=negatives,
                log_q=self.log_q[negatives],
            )
        return gathered_softmax_loss(hidden, self._own(rows), targets, n_rows=self.n_rows, group=self.group)

    def _own(self, rows: Mapping[str, JaggedTensor]) -> Tensor:
        """Return the looked-up rows of this rank's block. Raises InputError where the batch lists others."""
        own: Tensor = rows["all"].values()
        block = row_block(self.n_rows, dist.get_rank(self.group), dist.get_world_size(self.group))
        if len(own) != len(block):
            raise InputError(
                f"Feature 'all' of the batch lists {len(own)} rows; this rank's block of the item table has "
                f"{len(block)}, from {block.start} to {block.stop - 1}. Make the batch with with_output_rows()."
            )
        return own


def shard(
    model: nn.Module,
    *,
    sharding: str = "row_wise",
    output: str = "vocab_parallel",
    targets: str = "single",
    optimizer: str = "row_wise_adagrad",
    learning_rate: float = 0.01,
    eps: float = 1e-8,
    log_q: Tensor | None = None,
    loss: LossConfig = SAMPLED_SOFTMAX,
    device: torch.device | str = "cpu",
    process_group: dist.ProcessGroup | None = None,
    memory_per_rank: int | None = None,
    table_type: str = "float32",
    cached: bool = False,
) -> DistributedModelParallel:
    """Move a RecBole model's tables into a sharded `EmbeddingCollection` and wrap all for distributed training.

    Every rank calls it with a model of the same weights (same seed) and keeps its part of the tables. The model
    object changes: other modules take the tables' places. The dense parameters (`dense_parameters`) need an
    ordinary optimizer. Their gradients are averaged at the end of `backward` (`GradientMean`). The tables are
    updated during `backward`.

    Padding behaves as with `padding_idx=0`: row 0 learns nothing from histories. Row 0 of an item table takes part
    in the full softmax as in the unsharded model.

    Parameters
    ----------
    model : with what `contract.SHARDING` requires; its batches go through `with_output_rows`. The batches of a
        model with `sharded_as` go through `Layer.with_features`
    sharding : "row_wise", "table_wise", "column_wise" or "planner" (TorchRec's planner chooses among the three)
    output : "vocab_parallel" and "gather" are exact, "sampled" is not; no effect for a model with `sharded_as`
    targets : "single" or "parallel" to train on windows (`batch.WindowBatch`)
    optimizer : "row_wise_adagrad", "adagrad" or "sgd"; "adam" on CUDA only
    learning_rate, eps : of the fused optimizer
    log_q : log-probabilities of negatives, float [n_items]; None: uniform over the items from 1 on
    loss : of "sampled"; its number of negatives is not read because the batches have them
    device : where this rank computes
    process_group : default: all ranks
    memory_per_rank : bytes that the tables may take on a rank
    table_type : "float32" or "float16" for half the memory; fbgemm then rounds updates at random and two runs
        differ
    cached : whether the tables are in the host's memory with a cache of their rows on the GPU (fbgemm's UVM
        caching)

    Raises
    ------
    InputError
        For unknown names or a missing process group. For a model that cannot be sharded or trained on windows. For
        Adam on a CPU or a table that is too large.
    """
    device = torch.device(device)
    check_names(sharding, output, optimizer)
    check_optimizer(optimizer, device)
    check_cache(cached, device)
    if not dist.is_initialized():
        raise InputError(
            "No process group: call torch.distributed.init_process_group first, or start the program with torchrun."
        )
    group = process_group if process_group is not None else _world()
    check_choices(model, output, targets)
    if targets == "parallel":
        require(model, PARALLEL, "CE")
    if sharded_as(model) == ITEMS:
        layer: Layer = item_layer(model, group, output=output, targets=targets, log_q=log_q, loss=loss)
    else:
        layer = LAYERS[sharded_as(model)](model, group)
    return shard_tables(
        layer,
        sharding=sharding,
        optimizer=optimizer,
        learning_rate=learning_rate,
        eps=eps,
        device=device,
        memory_per_rank=memory_per_rank,
        table_type=table_type,
        cached=cached,
    )


def with_output_rows(batch: BatchT, key: str, ids: Tensor) -> BatchT:
    """Return a batch with one more feature: the rows that the output layer needs.

    Parameters
    ----------
    batch : a dataclass with `features` of at least one pair, for example a PairBatch
    key : "all", or "negatives" for sampled
    ids : int64, the rows of `losses.row_block` for "all", the drawn items for "negatives"
    """
    features: KeyedJaggedTensor = batch.features
    # Each pair lists a part of them: on a GPU fbgemm gives a pair's list one warp, however long it is.
    share, rest = divmod(len(ids), features.stride())
    shares = features.lengths().new_full((features.stride(),), share)
    shares[:rest] += 1
    more = KeyedJaggedTensor(
        keys=[key, *features.keys()],
        values=torch.cat([ids.to(features.values()), features.values()]),  # a batch finds its targets at the end
        lengths=torch.cat([shares, features.lengths()]),
        length_per_key=[len(ids), *features.length_per_key()],
    )
    return dataclasses.replace(batch, features=more)


def own_rows(sharded: DistributedModelParallel) -> Tensor:
    """Return the int64 rows that all batches of this rank list under "all"."""
    layer = output_layer(sharded)
    rank, world_size = dist.get_rank(layer.group), dist.get_world_size(layer.group)
    block = row_block(layer.n_rows, rank, world_size)
    return torch.arange(block.start, block.stop, device=sharded.device)


def output_layer(sharded: DistributedModelParallel) -> OutputLayer:
    """Return the layer of a model with an item table. Raises InputError for a model with another layer."""
    layer = layer_of(sharded)
    if not isinstance(layer, OutputLayer):
        raise InputError(f"{type(layer.model).__name__} has no output layer over items; make its batches otherwise.")
    return layer


def _world() -> dist.ProcessGroup:
    world = dist.group.WORLD
    assert world is not None, "checked by is_initialized"
    return world


def check_names(sharding: str, output: str, optimizer: str) -> None:
    """Raise InputError for a name that `shard` does not know."""
    for name, value, known in (
        ("sharding", sharding, SHARDINGS),
        ("output", output, FEATURES),
        ("optimizer", optimizer, OPTIMIZERS),
    ):
        if value not in known:
            raise InputError(f"{name} {value!r} is unknown.{nearest(value, known)}")


def check_choices(model: Any, output: str, targets: str) -> None:
    """Raise InputError for unknown targets or an output layer that the model or its class lacks."""
    if targets not in TARGETS:
        raise InputError(f"targets {targets!r} is unknown.{nearest(targets, TARGETS)}")
    if sharded_as(model) != ITEMS:
        check_output(output)


def check_optimizer(optimizer: str, device: torch.device) -> None:
    """Raise InputError if fbgemm cannot run the item table's optimizer on the device."""
    if optimizer == "adam" and device.type == "cpu":
        raise InputError(
            "optimizer 'adam' for the item table needs a CUDA device: fbgemm has no fused Adam for the CPU. "
            "Use row_wise_adagrad, adagrad or sgd."
        )


def check_cache(cached: bool, device: torch.device) -> None:
    """Raise InputError for a cache of table rows on a device without its own memory."""
    if cached and device.type == "cpu":
        raise InputError("cached keeps table rows in a GPU's memory, and this run is on a CPU. Remove the key.")


def item_layer(
    model: Any, group: dist.ProcessGroup, *, output: str, targets: str, log_q: Tensor | None, loss: LossConfig
) -> OutputLayer:
    """Return the layer of a model with an item table. Raises InputError for a model that cannot be sharded."""
    embedding = embedding_at(model, "item_embedding")
    require(model, SHARDING, getattr(model, "loss_type", "CE"))
    assert embedding is not None, "required for sharding"
    check_columns(model, "item", embedding.embedding_dim, "hidden_size (embedding_size in GRU4Rec)")
    n_rows = embedding.num_embeddings
    log_q = _proposal(log_q, n_rows) if output == "sampled" else log_q
    return OutputLayer(model, n_rows, output, log_q, group, targets=targets, loss=loss)


LAYERS: dict[str, Callable[[Any, dist.ProcessGroup], Layer]] = {"tokens": tiger_layer}
"""How the layer of a model with tables of its own is made, by the model's `sharded_as`."""


def _proposal(log_q: Tensor | None, n_rows: int) -> Tensor:
    if log_q is None:
        return -torch.full((n_rows,), float(max(n_rows - 1, 1))).log()
    if tuple(log_q.shape) != (n_rows,):
        raise InputError(f"log_q has shape {tuple(log_q.shape)}; the item table has {n_rows} rows, padding included.")
    return log_q.detach().float()
