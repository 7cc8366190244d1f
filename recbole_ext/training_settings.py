"""Two settings of a training that any trainer may read: `learning_rate_decay` and `validation_users`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

DECAYS: dict[str, Callable[[float], float]] = {
    "linear": lambda done: 1 - done,
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
}
"""Factor of `learning_rate` by the share of the epochs that is done, 0 … 1."""


def rate_factor(config: Any, epoch: int) -> float:
    """Return the factor of `learning_rate` in an epoch. Epochs start at 0. It is 1 without `learning_rate_decay`."""
    decay = config["learning_rate_decay"]
    return 1.0 if decay is None else DECAYS[decay](epoch / config["epochs"])


def validation_loader(config: Any, loader: Any, say: Callable[[str], Any]) -> Any:
    """Return the loader that validates while training: `loader` or a loader of `validation_users` users.

    The users are the same in every epoch. The test is on all users.
    """
    count, users = config["validation_users"], _users(loader)
    total = len(np.unique(users))
    if count is None or count >= total:
        return loader
    say(
        f"Validation while training is on {count} of {total} users, drawn with seed {config['seed']} "
        "(validation_users); the test is on all users."
    )
    return subset_loader(loader, count, config["seed"])


def subset_loader(loader: Any, users: int, seed: int) -> Any:
    """Return an evaluation loader for `users` of a loader's users drawn by `seed`. Rows keep their order."""
    of_row = _users(loader)
    chosen = np.random.default_rng(seed).choice(np.unique(of_row), users, replace=False)
    subset = loader._dataset.copy(loader._dataset.inter_feat[np.flatnonzero(np.isin(of_row, chosen))])
    return type(loader)(loader.config, subset, loader._sampler, shuffle=False)


def _users(loader: Any) -> np.ndarray:
    dataset = loader._dataset
    return dataset.inter_feat[dataset.uid_field].numpy()  # type: ignore[no-any-return]
