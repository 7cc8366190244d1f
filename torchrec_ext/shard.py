"""Train a RecBole sequential model with its item table sharded over ranks; the model's class stays as it is.

    batch.features ──> EmbeddingCollection (sharded, fused optimizer) ──> rows ──> RecBole model (DDP) ──> loss
      history, target,   one lookup a batch, where pipelines see it        history rows padded; own rows   losses.py
      all | negatives                                                      or negatives for the output

`shard` replaces the model's `item_embedding` by a stand-in that hands the model the rows already looked up.
"""

# ruff: noqa: E402 – a torchrec that cannot be imported is explained before it is imported

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

from torchrec_ext.environment import require_torchrec

require_torchrec()

import torch
import torch.distributed as dist
from fbgemm_gpu.split_embedding_configs import EmbOptimType
from fbgemm_gpu.split_table_batched_embeddings_ops_common import BoundsCheckMode
from torch import Tensor, nn
from torchrec.distributed.embedding import EmbeddingCollectionSharder
from torchrec.distributed.model_parallel import DefaultDataParallelWrapper, DistributedModelParallel
from torchrec.distributed.types import ShardingEnv
from torchrec.modules.embedding_configs import EmbeddingConfig
from torchrec.modules.embedding_modules import EmbeddingCollection
from torchrec.optim.optimizers import in_backward_optimizer_filter
from torchrec.sparse.jagged_tensor import JaggedTensor, KeyedJaggedTensor

from genpas_plugins.errors import InputError, nearest
from torchrec_ext.losses import (
    gathered_softmax_loss,
    global_mean,
    row_block,
    sampled_softmax_loss,
    vocab_parallel_loss,
)
from torchrec_ext.sharding_plan import FBGEMM_ALIGNMENT, SHARDINGS, TABLE, plan_for

BatchT = TypeVar("BatchT", bound=Any)
# Features that are looked up, for each way of computing the output layer; `target` is read from the batch in any case.
FEATURES = {
    "vocab_parallel": ("history", "all"),
    "gather": ("history", "all"),
    "sampled": ("history", "target", "negatives"),
}
OPTIMIZERS = {
    "row_wise_adagrad": EmbOptimType.EXACT_ROWWISE_ADAGRAD,
    "adagrad": EmbOptimType.EXACT_ADAGRAD,
    "sgd": EmbOptimType.EXACT_SGD,
    "adam": EmbOptimType.ADAM,
}


class Step(NamedTuple):
    """What a forward pass gives: `loss` (scalar; see `losses.global_mean`) and `hidden` [B, D], detached.

    TorchRec's pipelines read such a pair as (loss, output): they train on the first and return the second.
    """

    loss: Tensor
    hidden: Tensor


class LookedUpRows(nn.Module):
    """Stands where the model's `item_embedding` stood: answers with the rows looked up for the batch in hand."""

    def __init__(self) -> None:
        super().__init__()
        self._held: tuple[Tensor, Tensor] | None = None

    @contextmanager
    def holding(self, ids: Tensor, rows: Tensor) -> Iterator[None]:
        """Answer `ids` (that very tensor) with `rows` [..., D] inside the block."""
        self._held = ids, rows
        try:
            yield
        finally:
            self._held = None

    def forward(self, ids: Tensor) -> Tensor:
        """Return the rows of `ids`. Raises RuntimeError for any other tensor than the one whose rows are held."""
        if self._held is None or self._held[0] is not ids:
            raise RuntimeError(
                "The model asks for rows of the sharded item table that were not looked up for this batch. A model can "
                "be sharded whose forward(item_seq, item_seq_len) embeds item_seq as it is given."
            )
        return self._held[1]


class OutputLayer(nn.Module):
    """Runs the RecBole model on the looked-up rows and computes the loss; pipelines skip it: nothing in it is sharded.

    Parameters
    ----------
    model : the RecBole model, with `LookedUpRows` as its `item_embedding`
    n_rows : rows of the item table, padding included
    output : "vocab_parallel", "gather" or "sampled"
    log_q : float tensor [n_rows], the negatives' log-probabilities, for "sampled"
    group : the process group over which the table is sharded
    """

    def __init__(
        self, model: nn.Module, n_rows: int, output: str, log_q: Tensor | None, group: dist.ProcessGroup
    ) -> None:
        super().__init__()
        self.model = model
        self.n_rows = n_rows
        self.output = output
        self.group = group
        self.log_q: Tensor | None
        self.register_buffer("log_q", log_q, persistent=False)

    def forward(self, rows: Mapping[str, JaggedTensor], batch: Any) -> Step:
        """Return loss and hidden states of one batch."""
        hidden = self.hidden(rows["history"], batch.features["history"])
        targets = batch.features["target"].values().long()
        losses = self._losses(hidden, targets, rows, batch)
        return Step(global_mean(losses, getattr(batch, "weights", None), self.group), hidden.detach())

    def hidden(self, rows: JaggedTensor, history: JaggedTensor) -> Tensor:
        """Return the model's hidden states [B, D] for jagged histories (int64) and their rows (float [sum, D])."""
        lengths = history.lengths().long()
        # Padding to the longest history is free speed; on a GPU knowing it would cost waiting for the device.
        longest = int(self.model.max_seq_length)  # type: ignore[arg-type]  # nn.Module's __getattr__ hides the int
        if lengths.device.type == "cpu":
            shortest, present = int(lengths.min()), int(lengths.max())
            if present > longest or shortest < 1:
                raise InputError(
                    f"The histories of this batch have {shortest} to {present} items, but the model takes 1 to "
                    f"{longest} (MAX_ITEM_LIST_LENGTH). Give the stream the model's maximum length."
                )
            longest = present
        ids = history.to_padded_dense(longest).long()
        padded = rows.to_padded_dense(longest)
        # What padding_idx=0 means: row 0 may be read in a history, and learns nothing from it.
        padded = torch.where((ids == 0)[..., None], padded.detach(), padded)
        stand_in = self.model.item_embedding
        if not isinstance(stand_in, LookedUpRows):
            raise RuntimeError("item_embedding was replaced after sharding; call shard() last.")
        with stand_in.holding(ids, padded):
            hidden: Tensor = self.model(ids, lengths)
        return hidden

    def _losses(self, hidden: Tensor, targets: Tensor, rows: Mapping[str, JaggedTensor], batch: Any) -> Tensor:
        if self.output == "sampled":
            negatives = batch.features["negatives"].values().long()
            assert self.log_q is not None, "shard() sets log_q for sampled"
            return sampled_softmax_loss(
                hidden,
                rows["target"].values(),
                rows["negatives"].values(),
                targets=targets,
                negatives=negatives,
                log_q=self.log_q[negatives],
            )
        own = rows["all"].values()
        block = row_block(self.n_rows, dist.get_rank(self.group), dist.get_world_size(self.group))
        if len(own) != len(block):
            raise InputError(
                f"Feature 'all' of the batch lists {len(own)} rows; this rank's block of the item table has "
                f"{len(block)}, from {block.start} to {block.stop - 1}. Make the batch with with_output_rows()."
            )
        loss = vocab_parallel_loss if self.output == "vocab_parallel" else gathered_softmax_loss
        return loss(hidden, own, targets, n_rows=self.n_rows, group=self.group)


class ShardableRecommender(nn.Module):
    """The item table and the rest of the model, side by side, as pipelines want them: `forward(batch) -> Step`."""

    def __init__(self, items: EmbeddingCollection, layer: OutputLayer) -> None:
        super().__init__()
        self.items = items
        self.layer = layer

    def forward(self, batch: Any) -> Step:
        """`batch.features` has the keys `history`, `target` and that of the output layer, from `with_output_rows`."""
        return self.layer(self.items(batch.features), batch)  # type: ignore[no-any-return]  # nn.Module.__call__ is Any


def shard(
    model: nn.Module,
    *,
    sharding: str = "row_wise",
    output: str = "vocab_parallel",
    optimizer: str = "row_wise_adagrad",
    learning_rate: float = 0.01,
    eps: float = 1e-8,
    log_q: Tensor | None = None,
    device: torch.device | str = "cpu",
    process_group: dist.ProcessGroup | None = None,
    memory_per_rank: int | None = None,
) -> DistributedModelParallel:
    """Move a RecBole model's item table into a sharded `EmbeddingCollection` and wrap both for distributed training.

    Every rank calls it with a model of the same weights (same seed); the table's rows are taken from `model`, whole,
    and cut. The model object is changed: `item_embedding` becomes a stand-in. Dense parameters go into
    DistributedDataParallel and take an ordinary optimizer (`dense_parameters`); the table is updated during `backward`.
    Padding behaves as with `padding_idx=0`: row 0 learns nothing from histories. As in the unsharded model, it takes
    part in the full softmax. Padded positions read zeros, not row 0, so a model whose output depends on what is at
    padded positions would differ (SASRec and GRU4Rec do not).

    Parameters
    ----------
    model : SASRec, GRU4Rec, or a RecBole model built like them: `item_embedding`, `forward(item_seq, item_seq_len)`, CE
    sharding : "row_wise", "table_wise", "column_wise", or "planner" (TorchRec's planner chooses among the three)
    output : "vocab_parallel", "gather" (both exact), or "sampled"
    optimizer : "row_wise_adagrad", "adagrad", "sgd"; "adam" on CUDA only
    learning_rate, eps : the fused optimizer's
    log_q : float tensor [n_items], log-probabilities from which negatives are drawn; None: uniform over items from 1 on
    device : where this rank computes
    process_group : default: all ranks
    memory_per_rank : bytes that the item table may take on a rank; the planner's limit, and a check for the others

    Raises
    ------
    InputError
        For unknown names, a model that cannot be sharded, Adam on CPU, a table too large, no process group.
    """
    device = torch.device(device)
    check_names(sharding, output, optimizer)
    check_optimizer(optimizer, device)
    if not dist.is_initialized():
        raise InputError(
            "No process group: call torch.distributed.init_process_group first, or start the program with torchrun."
        )
    group = process_group if process_group is not None else _world()
    table = _item_table(model)
    n_rows, dimension = table.shape
    if output == "sampled":
        log_q = _proposal(log_q, n_rows)
    collection = EmbeddingCollection(
        tables=[
            EmbeddingConfig(
                name=TABLE, num_embeddings=n_rows, embedding_dim=dimension, feature_names=list(FEATURES[output])
            )
        ],
        device=torch.device("meta"),
    )
    sharder = EmbeddingCollectionSharder(
        fused_params={
            "optimizer": OPTIMIZERS[optimizer],
            "learning_rate": learning_rate,
            "eps": eps,
            "bounds_check_mode": BoundsCheckMode.FATAL,  # the default reads row 0 for an id out of range
        }
    )
    plan = plan_for(collection, sharder, sharding, device=device, group=group, memory_per_rank=memory_per_rank)
    model.item_embedding = LookedUpRows()
    layer = OutputLayer(model.to(device), n_rows, output, log_q, group)
    sharded = DistributedModelParallel(
        ShardableRecommender(collection, layer.to(device)),
        env=ShardingEnv.from_process_group(group),
        device=device,
        plan=plan,
        sharders=[sharder],
        # Else DDP orders its buckets anew after its first step, and a resumed run adds up gradients in another order.
        data_parallel_wrapper=DefaultDataParallelWrapper(static_graph=False, find_unused_parameters=True),
    )
    for offsets, shard_weights in local_shards(sharded):
        rows, columns = (slice(at, at + size) for at, size in zip(offsets, shard_weights.shape, strict=True))
        shard_weights.copy_(table[rows, columns])
    return sharded


def with_output_rows(batch: BatchT, key: str, ids: Tensor) -> BatchT:
    """Return the batch (a dataclass with `features`) with one more feature: the rows that the output layer needs.

    Parameters
    ----------
    batch : a batch of at least one pair, for example a PairBatch
    key : "all", or "negatives" for sampled
    ids : int64 tensor; for "all" the rows of `losses.row_block`, for "negatives" the items drawn
    """
    features: KeyedJaggedTensor = batch.features
    # The first pair lists them all; in front, because the batch finds its targets at the end.
    of_first = features.lengths().new_zeros(features.stride())
    of_first[0] = len(ids)
    more = KeyedJaggedTensor(
        keys=[key, *features.keys()],
        values=torch.cat([ids.to(features.values()), features.values()]),
        lengths=torch.cat([of_first, features.lengths()]),
    )
    return dataclasses.replace(batch, features=more)


def own_rows(sharded: DistributedModelParallel) -> Tensor:
    """Return the rows, int64, that this rank's batches list under "all" – the same for every batch."""
    layer = output_layer(sharded)
    rank, world_size = dist.get_rank(layer.group), dist.get_world_size(layer.group)
    block = row_block(layer.n_rows, rank, world_size)
    return torch.arange(block.start, block.stop, device=sharded.device)


def dense_parameters(sharded: DistributedModelParallel) -> dict[str, nn.Parameter]:
    """Return the parameters, by name, that need an ordinary optimizer: all but the item table."""
    return dict(in_backward_optimizer_filter(sharded.named_parameters()))


def table_kernels(sharded: DistributedModelParallel) -> list[Any]:
    """Return fbgemm's kernels that look up and update this rank's pieces of the item table."""
    (recommender,) = (module for module in sharded.modules() if isinstance(module, ShardableRecommender))
    modules = (part for lookup in recommender.items._lookups for part in lookup.modules())
    return [part for part in modules if hasattr(part, "set_optimizer_step")]


def set_table_steps(sharded: DistributedModelParallel, steps: int) -> None:
    """Tell the table's optimizer how many steps it has done: fused Adam needs it, and no state_dict has it."""
    for kernel in table_kernels(sharded):
        kernel.set_optimizer_step(steps)


def local_shards(sharded: DistributedModelParallel) -> list[tuple[tuple[int, int], Tensor]]:
    """Return this rank's pieces of the item table: ((first row, first column), weights [rows, columns], not a copy)."""
    (parameter,) = (
        value for name, value in sharded.state_dict().items() if name.endswith(f"embeddings.{TABLE}.weight")
    )
    return [((*piece.metadata.shard_offsets,), piece.tensor.detach()) for piece in parameter.local_shards()]


def whole_table(sharded: DistributedModelParallel) -> Tensor:
    """Return the item table [n_items, D], whole, on every rank: a collective call, for evaluation and export."""
    layer = output_layer(sharded)
    pieces = local_shards(sharded)
    dimension = torch.tensor(max((at[1] + piece.shape[1] for at, piece in pieces), default=0), device=sharded.device)
    dist.all_reduce(dimension, op=dist.ReduceOp.MAX, group=layer.group)
    table = torch.zeros(layer.n_rows, int(dimension), device=sharded.device)
    for (row, column), piece in pieces:
        table[row : row + piece.shape[0], column : column + piece.shape[1]] = piece
    dist.all_reduce(table, group=layer.group)
    return table


def output_layer(sharded: DistributedModelParallel) -> OutputLayer:
    """Return the part of a sharded model that holds the RecBole model (`.model`) and computes the loss."""
    (layer,) = (module for module in sharded.modules() if isinstance(module, OutputLayer))
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


def check_optimizer(optimizer: str, device: torch.device) -> None:
    """Raise InputError if fbgemm cannot run the item table's optimizer on the device."""
    if optimizer == "adam" and device.type == "cpu":
        raise InputError(
            "optimizer 'adam' for the item table needs a CUDA device: fbgemm has no fused Adam for the CPU. "
            "Use row_wise_adagrad, adagrad or sgd."
        )


def _item_table(model: nn.Module) -> Tensor:
    name = type(model).__name__
    embedding = getattr(model, "item_embedding", None)
    if isinstance(embedding, LookedUpRows):
        raise InputError(f"This {name} is sharded already; build a new one to shard it again.")
    if not isinstance(embedding, nn.Embedding) or not hasattr(model, "max_seq_length"):
        raise InputError(
            f"{name} cannot be sharded: it has no item_embedding of type nn.Embedding or no max_seq_length. SASRec and "
            "GRU4Rec, and models built like them, can."
        )
    if getattr(model, "loss_type", "CE") != "CE":
        raise InputError(
            f"{name} has loss_type {model.loss_type!r}; a sharded model trains with CE. Set loss_type: CE, or output: "
            "sampled for a large catalogue."
        )
    if embedding.embedding_dim % FBGEMM_ALIGNMENT:
        raise InputError(
            f"The item table of {name} has {embedding.embedding_dim} columns; a sharded one needs a multiple of "
            f"{FBGEMM_ALIGNMENT}. Change hidden_size (embedding_size in GRU4Rec)."
        )
    return embedding.weight.detach().float().clone()


def _proposal(log_q: Tensor | None, n_rows: int) -> Tensor:
    if log_q is None:
        return -torch.full((n_rows,), float(max(n_rows - 1, 1))).log()
    if tuple(log_q.shape) != (n_rows,):
        raise InputError(f"log_q has shape {tuple(log_q.shape)}; the item table has {n_rows} rows, padding included.")
    return log_q.detach().float()
