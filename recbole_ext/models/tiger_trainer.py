"""RecBole's Trainer with learning-rate decay and validation on a sample of the users."""

from __future__ import annotations

import functools
from typing import Any

from recbole.trainer import Trainer

from genpas_plugins.support.override import override
from recbole_ext.training_settings import rate_factor, validation_loader


class TIGERTrainer(Trainer):
    """RecBole's Trainer with `learning_rate_decay` and `validation_users`; see TIGER.yaml."""

    _validated: tuple[Any, Any] = (None, None)

    def _train_epoch(self, train_data: Any, epoch_idx: int, *args: Any, **kwargs: Any) -> Any:
        if self.config["learning_rate_decay"] is not None:
            for group in self.optimizer.param_groups:
                group["lr"] = self.learning_rate * rate_factor(self.config, epoch_idx)
        return super()._train_epoch(train_data, epoch_idx, *args, **kwargs)

    def _valid_epoch(self, valid_data: Any, show_progress: bool = False) -> Any:
        if self._validated[0] is not valid_data:
            self._validated = (valid_data, validation_loader(self.config, valid_data, self.logger.info))
        return super()._valid_epoch(self._validated[1], show_progress=show_progress)

    def _full_sort_batch_eval(self, batched_data: Any) -> Any:
        """Rank as RecBole does; masked items take up no beams."""
        model, masked = self.model, batched_data[1]
        if masked is None:
            return super()._full_sort_batch_eval(batched_data)
        without = tuple(part.to(self.device) for part in masked)
        with override(model, full_sort_predict=functools.partial(model.full_sort_predict, without=without)):
            return super()._full_sort_batch_eval(batched_data)
