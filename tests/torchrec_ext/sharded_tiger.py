"""Trains, saves and evaluates small sharded TIGERs beside their unsharded twins; a script that each rank runs.

python sharded_tiger.py RANK WORLD_SIZE DIRECTORY     every rank writes DIRECTORY/rank{RANK}.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_trainer, init_seed
from torch import Tensor, nn
from torch.nn import functional

import recbole_ext  # noqa: F401 – registers TIGER
from genpas_plugins.semantic_ids.codebook import SemanticIds
from recbole_ext.models.tiger import TIGER
from torchrec_ext.batch import PairBatch
from torchrec_ext.checkpointing.checkpoints import Checkpoints
from torchrec_ext.evaluation import evaluate, recbole_state
from torchrec_ext.shard import shard
from torchrec_ext.tables import dense_parameters, layer_of, whole_table, whole_tables
from torchrec_ext.tiger import with_tokens

N_ITEMS, N_USERS, MAX_LENGTH, STEPS, RATE, EPS = 40, 29, 5, 10, 0.1, 1e-8
SETTINGS = {
    "genpas": {"strategy": "last_target"}, "MAX_ITEM_LIST_LENGTH": MAX_LENGTH, "d_model": 8, "num_heads": 2,
    "head_size": 4, "d_ff": 16, "encoder_layers": 1, "decoder_layers": 1, "dropout": 0.0, "beams": 24,
    "user_buckets": 0, "train_neg_sample_args": None, "epochs": 1, "use_gpu": False, "worker": 0,
    "metrics": ["Recall", "MRR", "NDCG"], "topk": [1, 5, 10], "valid_metric": "NDCG@5", "metric_decimal_place": 12,
    "eval_batch_size": 100, "show_progress": False, "state": "CRITICAL",
    "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
}  # fmt: skip


class Case(NamedTuple):
    sharding: str
    optimizer: str
    buckets: int
    exact_ranking: bool = False

    @property
    def name(self) -> str:
        return "-".join(map(str, self))


CASES = [
    Case("row_wise", "sgd", 0),
    Case("row_wise", "adagrad", 7),
    Case("table_wise", "sgd", 7),  # a table on each rank
    Case("table_wise", "adagrad", 0, exact_ranking=True),
]


class Data(NamedTuple):
    config: Any
    train: Any
    valid: Any
    test: Any


def prepared(directory: Path, case: Case, **changes: Any) -> Data:
    """Return RecBole's configuration and loaders of 29 users and 40 items."""
    (directory / "forty").mkdir(exist_ok=True)
    file = directory / "forty" / "forty.inter"
    rows = [
        f"u{user}\ti{(user * 7 + place * 3 + place * place) % N_ITEMS}\t{place}"
        for user in range(N_USERS)
        for place in range(6 + user % 5)
    ]
    file.write_text("\n".join(["user_id:token\titem_id:token\ttimestamp:float", *rows]) + "\n")
    ranking = {"user_buckets": case.buckets, "exact_ranking": case.exact_ranking}
    config = Config("TIGER", "forty", config_dict={**SETTINGS, "data_path": str(directory), **ranking, **changes})
    init_seed(3, True)
    return Data(config, *data_preparation(config, create_dataset(config)))


def build(data: Data) -> TIGER:
    """Return a model whose weights are spread, so that scores differ and some users are served well."""
    codes = np.stack([np.arange(N_ITEMS) % 5, np.arange(N_ITEMS) // 5 % 4, np.arange(N_ITEMS) // 20], 1)
    torch.manual_seed(5)
    model = TIGER(data.config, data.train._dataset, SemanticIds.of(codes))
    with torch.no_grad():
        model.network.output.normal_()
    return model


class Pairs(NamedTuple):
    """Pairs with right-padded histories."""

    history: Tensor
    length: Tensor
    target: Tensor
    user: Tensor


def draw(step: int, rank: int) -> Pairs:
    """Return a rank's pairs of a step: 4 + rank of them, so batches differ in size."""
    size = 4 + rank
    numbers = torch.Generator().manual_seed(1000 * step + rank)
    length = torch.randint(1, MAX_LENGTH + 1, (size,), generator=numbers)
    history = torch.randint(1, N_ITEMS + 1, (size, MAX_LENGTH), generator=numbers)
    history[torch.arange(MAX_LENGTH) >= length[:, None]] = 0
    target = torch.randint(1, N_ITEMS + 1, (size,), generator=numbers)
    return Pairs(history, length, target, torch.randint(1, N_USERS, (size,), generator=numbers))


def batch_of(pairs: Pairs) -> PairBatch:
    offsets = functional.pad(pairs.length.cumsum(0), (1, 0))
    address = torch.arange(len(pairs.target))
    return PairBatch.of(pairs.history[pairs.history > 0], offsets, pairs.target, address, 0, sequence=pairs.user)


class Training:
    """A sharded model with its optimizers."""

    def __init__(self, case: Case, data: Data) -> None:
        self.model = build(data)
        self.sharded = shard(self.model, sharding=case.sharding, optimizer=case.optimizer, learning_rate=RATE, eps=EPS)
        self.dense = torch.optim.SGD(dense_parameters(self.sharded).values(), lr=RATE)

    def train(self, steps: range, rank: int) -> list[float]:
        """Train, and return the losses over all ranks."""
        losses = []
        self.sharded.train()
        for step in steps:
            self.dense.zero_grad()
            loss = self.sharded(with_tokens(batch_of(draw(step, rank)), self.model.network)).loss
            loss.backward()
            self.dense.step()
            mean = loss.detach().clone()
            dist.all_reduce(mean)
            losses.append(float(mean) / dist.get_world_size())
        return losses

    def state(self) -> dict[str, Any]:
        return {"model": self.sharded.state_dict(), "tables": self.sharded.fused_optimizer.state_dict()}

    def tables(self) -> list[Tensor]:
        names = ["token", *(["user"] if self.model.network.n_users else [])]
        return [whole_table(self.sharded, name) for name in names]


def tables_of(model: TIGER) -> list[nn.Parameter]:
    tables = (model.network.token_embedding, model.network.user_embedding)
    return [table.weight for table in tables if table is not None]


def train_unsharded(case: Case, data: Data, world_size: int) -> tuple[list[float], TIGER]:
    """Train RecBole's model as it is on the batches of all ranks, the tables with an optimizer written out."""
    model = build(data).train()
    tables = tables_of(model)
    own = {id(table) for table in tables}
    dense = torch.optim.SGD([value for value in model.parameters() if id(value) not in own], lr=RATE)
    states = [torch.zeros_like(table) for table in tables]
    losses = []
    for step in range(STEPS):
        parts = [draw(step, rank) for rank in range(world_size)]
        whole = Pairs(*(torch.cat(columns) for columns in zip(*parts, strict=True)))
        model.zero_grad()
        fields = (model.ITEM_SEQ, model.ITEM_SEQ_LEN, model.POS_ITEM_ID, model.USER_ID)
        loss = model.calculate_loss(dict(zip(fields, whole, strict=True)))
        loss.backward()
        dense.step()
        with torch.no_grad():
            for table, squares in zip(tables, states, strict=True):
                squares.add_(table.grad**2)
                table.sub_(RATE * table.grad / (squares.sqrt() + EPS if case.optimizer == "adagrad" else 1))
        losses.append(loss.item())
    return losses, model


def recbole_figures(data: Data, model: TIGER, loader: Any) -> dict[str, float]:
    trainer = get_trainer(data.config["MODEL_TYPE"], data.config["model"])(data.config, model)
    trainer.eval_collector.data_collect(data.train)
    return dict(trainer.evaluate(loader, load_best_model=False))


def largest_difference(found: list[Tensor], expected: list[Tensor]) -> float:
    return max(float((a - b).detach().abs().max()) for a, b in zip(found, expected, strict=True))


def compared(case: Case, data: Data, rank: int, world_size: int) -> dict[str, Any]:
    """Train both twins, and return how far apart they are and what each scores."""
    training = Training(case, data)
    losses = training.train(range(STEPS // 2), rank)
    evaluate(training.sharded, data.valid, data.config)  # which changes nothing
    losses += training.train(range(STEPS // 2, STEPS), rank)
    expected, twin = train_unsharded(case, data, world_size)
    tables = training.tables()
    done: list[int] = []
    found = [evaluate(training.sharded, loader, data.config, progress=done.append) for loader in data[2:]]
    exported = build(data)
    exported.load_state_dict(recbole_state(training.sharded), strict=True)
    training.sharded.eval()
    users = data.valid._dataset[range(len(data.valid._dataset))]
    with layer_of(training.sharded).reading(whole_tables(training.sharded)):
        items, scores = training.model.best_items(users, 10)
    of_exported = exported.eval().full_sort_predict(users).topk(10)
    return {
        "loss": max(abs(a - b) for a, b in zip(losses, expected, strict=True)),
        "table": largest_difference(tables, tables_of(twin)),
        "moved": min(largest_difference([a], [b]) for a, b in zip(tables, tables_of(build(data)), strict=True)),
        "found": found,
        "expected": [recbole_figures(data, exported, loader) for loader in data[2:]],
        "done": done,
        "same_items": torch.equal(items, of_exported.indices),
        "scores": largest_difference([scores], [of_exported.values]),
    }


def resumed(directory: Path, data: Data, case: Case, rank: int) -> list[list[float]]:
    """Return the losses of the second half of a run without a break, and of one loaded before it."""
    training = Training(case, data)
    training.train(range(STEPS // 2), rank)
    saved = Checkpoints(directory / "checkpoints")
    saved.save(STEPS // 2, training.state())
    saved.wait()
    again = Training(case, data)
    again.train(range(3), rank)  # so that whatever is not loaded differs
    assert saved.load_newest(again.state()) == STEPS // 2
    return [part.train(range(STEPS // 2, STEPS), rank) for part in (training, again)]


def main(rank: int, world_size: int, directory: Path) -> None:
    sys.argv = sys.argv[:1]  # RecBole's Config reads the command line
    torch.set_num_threads(1)
    store = dist.FileStore(str(directory / "store"), world_size)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world_size)
    own = directory / f"data{rank}"
    own.mkdir()
    results = {case.name: compared(case, prepared(own, case), rank, world_size) for case in CASES}
    results["resumed"] = resumed(directory, prepared(own, CASES[1]), CASES[1], rank)
    (directory / f"rank{rank}.json").write_text(json.dumps(results, default=float))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
