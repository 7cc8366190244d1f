"""Rows of other libraries and of this one: processor seconds a target, and until validation has a quality."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import peers
from benchmarks.goals import Goal
from benchmarks.jobs import Job, run
from benchmarks.peer_environments import make_environment
from benchmarks.peer_meter import Meter, Ranking, Split
from benchmarks.peers import Network
from benchmarks.report import Grid
from benchmarks.timing import spread, text
from benchmarks.training_setup import HALF, PARALLEL, STOCK, TRIMMED
from genpas_plugins.support.atomic import replace_file

STEPS, QUALITY = "steps", "quality"
FULL = "full softmax"


class Row(NamedTuple):
    """A way to train.

    Parameters
    ----------
    loss : what a target is scored against
    environment : of `peer_environments`, empty for this project's own
    train : None for a way of `training_setup`
    """

    loss: str
    environment: str = ""
    train: Callable[[Split, Network, Meter], None] | None = None


ROWS = {
    "RecTools 0.19": Row(FULL, "rectools", peers.rectools),
    "RecTools 0.19, fast_transformers": Row(FULL, "rectools", peers.rectools_flat),
    "RecTools 0.19, sampled": Row("256 negatives a target", "rectools", peers.rectools_sampled),
    "RePlay 0.22": Row(FULL, "replay", peers.replay),
    "cornac 3.0.1": Row("2,048 negatives a batch and its targets", "cornac", peers.cornac),
    STOCK: Row(FULL),
    TRIMMED: Row(FULL),
    TRIMMED + HALF: Row(FULL),
    PARALLEL: Row(FULL),
    PARALLEL + HALF: Row(FULL),
}
OURS = (TRIMMED, TRIMMED + HALF, PARALLEL, PARALLEL + HALF)


def jobs(section: str, names: tuple[str, ...], rounds: int, arguments: dict[str, Any]) -> Iterator[Job]:
    """Yield a job for every row and round; the rows take turns. `arguments` are `measure`'s."""
    for number, name in itertools.product(range(rounds), names):
        label: dict[str, str | int] = {"way": name, "round": number}
        yield Job(section, label, "peer_rows", "measure", {**arguments, "name": name, "number": number})


def measure(
    *,
    name: str,
    number: int,
    folder: str,
    environments: str,
    kept: str,
    network: dict[str, Any],
    limits: dict[str, Any],
    fork: bool,
) -> dict[str, Any]:
    """Measure a row in its environment, or read what an earlier run has kept. `not_run` is the reason for no figure.

    Parameters
    ----------
    number : of the round
    folder : holds the store and the .inter file
    environments, kept : folders that stay after a run
    network, limits : keywords of `Network` and `Meter`
    """
    words = "-".join(str(value) for value in (name, number, *network.values(), *limits.values()))
    file = Path(kept) / f"{words}.json".replace(" ", "_")
    if file.is_file():
        content: dict[str, Any] = json.loads(file.read_text("utf-8"))
        return content
    given = {"name": name, "folder": folder, "network": network, "limits": limits}
    try:
        environment = ROWS[name].environment
        python = make_environment(environment, Path(environments)) if environment else None
        content = run(Job("", {"way": name}, "peer_rows", "train", given, python=python), fork=fork)
    except RuntimeError as error:
        return {"not_run": str(error).strip().rpartition("\n")[2]}
    with replace_file(file) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")
    return content


def train(name: str, folder: str, network: dict[str, Any], limits: dict[str, Any]) -> dict[str, Any]:
    """Train in this process. Return what the meter has seen, and for ours the bound of the matrix products.

    bound : seconds a target at the rate of the scores' matrix product
    """
    import torch

    from genpas_plugins import SequenceStore

    torch.set_num_threads(1)
    torch.manual_seed(1)
    store, sizes = SequenceStore.open(f"{folder}/store"), Network(**network)
    sequences = [part for part in np.split(np.asarray(store.values, np.int64), store.offsets[1:-1]) if len(part) > 3]
    split = Split([part[:-2] for part in sequences], np.array([part[-2] for part in sequences]), store.n_items)
    meter, other = Meter(split, **limits), ROWS[name].train
    if other is not None:
        return meter.run(lambda: other(split, sizes, meter))
    return _train_recbole(name, f"{folder}/recbole", sizes, meter)


def _train_recbole(name: str, exported: str, network: Network, meter: Meter) -> dict[str, Any]:
    """Train a way of `training_setup`."""
    import torch

    from benchmarks.training_setup import loss_of, make, targets_in, train_step
    from benchmarks.training_speed import flop_of, product_rate

    sizes = {
        "hidden_size": network.dimension,
        "n_layers": network.blocks,
        "n_heads": network.heads,
        "hidden_dropout_prob": network.dropout,
        "attn_dropout_prob": network.dropout,
    }
    trainer, loader, _ = make(exported, name, sizes)
    model, loss_of_batch = trainer.model, loss_of(trainer, name)
    meter.ranking = _ranking(model, loader._dataset, meter.split)
    model.train()

    def passes() -> None:
        batches = meter.watch(loader, targets_in)
        while True:
            for batch in batches:
                train_step(trainer, loss_of_batch, batch)

    found = meter.run(passes)
    batch = next(iter(loader))

    def step() -> int:
        train_step(trainer, loss_of_batch, batch)
        return targets_in(batch)

    rate = product_rate(torch.bfloat16 if name.endswith(HALF) else torch.float32)
    return {**found, "bound": flop_of(step) / rate}


def _ranking(model: Any, dataset: Any, split: Split) -> Ranking:
    """Return how a model of RecBole ranks, whose histories have their padding on the right."""
    import torch
    from recbole.data.interaction import Interaction

    known = dataset.field2token_id[dataset.iid_field]
    number = np.array([-1, *(known.get(str(item), -1) for item in range(1, split.n_items + 1))])

    def score(histories: Any) -> Any:
        lengths = (histories > 0).sum(1)
        order = torch.arange(peers.LENGTH) - peers.LENGTH + lengths[:, None]
        left = histories.gather(1, order.clamp(max=peers.LENGTH - 1) % peers.LENGTH)
        return model.full_sort_predict(Interaction({model.ITEM_SEQ: left, model.ITEM_SEQ_LEN: lengths}))

    return Ranking(number, peers.evaluating(model, score, 0))


def speed_table(records: list[dict[str, Any]]) -> Grid:
    """Return the table of processor seconds a million targets."""
    rows = []
    seen = _speeds(records)
    for name, row in ROWS.items():
        if name in seen:
            cpu = spread(record["cpu"] for record in seen[name])
            times = (
                cpu["median"] / spread(record["cpu"] for record in seen[PARALLEL])["median"] if PARALLEL in seen else 0
            )
            bounds = [record["bound"] / record["cpu"] for record in seen[name] if "bound" in record]
            share = f"{spread(bounds)['median']:.0%}" if bounds else ""
            rows.append([name, row.loss, text(cpu, 0, 1e-6), f"{times:.1f}", f"{seen[name][0]['targets']:,.0f}", share])
        elif reasons := [record["not_run"] for record in records if record["way"] == name]:
            rows.append([name, row.loss, f"not run: {reasons[0]}", "", "", ""])
    head = ["way", "loss", "processor s / M targets", f"÷ {PARALLEL}", "targets a step", "of matrix-product bound"]
    return Grid("Training SASRec: loading, loss, gradient and optimiser", head, rows)


def quality_table(records: list[dict[str, Any]], quality: float) -> Grid:
    """Return the table of the time to a quality."""
    rows = []
    for record in records:
        if "not_run" in record:
            rows.append([record["way"], f"not run: {record['not_run']}", "", ""])
            continue
        passes, seconds, score = record["curve"][-1] if record["curve"] else (0, 0, 0)
        spent = f"{seconds:,.0f}" if score >= quality else f"not reached in {max(seconds, record['seconds']):,.0f}"
        rows.append([record["way"], spent, f"{passes:.0f}", f"{score:.4f}"])
    head = ["way", "processor s of training", "passes", "validation NDCG@10"]
    return Grid(f"Until validation NDCG@10 is {quality}, history masked", head, rows)


def goals(steps: list[dict[str, Any]], reached: list[dict[str, Any]], quality: float) -> list[Goal]:
    """Compare the peers with parallel targets in float32."""
    speeds = {name: spread(r["cpu"] for r in found)["median"] for name, found in _speeds(steps).items()}
    times = {r["way"]: r["curve"][-1][1] for r in reached if r.get("curve") and r["curve"][-1][2] >= quality}
    found = []
    for section, seen in ((STEPS, speeds), (QUALITY, times)):
        for name, row in ROWS.items():
            if name in seen and PARALLEL in seen and name not in OURS:
                least = 10.0 if row.loss == FULL else 3.0
                what = f"{name} / {PARALLEL}"
                found.append(Goal(section, what, seen[name] / seen[PARALLEL], least, True, "×"))
    for name, records in _speeds(steps).items():
        if name == PARALLEL:
            share = spread(record["bound"] / record["cpu"] for record in records)["median"]
            found.append(Goal(STEPS, f"{name}: of the matrix-product bound", 100 * share, 60.0, True, "%"))
    return found


def _speeds(records: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the records of each way that has been measured."""
    measured = [record for record in records if record.get("cpu")]
    return {name: [r for r in measured if r["way"] == name] for name in ROWS if any(r["way"] == name for r in measured)}
