"""Measure TIGER's beam search beside transformers' `generate`, by catalogue size, and the scoring of all items.

The weights are random and the output rows wide enough that the logits, not the number of children, choose the beams.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.goals import Goal
from benchmarks.jobs import Job
from benchmarks.report import Grid
from benchmarks.timing import Spread, spread, text

BEAMS = "beams"
USERS = "users"
CATALOGUE = "catalogue"
ALL_ITEMS = "all items"
DRAWN, GROUPED, CONSTRAINT = "batches as drawn", "batches of like lengths", "constraint"
OURS, EVERY, PEER = "beam_search", "beam_search, every prefix decoded", "generate"
_SPREAD_OF_LOGITS = 0.2  # standard deviation of the output rows: that of the logits is √d_model times as large


@dataclass(frozen=True)
class TigerSizes:
    """How much is measured."""

    n_items: int
    """Items of the catalogue where Beauty's semantic IDs are not given."""
    catalogues: tuple[int, ...]
    batch: int
    """Users decoded at once."""
    scored: int
    """Users for whom all items are scored."""
    beams: int
    top_k: int
    repeats: int
    network: dict[str, int]
    """Arguments of TigerNetwork beside its defaults."""


FULL = TigerSizes(12_101, (10**3, 10**4, 10**5, 10**6), 64, 4, 20, 10, 3, {})
QUICK = TigerSizes(
    200, (100, 1000), 4, 2, 4, 2, 1,
    {"d_model": 16, "heads": 2, "head_size": 8, "d_ff": 32, "encoder_layers": 1, "decoder_layers": 1},
)  # fmt: skip


def jobs(sizes: TigerSizes, index: Path | None) -> Iterator[Job]:
    """Yield the jobs. `index` is a file for `read_index_json`, of which three codes are used."""
    arguments = {"sizes": sizes, "index": index}
    yield Job(BEAMS, {"threads": 1}, "tiger_decoding", "beside_generate", arguments)
    for beams in (sizes.beams, sizes.beams * 5 // 2):
        for threads, dtype in ((1, "float32"), (2, "float32"), (1, "bfloat16")):
            label = {"threads": threads, "beams": beams, "dtype": dtype}
            yield Job(USERS, label, "tiger_decoding", "users", {**arguments, **label})
    yield Job(CATALOGUE, {"threads": 1}, "tiger_decoding", "by_catalogue", {"sizes": sizes})
    yield Job(ALL_ITEMS, {"threads": 1}, "tiger_decoding", "all_items", arguments)


def beside_generate(sizes: dict[str, Any], index: str) -> dict[str, Any]:
    """Decode one batch by the ways in turn, from histories to items.

    wall, cpu  : {way: spread of seconds a batch}, cpu that of all threads
    same_items : share of users for whom `generate` returns the same items in the same order
    score_gap  : largest difference of their log-probabilities
    decoded    : prefixes that beam search decodes at each level, of those in its beams
    """
    import torch

    from benchmarks.tiger_peer import allowed_tokens, as_t5, generate
    from genpas_plugins.neural.tiger import decoding

    torch.set_num_threads(1)
    of = TigerSizes(**sizes)
    ids = semantic_ids(of.n_items, index)
    network, tree, item_seq, lengths = make(ids, of)
    peer, allowed = as_t5(network), allowed_tokens(network, ids)
    chosen, every = decoding._to_decode, lambda tree, level, node, score: decoding._columns(node)
    decoded: list[tuple[int, int]] = []

    def ours(which: Callable[..., Any]) -> Any:
        decoding._to_decode = which
        memory = network.encode(network.history_tokens(item_seq, lengths))
        return decoding.beam_search(network, tree, memory, beams=of.beams, top_k=of.beams)

    def counting(tree: Any, level: int, node: Any, score: Any) -> Any:
        found = chosen(tree, level, node, score)
        decoded.append((found.shape[1], node.shape[1]))
        return found

    def theirs() -> Any:
        tokens = network.history_tokens(item_seq, lengths)
        return generate(peer, allowed, tokens, depth=ids.depth, beams=of.beams)

    with torch.inference_mode():
        items, log_probs = ours(counting)
        tokens, scores = theirs()
        ways = {OURS: lambda: ours(chosen), EVERY: lambda: ours(every), PEER: theirs}
        wall, cpu = in_turn(ways, of.repeats)
        same = (network.tokens_of(items) == tokens).flatten(1).all(1)
    return {
        "batch": of.batch,
        "beams": of.beams,
        "n_items": ids.n_items,
        "wall": wall,
        "cpu": cpu,
        "same_items": float(same.float().mean()),
        "score_gap": float((log_probs - scores).abs().max()),
        "decoded": decoded,
    }


def users(sizes: dict[str, Any], index: str, beams: int, dtype: str, threads: int) -> dict[str, Any]:
    """Decode users in four batches, as drawn and in the order of their history lengths.

    wall, cpu  : {way: spread of seconds for all `users`}, cpu of all threads
    constraint : share of the time of the batches of like lengths in which the tree says what may follow
    """
    import torch

    from genpas_plugins.neural.tiger import decoding

    torch.set_num_threads(threads)
    of = TigerSizes(**sizes)
    network, tree, item_seq, lengths = make(semantic_ids(of.n_items, index), of)
    network = network.to(getattr(torch, dtype))
    spent = {CONSTRAINT: 0.0}

    def timed(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            begin = time.process_time()
            answer = call(*arguments)
            spent[CONSTRAINT] += time.process_time() - begin
            return answer

        return run

    def search(order: Any) -> None:
        for rows in torch.split(order, max(1, of.batch // 4)):
            memory = network.encode(network.history_tokens(item_seq[rows], lengths[rows]))
            decoding.beam_search(network, tree, memory, beams=beams, top_k=beams)

    by_length = lengths.argsort()
    ways = {DRAWN: lambda: search(torch.arange(of.batch)), GROUPED: lambda: search(by_length)}
    with torch.inference_mode():
        wall, cpu = in_turn(ways, of.repeats)
        decoding._children, decoding._to_decode = timed(decoding._children), timed(decoding._to_decode)
        begin = time.process_time()
        search(by_length)
        share = spent[CONSTRAINT] / (time.process_time() - begin)
    return {"users": of.batch, "wall": wall, "cpu": cpu, CONSTRAINT: share}


def by_catalogue(sizes: dict[str, Any]) -> dict[str, Any]:
    """Decode one batch for catalogues of random IDs in turn, first by the encoder alone.

    wall, cpu : {"1000": spread of seconds a batch, …}, and "encoder"
    """
    import torch

    from genpas_plugins.neural.tiger.decoding import beam_search

    torch.set_num_threads(1)
    of = TigerSizes(**sizes)
    ways: dict[str, Callable[[], Any]] = {}
    for n_items in of.catalogues:
        network, tree, item_seq, lengths = make(semantic_ids(n_items, None), of)

        def encode(network: Any = network, item_seq: Any = item_seq, lengths: Any = lengths) -> Any:
            return network.encode(network.history_tokens(item_seq, lengths))

        def search(network: Any = network, tree: Any = tree, encode: Any = encode) -> Any:
            return beam_search(network, tree, encode(), beams=of.beams, top_k=of.top_k)

        ways["encoder"] = encode
        ways[str(n_items)] = search
    with torch.inference_mode():
        wall, cpu = in_turn(ways, of.repeats)
    return {"batch": of.batch, "beams": of.beams, "wall": wall, "cpu": cpu}


def all_items(sizes: dict[str, Any], index: str) -> dict[str, Any]:
    """Score every item for some users.

    wall, cpu : {"score_all": spread of seconds for all `users`}
    prefixes  : how many of each level are decoded, and `of` how many there are
    """
    import torch

    from genpas_plugins.neural.tiger import decoding

    torch.set_num_threads(1)
    of = TigerSizes(**{**sizes, "batch": sizes["scored"]})
    ids = semantic_ids(of.n_items, index)
    network, tree, item_seq, lengths = make(ids, of)

    def score() -> Any:
        return decoding.score_all(network, tree, network.encode(network.history_tokens(item_seq, lengths)))

    with torch.inference_mode():
        wall, cpu = in_turn({"score_all": score}, of.repeats)
        nodes = [torch.arange(tree.n_nodes(level)) for level in range(tree.depth)]
        prefixes = [int(decoding._shared(tree, level, node).sum()) for level, node in enumerate(nodes)]
    return {
        "users": of.batch,
        "n_items": ids.n_items,
        "wall": wall,
        "cpu": cpu,
        "prefixes": prefixes,
        "of": [len(node) for node in nodes],
    }


def semantic_ids(n_items: int, index: str | None) -> Any:
    """Return three codes of 256 and one code against collisions, from an index file or at random."""
    import numpy as np

    from genpas_plugins.semantic_ids.codebook import SemanticIds
    from genpas_plugins.semantic_ids.index_file import read_index_json

    if index is None or index == "None":
        codes = np.random.default_rng(1).integers(256, size=(n_items, 3))
    else:
        codes = read_index_json(index, collisions="count").codes[:, :3]
    return SemanticIds.resolve(codes, (256, 256, 256))


def make(ids: Any, sizes: TigerSizes) -> tuple[Any, Any, Any, Any]:
    """Return a network, its tree and random histories with lengths, the same at each call."""
    import torch

    from genpas_plugins.neural.tiger.network import TigerNetwork
    from genpas_plugins.neural.tiger.prefix_tree import PrefixTree

    torch.manual_seed(1)
    network = TigerNetwork(ids, **sizes.network).eval()
    with torch.no_grad():
        network.output.normal_(0, _SPREAD_OF_LOGITS)
    longest = network.max_history
    item_seq = torch.randint(1, ids.n_items + 1, (sizes.batch, longest))
    lengths = torch.randint(2, longest + 1, (sizes.batch,))
    lengths[0] = longest
    return network, PrefixTree.of(ids), item_seq, lengths


def in_turn(ways: Mapping[str, Callable[[], Any]], repeats: int) -> tuple[dict[str, Spread], dict[str, Spread]]:
    """Call every way once to warm up and then `repeats` times in turn. Return wall and processor seconds."""
    wall: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats + 1):
        for name, way in ways.items():
            begin, begin_cpu = time.perf_counter(), time.process_time()
            way()
            if repeat:
                wall[name].append(time.perf_counter() - begin)
                cpu[name].append(time.process_time() - begin_cpu)
    return ({name: spread(of) for name, of in seen.items()} for seen in (wall, cpu))  # type: ignore[return-value]


def tables(sections: dict[str, list[dict[str, Any]]]) -> list[Grid]:
    """Return the tables. The fastest repeat gives the users a second."""
    beams = [
        [
            way,
            text(record["wall"][way], 0, 1e-3),
            text(record["cpu"][way], 0, 1e-3),
            f"{record['batch'] / record['wall'][way]['min']:.1f}",
            f"{record['batch'] / record['cpu'][way]['min']:.1f}",
            f"{record['wall'][PEER]['min'] / record['wall'][way]['min']:.1f}",
            f"{record['cpu'][PEER]['min'] / record['cpu'][way]['min']:.1f}",
        ]
        for record in sections.get(BEAMS, [])
        for way in record["wall"]
    ]
    agreement = [
        [
            f"{record['n_items']:,}",
            f"{record['same_items']:.1%}",
            f"{record['score_gap']:.1e}",
            ", ".join(f"{some} of {of}" for some, of in record["decoded"]),
        ]
        for record in sections.get(BEAMS, [])
    ]
    speeds = [
        [
            str(record["beams"]),
            record["dtype"],
            str(record["threads"]),
            *(f"{record['users'] / record['wall'][way]['min']:.1f}" for way in (DRAWN, GROUPED)),
            *(f"{record['users'] / record['cpu'][way]['min']:.1f}" for way in (DRAWN, GROUPED)),
            f"{record[CONSTRAINT]:.1%}",
        ]
        for record in sections.get(USERS, [])
    ]
    catalogue = [
        [
            way if way == "encoder" else f"{int(way):,}",
            text(record["wall"][way], 2, 1e-3 * record["batch"]),
            text(record["cpu"][way], 2, 1e-3 * record["batch"]),
        ]
        for record in sections.get(CATALOGUE, [])
        for way in record["cpu"]
    ]
    scored = [
        [
            f"{record['n_items']:,}",
            text(record["wall"]["score_all"], 0, 1e-3 * record["users"]),
            text(record["cpu"]["score_all"], 0, 1e-3 * record["users"]),
            ", ".join(f"{some:,} of {of:,}" for some, of in zip(record["prefixes"], record["of"], strict=True)),
        ]
        for record in sections.get(ALL_ITEMS, [])
    ]
    peer = "from histories to items; users/s and ratios of the fastest repeats"
    return [
        Grid(
            f"Beam search beside transformers' generate, {peer}",
            ["way", "batch ms", "cpu ms", "users/s", "users/s of cpu", "× generate", "× generate, cpu"],
            beams,
        ),
        Grid(
            "Its answer beside generate's",
            ["items", "users with the same items", "largest score gap", "prefixes decoded by level"],
            agreement,
        ),
        Grid(
            "Users a second, encoder included: four batches as drawn, or in the order of history lengths",
            ["beams", "type", "threads", DRAWN, GROUPED, f"{DRAWN}, of cpu", f"{GROUPED}, of cpu", CONSTRAINT],
            speeds,
        ),
        Grid("Beam search by catalogue, random IDs, encoder included", ["items", "user ms", "user cpu ms"], catalogue),
        Grid("Scores of all items", ["items", "user ms", "user cpu ms", "prefixes decoded by level"], scored),
    ]


def goals(sections: dict[str, list[dict[str, Any]]]) -> list[Goal]:
    """Compare the speed with `generate`, and the growth with the catalogue, with their bounds."""
    found = []
    for record in sections.get(BEAMS, []):
        seen = record["cpu"]
        for way in (OURS, EVERY):
            what = f"{record['beams']} beams: {way} / generate"
            found.append(Goal(BEAMS, what, seen[PEER]["min"] / seen[way]["min"], 5.0, True, "×"))
    for record in sections.get(CATALOGUE, []):
        first, *_, last = (way for way in record["cpu"] if way != "encoder")
        growth = record["cpu"][last]["min"] / record["cpu"][first]["min"]
        found.append(Goal(CATALOGUE, f"a user among {int(last):,} items / {int(first):,}", growth, 2.0, False, "×"))
    return found
