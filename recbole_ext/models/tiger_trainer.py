"""RecBole's Trainer with what TIGER needs: a learning rate that falls, and validation on some of the users.

The test is on all users, always. Items that `mask_history` takes out of the ranking are not searched for.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from recbole.trainer import Trainer

DECAYS: dict[str, Callable[[float], float]] = {
    "linear": lambda done: 1 - done,
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
}
"""What `learning_rate` is multiplied with when so much of the training is done, 0 … 1."""


class TIGERTrainer(Trainer):
    """RecBole's Trainer with two more keys of the configuration.

    learning_rate_decay : one of DECAYS over `epochs`, set at the start of each epoch; None keeps the rate
    validation_users    : how many users are validated on, the same ones in every epoch; None for all
    """

    _subset: tuple[Any, Any] = (None, None)

    def _train_epoch(self, train_data: Any, epoch_idx: int, *args: Any, **kwargs: Any) -> Any:
        if self.config["learning_rate_decay"] is not None:
            factor = DECAYS[self.config["learning_rate_decay"]](epoch_idx / self.epochs)
            for group in self.optimizer.param_groups:
                group["lr"] = self.learning_rate * factor
        return super()._train_epoch(train_data, epoch_idx, *args, **kwargs)

    def _valid_epoch(self, valid_data: Any, show_progress: bool = False) -> Any:
        if self._subset[0] is not valid_data:
            self._subset = (valid_data, self._users_of(valid_data))
        return super()._valid_epoch(self._subset[1], show_progress=show_progress)

    def _full_sort_batch_eval(self, batched_data: Any) -> Any:
        """Rank as RecBole does; masked items take up no beams."""
        model, masked = self.model, batched_data[1]
        if masked is None:
            return super()._full_sort_batch_eval(batched_data)
        without = tuple(part.to(self.device) for part in masked)
        model.full_sort_predict = functools.partial(model.full_sort_predict, without=without)
        try:
            return super()._full_sort_batch_eval(batched_data)
        finally:
            del model.full_sort_predict

    def _users_of(self, valid_data: Any) -> Any:
        count = self.config["validation_users"]
        total = len(np.unique(valid_data._dataset.inter_feat[valid_data._dataset.uid_field].numpy()))
        if count is None or count >= total:
            return valid_data
        self.logger.info(
            f"Validation while training is on {count} of {total} users, drawn with seed {self.config['seed']} "
            "(validation_users); the test is on all users."
        )
        return subset_loader(valid_data, count, self.config["seed"])


def subset_loader(loader: Any, users: int, seed: int) -> Any:
    """Return an evaluation loader like `loader` for so many of its users, drawn by `seed`; rows keep their order."""
    dataset = loader._dataset
    of_row = dataset.inter_feat[dataset.uid_field].numpy()
    chosen = np.random.default_rng(seed).choice(np.unique(of_row), users, replace=False)
    subset = dataset.copy(dataset.inter_feat[np.flatnonzero(np.isin(of_row, chosen))])
    return type(loader)(loader.config, subset, loader._sampler, shuffle=False)
