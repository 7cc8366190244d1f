"""Measure how many targets a second TIGER trains on: single and parallel, beside the matrix products alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.goals import Goal
from benchmarks.jobs import Job
from benchmarks.report import Grid
from benchmarks.tiger_decoding import in_turn, semantic_ids

TARGETS = "targets"
PADDED, SINGLE, PARALLEL = "single, padded", "single", "parallel"
PRODUCTS = {SINGLE: "products of single", PARALLEL: "products of parallel"}
"""The names of the measurements of matrix products alone: each linear layer, forward and twice backward."""


@dataclass(frozen=True)
class TargetSizes:
    """How much is measured."""

    lengths: tuple[int, ...]
    """Items of a history at most."""
    targets: dict[str, int]
    """Targets of a batch, on average, by way."""
    repeats: int
    network: dict[str, int]
    """Arguments of TigerNetwork beside its defaults."""


FULL = TargetSizes((20, 200), {PADDED: 64, SINGLE: 256, PARALLEL: 1024}, 2, {})
QUICK = TargetSizes(
    (5,), {PADDED: 8, SINGLE: 8, PARALLEL: 16}, 1,
    {"d_model": 16, "heads": 2, "head_size": 8, "d_ff": 32, "encoder_layers": 1, "decoder_layers": 1},
)  # fmt: skip


def jobs(sizes: TargetSizes, data: Path | None, index: Path | None) -> Iterator[Job]:
    """Yield the jobs; `data` is a data set's folder with interactions.parquet."""
    for length in sizes.lengths:
        for dtype in ("float32", "bfloat16"):
            label = {"threads": 1, "length": length, "dtype": dtype}
            arguments = {"sizes": sizes, "data": data, "index": index, "length": length, "dtype": dtype}
            yield Job(TARGETS, label, "tiger_targets", "a_step", arguments)


def a_step(sizes: dict[str, Any], data: str, index: str, length: int, dtype: str) -> dict[str, Any]:
    """Time forward and backward passes of a batch of multi_target in each way, in turn.

    cpu     : {way: spread of processor seconds a target}
    targets : {way: targets of the batch}
    tokens  : {way: tokens that the encoder reads a target, without padding}
    """
    import torch

    from genpas_plugins import SamplingPolicy
    from genpas_plugins.sampling.stream import pair_stream, window_stream

    torch.set_num_threads(1)
    of = TargetSizes(**sizes)
    store = store_of(data)
    view, policy = store.leave_last_out().train, SamplingPolicy.named("multi_target")
    pairs = pair_stream(view, policy, seed=1)
    windows = window_stream(view, policy, max_length=length, seed=1)
    ids = semantic_ids(store.n_items, index)
    ways: dict[str, Callable[[], Any]] = {}
    counts, tokens = {}, {}
    for way, stream in ((PADDED, pairs), (SINGLE, pairs), (PARALLEL, windows)):
        examples = max(1, round(of.targets[way] / stream.targets_per_example))
        batch = stream.batch(0, range(examples), length)
        counts[way] = len(batch.targets.rows)
        tokens[way] = ids.depth * int(batch.histories.lengths.sum()) / counts[way]
        ways[way] = step(way, ids, batch, store, length=length, dtype=dtype, options=of.network)
        if way in PRODUCTS:
            rows = ids.depth * int(batch.histories.lengths.sum())
            ways[PRODUCTS[way]] = products(ids, rows, counts[way], dtype, of.network)
            counts[PRODUCTS[way]] = counts[way]
    _, cpu = in_turn(ways, of.repeats)
    per_target = {way: {name: value / counts[way] for name, value in seen.items()} for way, seen in cpu.items()}
    return {"cpu": per_target, "targets": counts, "tokens": tokens}


def store_of(data: str) -> Any:
    """Return the sequences of a data set, or random ones with lengths from 5, as geometric as Beauty's."""
    import numpy as np

    from genpas_plugins import SequenceStore

    if data in (None, "None"):
        random = np.random.default_rng(1)
        lengths = 4 + random.geometric(0.2, 2000)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        return SequenceStore.from_arrays(random.integers(1, 1001, offsets[-1]), offsets, n_items=1000)
    import pyarrow.parquet as pq

    table = pq.read_table(Path(data) / "interactions.parquet").sort_by(
        [("user_id", "ascending"), ("position", "ascending")]
    )
    _, counts = np.unique(table["user_id"].to_numpy(), return_counts=True)
    return SequenceStore.from_arrays(
        table["item_id"].to_numpy().astype(np.int64), np.concatenate([[0], np.cumsum(counts)])
    )


def step(
    way: str, ids: Any, batch: Any, store: Any, *, length: int, dtype: str, options: dict[str, int]
) -> Callable[[], Any]:
    """Return a forward and backward pass of a batch, with dropout, under autocast for bfloat16."""
    import numpy as np
    import torch

    from genpas_plugins.neural.layers.dropout import cheap_dropout
    from genpas_plugins.neural.tiger.network import TigerNetwork
    from genpas_plugins.neural.tiger.window_losses import Windows, window_losses

    encoder = "causal" if way == PARALLEL else "bidirectional"
    network = TigerNetwork(ids, **options, max_history=length, encoder=encoder).train()
    lengths = torch.from_numpy(batch.histories.lengths)
    items = torch.from_numpy(batch.histories.padded(int(lengths.max()), np.int64))
    targets = torch.from_numpy(store.values[batch.targets.rows].astype(np.int64))
    row = torch.from_numpy(np.repeat(np.arange(len(lengths)), np.diff(batch.targets.offsets)))
    windows = Windows(lengths, row, torch.from_numpy(batch.targets.place))
    history = network.tokens_of(items[torch.arange(items.shape[1]) < lengths[:, None]])

    def run() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bfloat16"):
            if way == PADDED:
                with cheap_dropout(network):
                    losses = network(items, lengths, targets)
            else:
                losses = window_losses(network, windows, history, network.tokens_of(targets))
        losses.mean().backward()

    return run


def products(ids: Any, rows: int, targets: int, dtype: str, options: dict[str, int]) -> Callable[[], Any]:
    """Return the products of all linear layers for so many encoder rows and targets: y, and both gradients."""
    import torch

    from genpas_plugins.neural.tiger.network import TigerNetwork

    network = TigerNetwork(ids, **options)
    written = targets * ids.depth
    shapes = []
    for name, layer in network.named_modules():
        if isinstance(layer, torch.nn.Linear):
            of_memory = name.startswith("encoder") or name.endswith(("EncDecAttention.k", "EncDecAttention.v"))
            shapes.append((rows if of_memory else written, layer.in_features, layer.out_features))
    shapes += [(targets, network.start.shape[0], size) for size in ids.sizes]
    kind = getattr(torch, dtype)
    parts = [
        [torch.ones(m, k, dtype=kind), torch.ones(n, k, dtype=kind), torch.ones(m, n, dtype=kind)] for m, k, n in shapes
    ]

    def run() -> None:
        for x, weight, gradient in parts:
            x @ weight.T
            gradient @ weight
            gradient.T @ x

    return run


def tables(sections: dict[str, list[dict[str, Any]]]) -> list[Grid]:
    """Return the table. The fastest repeat gives the targets a second of a core."""
    rows = [
        [
            str(record["length"]),
            record["dtype"],
            way,
            f"{record['tokens'][way]:.1f}" if way in record["tokens"] else "",
            f"{1 / record['cpu'][way]['min']:,.0f}",
            f"{record['cpu'][PADDED]['min'] / record['cpu'][way]['min']:.1f}",
            f"{record['cpu'][SINGLE]['min'] / record['cpu'][way]['min']:.1f}",
        ]
        for record in sections.get(TARGETS, [])
        for way in record["cpu"]
    ]
    head = ["history", "type", "way", "tokens read a target", "targets/s of cpu", "× single, padded", "× single"]
    return [Grid("Training on multi_target, forward and backward pass", head, rows)]


def goals(sections: dict[str, list[dict[str, Any]]]) -> list[Goal]:
    """Compare parallel with single targets, padded as RecBole pads them and without padding."""
    return [
        Goal(
            TARGETS,
            f"{record['length']} items, {record['dtype']}: {PARALLEL} / {way}",
            record["cpu"][way]["min"] / record["cpu"][PARALLEL]["min"],
            5.0,
            True,
            "×",
        )
        for record in sections.get(TARGETS, [])
        for way in (PADDED, SINGLE)
    ]
