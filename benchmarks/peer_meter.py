"""Measure another library's training loop through its loader: it asks for a batch when the last one is trained."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

USERS_AT_A_TIME = 256
TOP = 10


class Split(NamedTuple):
    """Each user's sequence without its last two items, the first of both to validate on, and the number of items."""

    train: list[NDArray[np.int64]]
    valid: NDArray[np.int64]
    n_items: int


class Ranking(NamedTuple):
    """How a model ranks.

    Parameters
    ----------
    number : int64 [n_items + 1], the model's number of each item, -1 for an unknown one
    score : from histories in the model's numbers to a float array [histories, numbers]; its model is in evaluation
    """

    number: NDArray[np.int64]
    score: Callable[[list[NDArray[np.int64]]], Any]


class Enough(Exception):
    """The loop has trained as much as was asked."""


@dataclass
class Meter:
    """What a loop has trained: after some batches, so many targets; or until validation has a quality.

    Parameters
    ----------
    split : the data
    warm_up : batches that are not measured
    targets : to train, or 0 for any number
    seconds : of the processor at most
    quality : NDCG@10 on validation, measured after each pass, that is enough; 0 for none
    """

    split: Split
    warm_up: int
    targets: int
    seconds: float
    quality: float = 0.0
    ranking: Ranking | None = None
    trained: int = 0
    steps: int = 0
    passes: int = 0
    curve: list[list[float]] = field(default_factory=list)
    _begin: float = 0.0
    _end: float = 0.0

    def watch(self, loader: Any, count: Callable[[Any], int]) -> Watched:
        """Return a loader of the same batches; `count` returns the positions of a batch that have a loss."""
        return Watched(self, loader, count)

    def run(self, train: Callable[[], object]) -> dict[str, Any]:
        """Train until it is enough.

        cpu : processor seconds a target, loading, loss, gradient and optimiser included
        targets : mean of a step
        seconds : of the processor in all
        curve : [[pass from 1, processor seconds of training alone, NDCG@10]]
        """
        with suppress(Enough):
            train()
        spent = self._end - self._begin
        return {
            "cpu": spent / max(self.trained, 1),
            "targets": self.trained / max(self.steps, 1),
            "seconds": spent,
            "curve": self.curve,
        }

    def batches(self, loader: Iterable[Any], count: Callable[[Any], int]) -> Iterator[Any]:
        """Yield the batches of a pass."""
        self._next_pass()
        for batch in loader:
            number = count(batch)
            yield batch
            self._after_step(number)

    def _next_pass(self) -> None:
        now = time.process_time()
        if not self.passes:
            self._begin = self._end = now
        elif self.quality and self.ranking is not None:
            score = ndcg(self.ranking, self.split)
            self.curve.append([self.passes, round(now - self._begin, 1), score])
            self._begin += time.process_time() - now
            if score >= self.quality or now - self._begin > self.seconds:
                raise Enough
        self.passes += 1

    def _after_step(self, number: int) -> None:
        now = time.process_time()
        if self.warm_up:
            self.warm_up -= 1
            self._begin = self._end = now
            return
        self.trained, self.steps, self._end = self.trained + number, self.steps + 1, now
        if (0 < self.targets <= self.trained) or now - self._begin > self.seconds:
            raise Enough


class Watched:
    """The batches of a loader, watched by a meter."""

    def __init__(self, meter: Meter, loader: Any, count: Callable[[Any], int]) -> None:
        self.meter, self.loader, self.count = meter, loader, count

    def __len__(self) -> int:
        """Return the batches of a pass."""
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        """Yield the batches of a pass."""
        return self.meter.batches(self.loader, self.count)


def ndcg(ranking: Ranking, split: Split) -> float:
    """Return NDCG@10 of the validation items among all items that are not in the user's history."""
    gain = 0.0
    number = ranking.number
    for begin in range(0, len(split.valid), USERS_AT_A_TIME):
        users = slice(begin, begin + USERS_AT_A_TIME)
        histories = [number[items] for items in split.train[users]]
        histories = [items[items >= 0] for items in histories]
        scores, targets = np.array(ranking.score(histories), dtype=np.float32), number[split.valid[users]]
        hidden = np.ones(scores.shape[1], bool)
        hidden[number[number >= 0]] = False
        scores[:, hidden] = -np.inf
        own = scores[np.arange(len(scores)), targets]
        for row, items in enumerate(histories):
            scores[row, items] = -np.inf
        ranks = (scores > own[:, None]).sum(1)
        gain += float((1 / np.log2(ranks + 2))[(ranks < TOP) & (targets >= 0)].sum())
    return gain / len(split.valid)
