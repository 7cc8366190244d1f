"""The results of a trained and a tested model of any framework."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from genpas_plugins.support.array_types import Integers
from genpas_plugins.support.errors import InputError

Figures = Mapping[str, float]  # test figures by metric, as ndcg@10
DIVERGED = "Lower the learning rate, or check the data and the loss."


@dataclass(frozen=True)
class Validation:
    """One validation: training pairs and seconds so far and the figure of the metric that chooses the checkpoint."""

    pairs: int
    seconds: float
    validation: float


@dataclass(frozen=True)
class RunResult:
    """One trained model."""

    validation: float  # best figure of `curve`, which has every validation
    pairs_seen: int  # training pairs up to the last validation
    seconds: float  # of training and validation
    curve: tuple[Validation, ...]
    trained_on: Mapping[str, Any]  # policy, seed, KL to the validation targets and more, as plain values
    checkpoint: str  # file with the weights of the best validation
    device: str

    def __post_init__(self) -> None:
        """Raise InputError if the figure that runs are compared by does not exist."""
        if math.isnan(self.validation):
            raise InputError(f"The best validation figure is NaN, so this run cannot be compared. {DIVERGED}")


@dataclass(frozen=True)
class TestResult:
    """Test figures of one checkpoint."""

    test: Mapping[str, Figures]  # figures by protocol: masked or unmasked
    # Figures by protocol, kind of group and group. A group has `n`, its number of users.
    groups: Mapping[str, Mapping[str, Mapping[str, Figures]]]
    # Rank of every test row's target by protocol, from 1; 0 below the list. Rows are in the order of the test set.
    ranks: Mapping[str, Integers] = field(default_factory=dict, compare=False)

    __test__ = False  # pytest collects classes of this name
