"""A model's embedding tables in a sharded `EmbeddingCollection` and the rest of the model with its code unchanged.

    batch.features ──> EmbeddingCollection (sharded, fused optimizer) ──> rows ──> Layer: the model, the loss
                         one lookup a batch, where pipelines see it

A `LookedUpRows` takes the place of a table in the model and returns the rows that were looked up. A `Layer` names what
is looked up and computes the loss; `shard.LAYERS` lists the kinds of layers.
"""

# ruff: noqa: E402 – a torchrec that cannot be imported is explained before it is imported

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from torchrec_ext.import_guard import require_torchrec

require_torchrec()

import torch
import torch.distributed as dist
from fbgemm_gpu.split_embedding_configs import EmbOptimType
from fbgemm_gpu.split_table_batched_embeddings_ops_common import BoundsCheckMode
from torch import Tensor, nn
from torch.nn import functional
from torchrec.distributed.embedding import EmbeddingCollectionSharder
from torchrec.distributed.model_parallel import DistributedModelParallel
from torchrec.distributed.types import ShardingEnv
from torchrec.modules.embedding_configs import DataType, EmbeddingConfig
from torchrec.modules.embedding_modules import EmbeddingCollection
from torchrec.optim.optimizers import in_backward_optimizer_filter
from torchrec.sparse.jagged_tensor import JaggedTensor

from genpas_plugins.neural.layers.length_groups import LengthOrder
from genpas_plugins.support.errors import InputError
from torchrec_ext.gradient_mean import GradientMean
from torchrec_ext.sharding_plan import FBGEMM_ALIGNMENT, plan_for

OPTIMIZERS = {
    "row_wise_adagrad": EmbOptimType.EXACT_ROWWISE_ADAGRAD,
    "adagrad": EmbOptimType.EXACT_ADAGRAD,
    "sgd": EmbOptimType.EXACT_SGD,
    "adam": EmbOptimType.ADAM,
}
"""The tables' fused optimizers, by their names in `shard`."""

TABLE_TYPES = {"float32": DataType.FP32, "float16": DataType.FP16}
"""Types of the tables in memory, by their names in `shard`."""


class Step(NamedTuple):
    """What a forward pass returns: scalar `loss` from `losses.global_mean` and the detached `output`.

    `output` is the hidden states [B, D] or each pair's loss [B]. TorchRec's pipelines train on the first entry of such
    a tuple and return the second.
    """

    loss: Tensor
    output: Tensor


class Table(NamedTuple):
    """An embedding table of a model.

    Attributes
    ----------
    name : in plans, checkpoints and messages
    path : of its nn.Embedding in the model, as in "network.token_embedding"
    features : keys of the batch's features that are looked up in it
    """

    name: str
    path: str
    features: tuple[str, ...]


class LookedUpRows(nn.Module):
    """Replaces a table: returns the rows looked up for the present batch or rows of a whole table."""

    def __init__(self) -> None:
        super().__init__()
        self._held: tuple[tuple[Tensor, Tensor], ...] = ()
        self._whole: Tensor | None = None

    @contextmanager
    def holding(self, *pairs: tuple[Tensor, Tensor]) -> Iterator[None]:
        """Inside the block return the rows of a pair (ids, rows [..., D]) for this very tensor of ids."""
        self._held = pairs
        try:
            yield
        finally:
            self._held = ()

    @contextmanager
    def reading(self, table: Tensor) -> Iterator[None]:
        """Inside the block look up any ids in a whole table [N, D] as nn.Embedding does."""
        self._whole = table
        try:
            yield
        finally:
            self._whole = None

    def forward(self, ids: Tensor) -> Tensor:
        """Return the rows of `ids`. Raises RuntimeError for a tensor that was not looked up."""
        if self._whole is not None:
            return functional.embedding(ids, self._whole)
        for held, rows in self._held:
            if held is ids:
                return rows
        raise RuntimeError(
            "The model asks for rows of a sharded table that were not looked up for this batch. A model can be sharded "
            "whose forward(item_seq, item_seq_len) embeds item_seq as it is given."
        )


class Layer(nn.Module):
    """Runs the model on looked-up rows. Pipelines skip it because nothing in it is sharded.

    A subclass has `forward(rows, batch) -> Step`. `rows` are the rows of the batch's features by key.

    Parameters
    ----------
    model : the RecBole model; `LookedUpRows` will replace its tables
    tables : its tables
    n_rows : items that the model knows including padding
    group : process group over which the tables are sharded
    """

    def __init__(self, model: nn.Module, tables: Sequence[Table], n_rows: int, group: dist.ProcessGroup) -> None:
        super().__init__()
        self.model = model
        self.tables = tuple(tables)
        self.n_rows = n_rows
        self.group = group

    def stand_in(self, table: Table) -> LookedUpRows:
        """Return the module in a table's place."""
        found = self.model.get_submodule(table.path)
        if not isinstance(found, LookedUpRows):
            raise RuntimeError(f"{table.path} was replaced after sharding; call shard() last.")
        return found

    @contextmanager
    def reading(self, tables: Mapping[Table, Tensor]) -> Iterator[None]:
        """Let the model look up any ids in the `whole_tables` inside the block."""
        with ExitStack() as stack:
            for table, weights in tables.items():
                stack.enter_context(self.stand_in(table).reading(weights))
            yield

    def with_features(self, batch: Any) -> Any:
        """Return a batch with the features to look up that follow from the batch alone."""
        return batch


class ShardableRecommender(nn.Module):
    """The tables and the rest of the model in the form that pipelines need: `forward(batch) -> Step`."""

    def __init__(self, items: EmbeddingCollection, layer: Layer) -> None:
        super().__init__()
        self.items = items
        self.layer = layer

    def forward(self, batch: Any) -> Step:
        """Return the step of a batch. Its `features` have `history`, `target` and the keys of the layer's tables."""
        return self.layer(self.items(batch.features), batch)  # type: ignore[no-any-return]  # nn.Module.__call__ is Any


def shard_tables(
    layer: Layer,
    *,
    sharding: str,
    optimizer: str,
    learning_rate: float,
    eps: float,
    device: torch.device,
    memory_per_rank: int | None,
    table_type: str = "float32",
    cached: bool = False,
) -> DistributedModelParallel:
    """Move the layer's tables out of its model into a sharded collection and wrap both for distributed training.

    Parameters are the same as for `shard`. Raises InputError if there is no plan; the model is then unchanged.
    """
    group = layer.group
    weights = {table.name: _weights(layer.model, table) for table in layer.tables}
    collection = EmbeddingCollection(
        tables=[
            EmbeddingConfig(
                name=table.name,
                num_embeddings=len(weights[table.name]),
                embedding_dim=weights[table.name].shape[1],
                feature_names=list(table.features),
                data_type=TABLE_TYPES[table_type],
            )
            for table in layer.tables
        ],
        device=torch.device("meta"),
    )
    sharder = EmbeddingCollectionSharder(
        fused_params={
            "optimizer": OPTIMIZERS[optimizer],
            "learning_rate": learning_rate,
            "eps": eps,
            # For an id out of range the default reads row 0. On a GPU a fatal check ends the process without a
            # message, and the other ranks wait; a run checks all ids before it trains.
            "bounds_check_mode": BoundsCheckMode.FATAL if device.type == "cpu" else BoundsCheckMode.WARNING,
        }
    )
    plan = plan_for(
        collection,
        sharder,
        sharding,
        device=device,
        group=group,
        memory_per_rank=memory_per_rank,
        cached=cached,
    )
    for table in layer.tables:
        layer.model.set_submodule(table.path, LookedUpRows())
    sharded = DistributedModelParallel(
        ShardableRecommender(collection, layer.to(device)),
        env=ShardingEnv.from_process_group(group),
        device=device,
        plan=plan,
        sharders=[sharder],
        data_parallel_wrapper=GradientMean(),
    )
    for table in layer.tables:
        for offsets, piece in local_shards(sharded, table.name):
            rows, columns = (slice(at, at + size) for at, size in zip(offsets, piece.shape, strict=True))
            piece.copy_(weights[table.name][rows, columns])
    return sharded


def padded_length(lengths: Tensor, longest: int, width: int | None = None) -> int:
    """Return the length to which the histories of a batch are padded.

    On a CPU it is the longest history's. On a GPU it is `width` if known because reading lengths means waiting.

    Parameters
    ----------
    lengths : int [B]
    longest : what the model takes
    width : of the batch; see `torchrec_ext.batch.PairBatch`

    Raises
    ------
    InputError
        On a CPU for a history that is empty or too long.
    """
    if lengths.device.type != "cpu" or not len(lengths):
        return longest if width is None else min(longest, width)
    shortest, present = int(lengths.min()), int(lengths.max())
    if present > longest or shortest < 1:
        raise InputError(
            f"The histories of this batch have {shortest} to {present} items, but the model takes 1 to "
            f"{longest} (MAX_ITEM_LIST_LENGTH). Give the stream the model's maximum length."
        )
    return present


def pad(ids: JaggedTensor, rows: JaggedTensor, length: int) -> tuple[Tensor, Tensor]:
    """Return jagged ids and their rows as zero-padded int64 [B, length] and float [B, length, D]."""
    dense_ids = ids.to_padded_dense(length).long()
    dense = rows.to_padded_dense(length)
    # As with padding_idx=0: a history may read row 0, which learns nothing from it.
    return dense_ids, torch.where((dense_ids == 0)[..., None], dense.detach(), dense)


def pad_groups(
    by_length: LengthOrder, ids: JaggedTensor, rows: JaggedTensor
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield ids and rows of each group of histories as `pad` returns them, and its lengths, int64."""
    lengths = ids.lengths().long()
    if len(by_length.groups) == 1:
        yield *pad(ids, rows, by_length.groups[0].width), lengths
        return
    order, begin = by_length.order, ids.offsets().long()[:-1]
    ends = lengths[order].cumsum(0)
    moved = torch.repeat_interleave(begin[order] - ends + lengths[order], lengths[order]) + torch.arange(int(ends[-1]))
    items = [int(lengths[group].sum()) for group in by_length.rows]
    parts = (values.index_select(0, moved).split(items) for values in (ids.values(), rows.values()))
    for of, group, own_ids, own_rows in zip(by_length.rows, by_length.groups, *parts, strict=True):
        each = lengths[of]
        yield *pad(JaggedTensor(own_ids, lengths=each), JaggedTensor(own_rows, lengths=each), group.width), each


def dense_parameters(sharded: DistributedModelParallel) -> dict[str, nn.Parameter]:
    """Return by name all parameters that need an ordinary optimizer. Tables do not."""
    return dict(in_backward_optimizer_filter(sharded.named_parameters()))


def table_kernels(sharded: DistributedModelParallel) -> list[Any]:
    """Return fbgemm's kernels that look up and update this rank's pieces of the tables."""
    modules = (part for lookup in recommender(sharded).items._lookups for part in lookup.modules())
    return [part for part in modules if hasattr(part, "set_optimizer_step")]


def set_table_steps(sharded: DistributedModelParallel, steps: int) -> None:
    """Set the step count of the tables' optimizer. Fused Adam needs it but no state_dict holds it."""
    for kernel in table_kernels(sharded):
        kernel.set_optimizer_step(steps)
        kernel.iter_cpu.fill_(steps)  # what the kernel counts with once it has looked rows up


def set_table_rate(sharded: DistributedModelParallel, learning_rate: float) -> None:
    """Set the learning rate of the tables' optimizer for further steps."""
    for kernel in table_kernels(sharded):
        kernel.set_learning_rate(learning_rate)


def local_shards(sharded: DistributedModelParallel, table: str | None = None) -> list[tuple[tuple[int, int], Tensor]]:
    """Return this rank's pieces of a table: ((first row, first column), weights [rows, columns]) without a copy.

    `table` is its name. None is the first table.
    """
    parameter = _sharded_tensor(sharded, table)
    return [((*piece.metadata.shard_offsets,), piece.tensor.detach()) for piece in parameter.local_shards()]


def whole_table(sharded: DistributedModelParallel, table: str | None = None) -> Tensor:
    """Return a whole table [N, D] on every rank for evaluation and export: a collective call."""
    size = _sharded_tensor(sharded, table).metadata().size
    whole = torch.zeros(*size, device=sharded.device)
    for (row, column), piece in local_shards(sharded, table):
        whole[row : row + piece.shape[0], column : column + piece.shape[1]] = piece
    dist.all_reduce(whole, group=layer_of(sharded).group)
    return whole


def whole_tables(sharded: DistributedModelParallel) -> dict[Table, Tensor]:
    """Return all whole tables on every rank: a collective call."""
    return {table: whole_table(sharded, table.name) for table in layer_of(sharded).tables}


def layer_of(sharded: DistributedModelParallel) -> Layer:
    """Return the part of a sharded model that holds the RecBole model (`.model`) and computes the loss."""
    layer = recommender(sharded).layer
    assert isinstance(layer, Layer)
    return layer


def recommender(sharded: DistributedModelParallel) -> Any:
    """Return the `ShardableRecommender` inside; its `items` is the sharded collection."""
    (found,) = (module for module in sharded.modules() if isinstance(module, ShardableRecommender))
    return found


def embedding_at(model: nn.Module, path: str) -> nn.Embedding | None:
    """Return the nn.Embedding at a path of a model or None.

    Raises InputError for a model that is sharded already.
    """
    try:
        found = model.get_submodule(path)
    except AttributeError:
        return None
    if isinstance(found, LookedUpRows):
        raise InputError(f"This {type(model).__name__} is sharded already; build a new one to shard it again.")
    return found if isinstance(found, nn.Embedding) else None


def check_columns(model: nn.Module, table: str, columns: int, setting: str) -> None:
    """Raise InputError for a number of columns that fbgemm cannot look up; `setting` is what to change."""
    if columns % FBGEMM_ALIGNMENT:
        raise InputError(
            f"The {table} table of {type(model).__name__} has {columns} columns; a sharded one needs a multiple of "
            f"{FBGEMM_ALIGNMENT}. Change {setting}."
        )


def _weights(model: nn.Module, table: Table) -> Tensor:
    embedding = embedding_at(model, table.path)
    assert embedding is not None, "checked where the layer was made"
    return embedding.weight.detach().float().clone()


def _sharded_tensor(sharded: DistributedModelParallel, table: str | None) -> Any:
    name = layer_of(sharded).tables[0].name if table is None else table
    (parameter,) = (value for key, value in sharded.state_dict().items() if key.endswith(f"embeddings.{name}.weight"))
    return parameter
