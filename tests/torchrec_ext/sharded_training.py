"""Trains small sharded models beside their unsharded twins; a script that each rank of a test's world runs.

python sharded_training.py RANK WORLD_SIZE DIRECTORY     rank 0 writes DIRECTORY/results.json
"""

from __future__ import annotations

import json
import math
import os
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from recbole.model.sequential_recommender.gru4rec import GRU4Rec
from recbole.model.sequential_recommender.sasrec import SASRec
from torch import Tensor, nn
from torch.nn import functional
from torchrec.sparse.jagged_tensor import KeyedJaggedTensor
from torchrec.streamable import Pipelineable

from torchrec_ext.batch import WindowBatch
from torchrec_ext.shard import own_rows, shard, with_output_rows
from torchrec_ext.tables import dense_parameters, whole_table

N_ROWS, MAX_LENGTH, STEPS, RATE, EPS = 11, 6, 20, 0.1, 1e-8
NEGATIVES = 7
MODELS = {"SASRec": SASRec, "GRU4Rec": GRU4Rec}
CONFIG = {
    "USER_ID_FIELD": "user", "ITEM_ID_FIELD": "item", "LIST_SUFFIX": "_list", "ITEM_LIST_LENGTH_FIELD": "length",
    "NEG_PREFIX": "neg_", "MAX_ITEM_LIST_LENGTH": MAX_LENGTH, "device": "cpu", "n_layers": 1, "n_heads": 2,
    "hidden_size": 8, "embedding_size": 8, "inner_size": 8, "num_layers": 1, "dropout_prob": 0.0,
    "hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0, "hidden_act": "gelu", "layer_norm_eps": 1e-12,
    "initializer_range": 0.3, "loss_type": "CE",
}  # fmt: skip


class Case(NamedTuple):
    sharding: str
    output: str
    optimizer: str
    model: str = "SASRec"
    n_rows: int = N_ROWS
    weighted: bool = False
    targets: str = "single"

    @property
    def name(self) -> str:
        return "-".join(map(str, self))


CASES = [
    *(
        Case("row_wise", output, optimizer)
        for output in ("gather", "vocab_parallel", "sampled")
        for optimizer in ("sgd", "adagrad", "row_wise_adagrad")
    ),
    Case("table_wise", "gather", "sgd"),
    Case("table_wise", "vocab_parallel", "row_wise_adagrad"),
    Case("table_wise", "sampled", "adagrad"),
    # Row-wise Adagrad keeps one state a row and shard, so column-wise it is another optimizer, by design.
    Case("column_wise", "vocab_parallel", "adagrad"),
    Case("column_wise", "gather", "sgd"),
    Case("planner", "vocab_parallel", "adagrad"),
    Case("row_wise", "vocab_parallel", "adagrad", model="GRU4Rec"),
    Case("table_wise", "gather", "row_wise_adagrad", model="GRU4Rec"),
    Case("row_wise", "sampled", "sgd", model="GRU4Rec"),
    Case("table_wise", "vocab_parallel", "adagrad", n_rows=4),  # the third of three ranks scores no row
    Case("table_wise", "gather", "sgd", n_rows=4),
    Case("row_wise", "vocab_parallel", "sgd", weighted=True),
    Case("row_wise", "sampled", "sgd", weighted=True),
    Case("row_wise", "vocab_parallel", "adagrad", targets="parallel"),
    Case("table_wise", "gather", "sgd", model="GRU4Rec", targets="parallel"),
    Case("row_wise", "sampled", "row_wise_adagrad", targets="parallel"),
]


ON_DEVICE = [
    Case("row_wise", "vocab_parallel", "row_wise_adagrad"),
    Case("row_wise", "gather", "adagrad"),
    Case("row_wise", "sampled", "sgd"),
    Case("table_wise", "vocab_parallel", "adagrad"),
    Case("column_wise", "vocab_parallel", "sgd"),
    Case("planner", "vocab_parallel", "adagrad"),
    Case("row_wise", "vocab_parallel", "adagrad", model="GRU4Rec"),
    Case("row_wise", "vocab_parallel", "adagrad", targets="parallel"),
]
"""Trained on a GPU, or on what tests take for one."""


def cases_of(world_size: int) -> list[Case]:
    """Return all cases for two ranks; for more, which are slow to run, each sharding with each output once."""
    chosen = {(case.sharding, case.output, case.n_rows, case.targets): case for case in CASES if case.model == "SASRec"}
    return CASES if world_size == 2 else list(chosen.values())


@dataclass
class Batch(Pipelineable):
    features: KeyedJaggedTensor
    weights: Tensor

    def to(self, device: torch.device, non_blocking: bool = False) -> Batch:
        return Batch(self.features.to(device), self.weights.to(device))

    def record_stream(self, stream: torch.Stream) -> None:
        pass

    def pin_memory(self) -> Batch:
        return self


class Padded(NamedTuple):
    history: Tensor
    length: Tensor
    target: Tensor
    weights: Tensor
    negatives: Tensor


class Catalogue(NamedTuple):
    n_rows: int

    def num(self, field: str) -> int:
        return self.n_rows


def build(model: str = "SASRec", n_rows: int = N_ROWS, **changes: Any) -> nn.Module:
    torch.manual_seed(5)
    return MODELS[model]({**CONFIG, **changes}, Catalogue(n_rows))


def draw(step: int, rank: int, *, n_rows: int = N_ROWS, weighted: bool = False) -> Padded:
    """Return rank's pairs of a step: 4 + rank of them, so batches differ in size; all ranks have the same negatives."""
    size = 4 + rank
    numbers = torch.Generator().manual_seed(1000 * step + rank)
    length = torch.randint(1, MAX_LENGTH + 1, (size,), generator=numbers)
    history = torch.randint(1, n_rows, (size, MAX_LENGTH), generator=numbers)
    history[torch.arange(MAX_LENGTH) >= length[:, None]] = 0
    target = torch.randint(1, n_rows, (size,), generator=numbers)
    weights = torch.rand(size, generator=numbers) + 0.5 if weighted else torch.ones(size)
    negatives = torch.multinomial(
        proposal(n_rows).exp(), NEGATIVES, replacement=True, generator=torch.Generator().manual_seed(step)
    )
    return Padded(history, length, target, weights, negatives)


def draw_windows(step: int, rank: int, n_rows: int = N_ROWS) -> WindowBatch:
    """Return rank's windows of a step: the pairs' histories and targets, every other item a target of random weight."""
    pairs = draw(step, rank, n_rows=n_rows)
    numbers = torch.Generator().manual_seed(9000 + 1000 * step + rank)
    # At least one target a window, as streams have it: the last one.
    place = torch.arange(MAX_LENGTH)
    chosen = (torch.rand(pairs.history.shape, generator=numbers) < 0.5) & (place < pairs.length[:, None] - 1)
    chosen |= place == pairs.length[:, None] - 1
    following = torch.cat([pairs.history[:, 1:], torch.zeros_like(pairs.history[:, :1])], 1)
    following[torch.arange(len(following)), pairs.length - 1] = pairs.target
    weights = torch.rand(int(chosen.sum()), generator=numbers)
    offsets, bounds = (functional.pad(counts.cumsum(0), (1, 0)) for counts in (pairs.length, chosen.sum(1)))
    return WindowBatch.of_targets(
        (pairs.history[pairs.history > 0], offsets),
        (following[chosen], bounds),
        place=chosen.nonzero()[:, 1],
        weights=weights,
        address=torch.arange(len(pairs.length)),
        example=torch.arange(len(pairs.length)),
        epoch=0,
    )


def single_pairs(step: int, world_size: int, n_rows: int) -> tuple[Padded, int]:
    """Return every target of all ranks' windows as a pair of its own, weighted, and the number of windows."""
    rows, windows = [], 0
    for rank in range(world_size):
        batch = draw_windows(step, rank, n_rows)
        windows += len(batch)
        histories = batch.history.to_dense()
        targets = batch.features["target"].to_dense()
        at = iter(zip(batch.place.tolist(), batch.weights.tolist(), strict=True))
        for history, of_window in zip(histories, targets, strict=True):
            for target in of_window.tolist():
                place, weight = next(at)
                read = history[: place + 1]
                rows.append((functional.pad(read, (0, MAX_LENGTH - len(read))), place + 1, target, weight))
    history, length, target, weight = zip(*rows, strict=True)
    columns = torch.stack(history), torch.tensor(length), torch.tensor(target), torch.tensor(weight)
    return Padded(*columns, draw(step, 0, n_rows=n_rows).negatives), windows


def proposal(n_rows: int = N_ROWS) -> Tensor:
    """Return the log-probabilities of a skewed proposal over items from 1 on."""
    return torch.tensor([-math.inf, *range(1, n_rows)]).log().sub(math.log(n_rows * (n_rows - 1) / 2)).nan_to_num(-1e9)


def batch_of(padded: Padded) -> Batch:
    present = padded.history > 0
    features = KeyedJaggedTensor(
        keys=["history", "target"],
        values=torch.cat([padded.history[present], padded.target]),
        lengths=torch.cat([padded.length, torch.ones_like(padded.target)]),
        length_per_key=[int(present.sum()), len(padded.target)],
    )
    return Batch(features, padded.weights)


def train_sharded(
    case: Case, rank: int, *, device: str = "cpu", steps: int = STEPS, counting: Any = nullcontext
) -> tuple[list[float], Tensor]:
    """Return losses and item table; the steps after the first are inside `counting()`."""
    sharded = shard(
        build(case.model, case.n_rows),
        sharding=case.sharding,
        output=case.output,
        targets=case.targets,
        optimizer=case.optimizer,
        learning_rate=RATE,
        eps=EPS,
        log_q=proposal(case.n_rows) if case.output == "sampled" else None,
        device=device,
    )
    dense = torch.optim.SGD(dense_parameters(sharded).values(), lr=RATE)
    rows = own_rows(sharded)
    losses = []
    for step in range(steps):
        padded = draw(step, rank, n_rows=case.n_rows, weighted=case.weighted)
        extra = ("negatives", padded.negatives.to(device)) if case.output == "sampled" else ("all", rows)
        dense.zero_grad()
        batch = draw_windows(step, rank, case.n_rows) if case.targets == "parallel" else batch_of(padded)
        batch = batch.to(torch.device(device))
        with counting() if step else nullcontext():
            loss = sharded(with_output_rows(batch, *extra)).loss
            loss.backward()
            dense.step()
        mean = loss.detach().clone()
        dist.all_reduce(mean)
        losses.append(float(mean) / dist.get_world_size())
    return losses, whole_table(sharded)


def train_unsharded(case: Case, world_size: int) -> tuple[list[float], Tensor]:
    """Train RecBole's model as it is on the batches of all ranks, the item table with an optimizer written out."""
    model = build(case.model, case.n_rows)
    table = model.item_embedding.weight
    dense = torch.optim.SGD([value for value in model.parameters() if value is not table], lr=RATE)
    state = torch.zeros(case.n_rows, 1) if case.optimizer == "row_wise_adagrad" else torch.zeros_like(table)
    losses = []
    for step in range(STEPS):
        parts = [draw(step, rank, n_rows=case.n_rows, weighted=case.weighted) for rank in range(world_size)]
        whole = Padded(*(torch.cat(columns) for columns in zip(*parts, strict=True)))
        whole = whole._replace(negatives=parts[0].negatives)
        model.zero_grad()
        if case.targets == "parallel":
            whole, windows = single_pairs(step, world_size, case.n_rows)
            loss = unsharded_loss(model, whole, case) * whole.weights.sum() / windows
        else:
            loss = unsharded_loss(model, whole, case)
        loss.backward()
        dense.step()
        gradient = table.grad
        with torch.no_grad():
            if case.optimizer == "sgd":
                table -= RATE * gradient
            else:
                squares = gradient**2
                state += squares.mean(1, keepdim=True) if case.optimizer == "row_wise_adagrad" else squares
                table -= RATE * gradient / (state.sqrt() + EPS)
        losses.append(loss.item())
    return losses, table.detach()


def unsharded_loss(model: nn.Module, whole: Padded, case: Case) -> Tensor:
    if case.output != "sampled" and not case.weighted and case.targets == "single":
        interaction = {
            model.ITEM_SEQ: whole.history, model.ITEM_SEQ_LEN: whole.length, model.POS_ITEM_ID: whole.target
        }  # fmt: skip
        return model.calculate_loss(interaction)
    hidden = model(whole.history, whole.length)
    if case.output != "sampled":
        losses = functional.cross_entropy(hidden @ model.item_embedding.weight.T, whole.target, reduction="none")
    else:
        q = proposal(case.n_rows).exp()
        losses = []
        for state, target in zip(hidden, whole.target, strict=True):
            scores = model.item_embedding.weight @ state
            others = [item for item in whole.negatives.tolist() if item != target]
            normaliser = scores[target].exp() + sum(scores[item].exp() / (NEGATIVES * q[item]) for item in others)
            losses.append(normaliser.log() - scores[target])
        losses = torch.stack(losses)
    return (losses * whole.weights).sum() / whole.weights.sum()


def errors_of_bad_batches(rank: int, world_size: int) -> dict[str, str]:
    """Return what each kind of wrong batch raises on this rank; the ids are such that every rank raises."""
    errors = {}
    good = draw(0, rank)
    sharded = shard(build())

    def attempt(name: str, batch: Batch) -> None:
        try:
            sharded(batch)
        except (RuntimeError, ValueError) as error:
            errors[name] = f"{type(error).__name__}: {error}"

    target = good.target.clone()
    if rank == 0:
        target[0] = N_ROWS
    attempt("target on rank 0", with_output_rows(batch_of(good._replace(target=target)), "all", own_rows(sharded)))
    # Ids beyond all blocks go to rank (id modulo world size).
    history = good.history.clone()
    history[:, 0] = torch.arange(len(history)) + 60
    attempt("history", with_output_rows(batch_of(good._replace(history=history)), "all", own_rows(sharded)))
    return errors


def main(rank: int, world_size: int, directory: Path) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(str(directory / "store"), world_size)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world_size)
    results = {}
    for case in cases_of(world_size):
        losses, table = train_sharded(case, rank)
        if rank == 0:
            expected_losses, expected_table = train_unsharded(case, world_size)
            results[case.name] = {
                "loss": max(abs(a - b) for a, b in zip(losses, expected_losses, strict=True)),
                "table": float((table - expected_table).abs().max()),
                "moved": float((table - build(case.model, case.n_rows).item_embedding.weight.detach()).abs().max()),
            }
    (directory / f"errors{rank}.json").write_text(json.dumps(errors_of_bad_batches(rank, world_size)))
    if rank == 0:
        (directory / "results.json").write_text(json.dumps(results))
    sys.stdout.flush()
    os._exit(0)  # the collectives that the bad batches left open would abort an ordinary exit


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
