"""Evaluates small sharded models beside their unsharded twins; a script that each rank of a test's world runs.

python sharded_evaluation.py RANK WORLD_SIZE DIRECTORY     every rank writes DIRECTORY/rank{RANK}.json
"""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import get_model, get_trainer, init_seed
from torch import Tensor, nn
from torchrec.sparse.jagged_tensor import JaggedTensor

import recbole_ext  # noqa: F401 – mends RecBole for current numpy
from genpas_plugins.neural.layers.ranking_keys import TopItems
from torchrec_ext import evaluation
from torchrec_ext.evaluation import evaluate, output_rows, recbole_state
from torchrec_ext.losses import gather_rows
from torchrec_ext.shard import output_layer, shard

SETTINGS = {
    "genpas": {"strategy": "last_target"},
    "MAX_ITEM_LIST_LENGTH": 10, "hidden_size": 16, "embedding_size": 16, "inner_size": 16, "n_layers": 1, "n_heads": 2,
    "num_layers": 1, "loss_type": "CE", "train_neg_sample_args": None, "epochs": 1, "use_gpu": False, "worker": 0,
    "metrics": ["Recall", "MRR", "NDCG", "Hit", "Precision", "MAP"], "topk": [1, 20, 100], "valid_metric": "NDCG@20",
    "metric_decimal_place": 12, "eval_batch_size": 400, "show_progress": False, "state": "CRITICAL", "data_path": None,
    "initializer_range": 0.5,
}  # fmt: skip
FEW = {"topk": [1, 2, 3], "valid_metric": "NDCG@2", "eval_batch_size": 2, "load_col": {"inter": ["user", "item", "t"]}}
FEW |= {"USER_ID_FIELD": "user", "ITEM_ID_FIELD": "item", "TIME_FIELD": "t"}


class Case(NamedTuple):
    dataset: str
    model: str
    sharding: str
    output: str
    mask_history: bool = False

    @property
    def name(self) -> str:
        return "-".join(map(str, self))


CASES = [
    Case("ml-100k", "SASRec", "row_wise", "vocab_parallel"),
    Case("ml-100k", "GRU4Rec", "row_wise", "sampled"),
    Case("ml-100k", "GRU4Rec", "table_wise", "vocab_parallel"),
    Case("ml-100k", "SASRec", "table_wise", "sampled"),
    Case("ml-100k", "SASRec", "column_wise", "vocab_parallel"),
    Case("few", "SASRec", "table_wise", "vocab_parallel"),  # of three ranks, the last has no row and often no user
    Case("few", "GRU4Rec", "table_wise", "sampled"),
    Case("ml-100k", "SASRec", "row_wise", "vocab_parallel", mask_history=True),
    Case("few", "GRU4Rec", "table_wise", "sampled", mask_history=True),
]


def cases_of(world_size: int) -> list[Case]:
    """Return the cases that a world of this size runs; three ranks, which are slow, the tiny catalogue only."""
    return [case for case in CASES if world_size <= 2 or case.dataset == "few"]


def write_few(directory: Path) -> None:
    """Write a data set of 7 users and 3 items where RecBole looks for it."""
    rows = [f"u{user}\ti{(user * step + step // 2) % 3}\t{step}" for user in range(7) for step in range(4 + user % 2)]
    (directory / "few").mkdir()
    (directory / "few" / "few.inter").write_text("\n".join(["user:token\titem:token\tt:float", *rows]) + "\n")


@cache
def prepared(dataset: str, model: str, directory: Path, **changes: Any) -> Any:
    """Return RecBole's configuration and (training, validation, test) loaders."""
    settings = {**SETTINGS, **changes}
    if dataset == "few":
        settings |= {**FEW, "data_path": str(directory), **changes}
    if settings["data_path"] is None:
        del settings["data_path"]
    if settings["genpas"] is None:
        del settings["genpas"]
    config = Config(model, dataset, config_dict=settings)
    init_seed(3, True)
    return config, *data_preparation(config, create_dataset(config))


def build(config: Any, train: Any) -> nn.Module:
    """Return a model whose item rows are spread, so that scores differ and some users are served well."""
    torch.manual_seed(5)
    model = get_model(config["model"])(config, train._dataset)
    with torch.no_grad():
        model.item_embedding.weight.normal_()
    return model


def recbole_figures(config: Any, model: nn.Module, train: Any, loader: Any) -> dict[str, float]:
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    trainer.eval_collector.data_collect(train)
    return dict(trainer.evaluate(loader, load_best_model=False))


def figures(case: Case, directory: Path) -> dict[str, Any]:
    """Return what the sharded and the unsharded model score on validation and test data."""
    config, train, valid, test = prepared(case.dataset, case.model, directory, mask_history=case.mask_history)
    expected = [recbole_figures(config, build(config, train), train, loader) for loader in (valid, test)]
    model = build(config, train)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    sharded = shard(model, sharding=case.sharding, output=case.output)
    done: list[int] = []
    found = [evaluate(sharded, loader, config, progress=done.append) for loader in (valid, test)]
    state = recbole_state(sharded)
    get_model(config["model"])(config, train._dataset).load_state_dict(state, strict=True)
    same = all(torch.equal(value, weights[name]) for name, value in state.items())
    return {"found": found, "expected": expected, "done": done, "users": len(valid._dataset), "same_weights": same}


class LastItem(SequentialRecommender):
    """The smallest model that can be sharded: the hidden state is the last item's row."""

    max_seq_length = 4
    USER_ID, ITEM_SEQ, ITEM_SEQ_LEN, POS_ITEM_ID, NEG_ITEM_ID = "user", "history", "length", "positive", "negative"

    def __init__(self, rows: Tensor) -> None:
        nn.Module.__init__(self)  # there is no configuration
        self.n_items = len(rows)
        self.item_embedding = nn.Embedding.from_pretrained(rows.clone(), freeze=False)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
        rows = self.item_embedding(item_seq)
        return rows[torch.arange(len(rows)), item_seq_len - 1] * self.scale

    def calculate_loss(self, interaction: Any) -> Tensor:
        hidden = self(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        return nn.functional.cross_entropy(hidden @ self.item_embedding.weight.T, interaction[self.POS_ITEM_ID])


class Problem(NamedTuple):
    """Rows of small whole numbers: scores are exact in any order of summing, and tie often."""

    rows: Tensor
    histories: list[list[list[int]]]  # those of each rank; some ranks have none
    k: int

    @classmethod
    def draw(cls, seed: int, world_size: int) -> Problem:
        numbers = np.random.default_rng(seed)
        n_rows = int(numbers.integers(2 * world_size, 30))
        spread = int(numbers.integers(0, 4))  # 0: all scores tie
        rows = torch.from_numpy(numbers.integers(-spread, spread + 1, (n_rows, 4))).float()
        histories = [
            [numbers.integers(1, n_rows, numbers.integers(1, 5)).tolist() for _ in range(numbers.integers(0, 5))]
            for _ in range(world_size)
        ]
        return cls(rows, histories, int(numbers.integers(1, n_rows)))

    def expected(self, rank: int) -> tuple[list[list[int]], list[list[float]]]:
        """Rank all items for each of this rank's histories by a plain sort."""
        items, best = [], []
        for history in self.histories[rank]:
            scores = (self.rows @ self.rows[history[-1]]).tolist()
            ranked = sorted(range(1, len(scores)), key=lambda item: (-scores[item], item))[: self.k]
            items.append(ranked)
            best.append([scores[item] for item in ranked])
        return items, best


def solve(problem: Problem, rank: int, sharding: str, output: str) -> TopItems:
    sharded = shard(LastItem(problem.rows), sharding=sharding, output=output)
    return top_items(sharded, jagged(problem.histories[rank]), problem.k)


def top_items(sharded, history: JaggedTensor, k: int) -> TopItems:
    """Return the k best items of this rank's histories, as an evaluation ranks them."""
    layer, own = output_layer(sharded), output_rows(sharded)
    rank, world_size = dist.get_rank(layer.group), dist.get_world_size(layer.group)
    size = torch.tensor([len(history.lengths())])
    with evaluation._evaluating(sharded):
        sizes = gather_rows(size, [1] * world_size, layer.group).tolist()
        if not any(sizes):
            none = own.new_empty(0, k)
            return TopItems(none.long(), none)
        hidden = gather_rows(evaluation._encode(sharded, history), sizes, layer.group)
        items, scores = evaluation._merge(hidden, own, k, layer.n_rows, layer.group)
    return TopItems(items.split(sizes)[rank], scores.split(sizes)[rank])


def jagged(histories: list[list[int]]) -> JaggedTensor:
    values = torch.tensor([item for history in histories for item in history], dtype=torch.int64)
    return JaggedTensor(values=values, lengths=torch.tensor([len(history) for history in histories], dtype=torch.int64))


def wrong_problems(rank: int, world_size: int, seeds: range) -> list[int]:
    wrong = []
    for seed in seeds:
        problem = Problem.draw(seed, world_size)
        sharding = ("row_wise", "table_wise")[seed % 2]
        if sharding == "row_wise" and -(-len(problem.rows) // world_size) * (world_size - 1) >= len(problem.rows):
            sharding = "table_wise"  # a rank would have no rows
        found = solve(problem, rank, sharding, ("vocab_parallel", "sampled")[seed // 2 % 2])
        if (found.items.tolist(), found.scores.tolist()) != problem.expected(rank):
            wrong.append(seed)
    return wrong


def main(rank: int, world_size: int, directory: Path) -> None:
    sys.argv = sys.argv[:1]  # RecBole's Config reads the command line
    torch.set_num_threads(1)
    store = dist.FileStore(str(directory / "store"), world_size)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world_size)
    results = {case.name: figures(case, directory) for case in cases_of(world_size)}
    results["wrong problems"] = wrong_problems(rank, world_size, range(24))
    (directory / f"rank{rank}.json").write_text(json.dumps(results, default=float))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
