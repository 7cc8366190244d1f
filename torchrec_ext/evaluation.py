"""Evaluate a sharded model by full ranking: every rank scores its block of the item table and the best are merged.

    users of a batch, shared ──> hidden [B, D] ──all-gather──> hidden [G, D] @ own block [M, D] ──> best k of the block
    metrics by RecBole's Evaluator <── items [G, k] <── best k of W × k candidates <──all-gather── keys [G, k]

For a model with `best_items` each rank gathers the tables and searches for its own users. With `mask_history: true`
every rank reads the histories itself and no masks are sent.

Candidates are sent as the distinct keys of `ranking_keys`. The ranking is thus a function of the scores alone.
Scores may differ in their last bits between numbers of ranks.

Shapes: B histories of this rank, G of all ranks, D dimensions, M rows of this rank's block, W ranks.
"""

# ruff: noqa: E402 – a torchrec that cannot be imported is explained before it is imported

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from torchrec_ext.import_guard import require_torchrec

require_torchrec()

import torch
import torch.distributed as dist
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.evaluator import Evaluator
from recbole.evaluator.collector import DataStruct
from recbole.evaluator.register import metric_information
from torch import Tensor, nn
from torch.nn import functional
from torchrec.distributed.model_parallel import DistributedModelParallel
from torchrec.sparse.jagged_tensor import JaggedTensor

import recbole_ext  # noqa: F401 – makes RecBole importable with current numpy
from genpas_plugins.neural.layers.ranking_keys import TopItems, read_keys, top_keys
from genpas_plugins.support.errors import InputError, nearest
from recbole_ext.mask_history import history_index, masks_history
from torchrec_ext.batch import HISTORY, PairBatch
from torchrec_ext.losses import gather_rows, row_block
from torchrec_ext.shard import output_layer, own_rows, with_output_rows
from torchrec_ext.tables import layer_of, recommender, table_kernels, whole_table, whole_tables

SCORES_AT_ONCE = 2**25  # 128 MiB of float32
_LISTS = 1024  # lists that the ids of the output rows are cut into: fbgemm looks lists up in parallel
Ranking = Callable[[range, list[int]], Tensor]
"""Called as ranking(places of all ranks' users, number of users of each rank); returns the best items, [G, k]."""

Masked = tuple[Tensor, Tensor]  # places among some histories, ascending, and items to leave out there; both int64 [m]


def evaluate(
    sharded: DistributedModelParallel,
    loader: FullSortEvalDataLoader,
    config: Any,
    *,
    item_counts: Mapping[int, int] | None = None,  # of the training data, for AveragePopularity and TailPercentage
    progress: Callable[[int], None] | None = None,
) -> dict[str, float]:
    """Return RecBole's metrics of a full ranking on every rank: a collective call.

    RecBole's `trainer.evaluate` returns the same figures for the same weights except for ties: here the lower item
    number comes first. A search may leave fewer than topk unmasked items. The rest are misses here and arbitrary
    items in RecBole. Training goes on as without the evaluation.

    Raises InputError on every rank for metrics that need the score of every item (AUC, LogLoss …). It also refuses
    evaluation among sampled items, a topk larger than the catalogue and data that do not fit the model.
    """
    check_metrics(config["metrics"], item_counts)
    if not isinstance(loader, FullSortEvalDataLoader):
        raise InputError(
            f"A sharded model is evaluated by full ranking, but eval_args has mode {config['eval_args']['mode']!r}. "
            "Set eval_args: {mode: full}."
        )
    dataset, layer = loader._dataset, layer_of(sharded)
    n_users, k = len(dataset), max(config["topk"])
    check_catalogue(sharded, dataset.item_num - 1)
    _check_fit(layer.model, dataset, n_users)
    _check_k(k, layer.n_rows)
    world_size, found = dist.get_world_size(layer.group), []
    with _evaluating(sharded):
        ranked = (_by_search if hasattr(layer.model, "best_items") else _by_score)(sharded, loader, k)
        for begin in range(0, n_users, loader.step):
            end = min(begin + loader.step, n_users)
            bounds = [begin + (end - begin) * at // world_size for at in range(world_size + 1)]
            found.append(ranked(range(begin, end), [after - before for before, after in pairwise(bounds)]))
            if progress is not None:
                progress(end)
        items = torch.cat(found).cpu()
    struct = DataStruct()
    hits = items == dataset.inter_feat[loader.iid_field][:, None]
    struct.set("rec.topk", functional.pad(hits.int(), (0, 1), value=1))  # one relevant item a user
    struct.set("rec.items", items)
    struct.set("data.num_items", dataset.item_num)
    struct.set("data.count_items", item_counts)
    return {name: float(value) for name, value in Evaluator(config).evaluate(struct).items()}


def _by_score(sharded: DistributedModelParallel, loader: FullSortEvalDataLoader, k: int) -> Ranking:
    layer = output_layer(sharded)
    own, masks = output_rows(sharded), masks_history(loader.config)

    def ranked(users: range, sizes: list[int]) -> Tensor:
        history = _histories(loader, layer.model, _share(users, sizes, layer.group)).to(sharded.device)
        hidden = gather_rows(_encode(sharded, history), sizes, layer.group)
        masked = _mask(loader, users, sharded.device) if masks else None
        return _merge(hidden, own, k, layer.n_rows, layer.group, masked=masked).items

    return ranked


def _by_search(sharded: DistributedModelParallel, loader: FullSortEvalDataLoader, k: int) -> Ranking:
    layer = layer_of(sharded)
    tables = whole_tables(sharded)

    def ranked(users: range, sizes: list[int]) -> Tensor:
        own = _share(users, sizes, layer.group)
        found = torch.empty(0, k, dtype=torch.int64, device=sharded.device)
        if own:
            interaction = loader.collate_fn(list(own))[0].to(sharded.device)
            masked = _mask(loader, own, sharded.device) if masks_history(loader.config) else None
            with layer.reading(tables):
                found, _ = layer.model.best_items(interaction, k, masked)  # type: ignore[operator]  # nn.Module hides it
        return gather_rows(found, sizes, layer.group)

    return ranked


def _share(users: range, sizes: list[int], group: dist.ProcessGroup) -> range:
    rank = dist.get_rank(group)
    return users[sum(sizes[:rank]) : sum(sizes[: rank + 1])]


def _mask(loader: FullSortEvalDataLoader, users: range, device: torch.device) -> Masked:
    """Return the items to leave out for the users at these places of the loader's data set."""
    place, items = history_index(loader._dataset, users)
    return place.to(device), items.to(device)


def output_rows(sharded: DistributedModelParallel) -> Tensor:
    """Return the present rows `float [M, D]` of `losses.row_block` for this rank: a collective call."""
    ids = own_rows(sharded)
    with _evaluating(sharded):
        # Empty histories, over which the look-up of the rows is spread.
        rows = _looked_up(sharded, JaggedTensor(values=ids[:0], lengths=ids.new_zeros(_LISTS)), ids)
        own: Tensor = rows[_output_key(sharded)].values()
    _check_looked_up(own, ids)
    return own


def check_catalogue(sharded: DistributedModelParallel, n_items: int) -> None:
    """Raise InputError where the model does not know exactly the items 1 to `n_items`."""
    known = layer_of(sharded).n_rows - 1
    if known != n_items:
        raise InputError(
            f"The model knows the items 1 to {known}; the data have the items 1 to {n_items}. Build the model for the "
            "data it is used with."
        )


def recbole_state(sharded: DistributedModelParallel) -> dict[str, Tensor]:
    """Return the CPU state_dict of the unsharded RecBole model on every rank: a collective call."""
    layer = layer_of(sharded)
    rest = layer.model.state_dict()
    return {
        **{f"{table.path}.weight": whole_table(sharded, table.name).cpu() for table in layer.tables},
        **{name: value.detach().to("cpu", copy=True) for name, value in rest.items()},
    }


@contextmanager
def _evaluating(sharded: DistributedModelParallel) -> Iterator[None]:
    """Disable gradients, dropout and fbgemm's count of steps inside the block."""
    modes = [(module, module.training) for module in sharded.modules()]
    # fbgemm counts a lookup as a step of Adam in evaluation too.
    counts = [(count, count.clone()) for count in _step_counts(sharded)]
    sharded.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training
        for count, before in counts:
            count.copy_(before)


def _step_counts(sharded: DistributedModelParallel) -> list[Tensor]:
    kernels = table_kernels(sharded)
    return [getattr(kernel, name) for kernel in kernels for name in ("iter", "iter_cpu") if hasattr(kernel, name)]


def _collection(sharded: DistributedModelParallel) -> Any:
    items: Any = recommender(sharded).items
    if getattr(items.forward, "__func__", None) is not type(items).forward:
        raise InputError(
            "The model is in a training pipeline, which has replaced its lookups. Call the pipeline's detach() before "
            "evaluating and attach() afterwards."
        )
    return items


def _output_key(sharded: DistributedModelParallel) -> str:
    return "negatives" if output_layer(sharded).output == "sampled" else "all"


def _looked_up(sharded: DistributedModelParallel, history: JaggedTensor, output: Tensor) -> Mapping[str, JaggedTensor]:
    """Return the rows of at least one jagged history and of the ids `output`."""
    ids = history.values()
    # The keys are in the order of a training batch: TorchRec reads them by position after the first batch.
    offsets = functional.pad(history.lengths().cumsum(0), (1, 0))
    pairs = PairBatch.of(ids, offsets, ids.new_zeros(len(offsets) - 1), offsets[:-1], 0)
    features = with_output_rows(pairs, _output_key(sharded), output).features
    rows: Mapping[str, JaggedTensor] = _collection(sharded)(features)
    return rows


def _check_looked_up(rows: Tensor, ids: Tensor) -> None:
    if len(rows) != len(ids):
        raise RuntimeError(
            f"The lookup answered {len(ids)} ids with {len(rows)} rows: the model was trained with batches whose keys "
            "come in another order. Make them with PairBatch and with_output_rows."
        )


def _encode(sharded: DistributedModelParallel, history: JaggedTensor) -> Tensor:
    """Return the hidden states `[B, D]`. With B = 0 a made-up history is looked up because the lookup needs one."""
    n_histories = len(history.lengths())
    if n_histories == 0:
        one = torch.ones(1, dtype=torch.int64, device=sharded.device)
        history = JaggedTensor(values=one, lengths=one)
    ids = history.values().long()
    history = JaggedTensor(values=ids, lengths=history.lengths().long())
    rows = _looked_up(sharded, history, ids[:0])[HISTORY]
    _check_looked_up(rows.values(), ids)
    return output_layer(sharded).hidden(rows, history)[:n_histories]


def _histories(loader: FullSortEvalDataLoader, model: nn.Module, users: range) -> JaggedTensor:
    """Return the jagged histories of the users at these places of the loader's data set."""
    if not users:
        none = torch.empty(0, dtype=torch.int64)
        return JaggedTensor(values=none, lengths=none)
    # By place, not through the loader's iterator, so that each rank prepares its own share alone.
    interaction = loader.collate_fn(list(users))[0]
    padded, lengths = interaction[model.ITEM_SEQ], interaction[model.ITEM_SEQ_LEN]
    present = torch.arange(padded.shape[1]) < lengths[:, None]
    return JaggedTensor(values=padded[present], lengths=lengths)


def _merge(
    hidden: Tensor, own: Tensor, k: int, n_rows: int, group: dist.ProcessGroup, *, masked: Masked | None = None
) -> TopItems:
    """Return the best k items of all ranks' blocks for hidden states `[G, D]` on every rank. Masked items are last."""
    world_size = dist.get_world_size(group)
    first = row_block(n_rows, dist.get_rank(group), world_size).start
    if first == 0:
        own, first = own[1:], 1  # padding is never recommended
    at_once = max(SCORES_AT_ONCE // max(len(own), 1), 1)
    keys = torch.cat(
        [
            top_keys(_scores(hidden[begin : begin + at_once], own, first, begin, masked), first, k)
            for begin in range(0, len(hidden), at_once)
        ]
    )
    of_ranks = gather_rows(keys, [len(keys)] * world_size, group).view(world_size, len(keys), k)
    return read_keys(of_ranks.transpose(0, 1).flatten(1).topk(k).values)


def _scores(hidden: Tensor, own: Tensor, first: int, begin: int, masked: Masked | None) -> Tensor:
    """Return scores `[G, M]` of items from `first` for histories from `begin`: -inf where masked."""
    scores = (hidden @ own.T).float()
    if masked is not None:
        row, column = masked[0] - begin, masked[1] - first
        here = (row >= 0) & (row < len(scores)) & (column >= 0) & (column < scores.shape[1])
        scores[row[here], column[here]] = -torch.inf
    return scores


def _check_k(k: int, n_rows: int) -> None:
    if not 1 <= k < n_rows:
        raise InputError(f"The {k} best items are asked for (topk); the catalogue has {n_rows - 1}.")


def _check_fit(model: nn.Module, dataset: Any, n_users: int) -> None:
    if n_users == 0:
        raise InputError("There is no user to evaluate: the validation or test set is empty. Change eval_args: split.")
    longest, takes = dataset.config["MAX_ITEM_LIST_LENGTH"], model.max_seq_length
    if longest > takes:
        raise InputError(
            f"The data's histories have up to {longest} items, but the model takes {takes}. Give both the same "
            "MAX_ITEM_LIST_LENGTH."
        )


def check_metrics(metrics: Sequence[str], item_counts: Mapping[int, int] | None) -> None:
    """Raise InputError for a metric that is unknown or needs every item's score or missing counts."""
    for metric in metrics:
        if metric.lower() not in metric_information:
            raise InputError(f"metrics: {metric!r} is unknown.{nearest(metric.lower(), metric_information)}")
    given = {"rec.topk", "rec.items", "data.num_items", "data.count_items"}
    full = [metric for metric in metrics if not given.issuperset(metric_information[metric.lower()])]
    if full:
        raise InputError(
            f"metrics: {', '.join(full)} cannot be computed for a sharded model, which ranks without the scores of all "
            "items in one place. Use metrics of the best items, such as NDCG, Recall, Hit, MRR."
        )
    counting = [metric for metric in metrics if "data.count_items" in metric_information[metric.lower()]]
    if counting and item_counts is None:
        raise InputError(
            f"metrics: {', '.join(counting)} needs the number of times that each item is in the training data. Pass "
            "item_counts=train_data.dataset.item_counter, or leave it out."
        )
