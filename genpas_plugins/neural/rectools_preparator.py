"""RecTools' SASRec trained on a stream: the data preparator that its models take.

SASRecModel(data_preparator_type=StreamPreparator, data_preparator_kwargs={"genpas": {"strategy": "multi_target"}})
"""

from __future__ import annotations

from typing import Any

from rectools import Columns
from rectools.models.nn.transformers.sasrec import SASRecDataPreparator
from torch import Tensor
from torch.utils.data import DataLoader

from genpas_plugins.data.sequences import SequenceStore
from genpas_plugins.neural.torch_dataset import IGNORED, StepSampler, StreamDataset, left_padded
from genpas_plugins.sampling.stream import window_stream
from genpas_plugins.settings.genpas import GenPASConfig


class StreamPreparator(SASRecDataPreparator):
    """Windows of a policy in place of each user's last items.

    All interactions of a user train instead of the last `session_max_len` + 1. A target has the weight of its
    window because the weights of interactions are not read.

    Parameters
    ----------
    genpas : the keys of a `genpas` section or the name of a strategy. Targets are always parallel.
    seed : int in [0, 2⁶⁴)
    kwargs : RecTools' own
    """

    def __init__(self, *, genpas: Any = "multi_target", seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.section = GenPASConfig.from_mapping(genpas, "data_preparator_kwargs").replaced(targets="parallel")
        self.section.require_only("strategy", "alpha", "beta", "gamma", "pairs_per_epoch", "targets")
        self.seed = seed

    def _filter_train_interactions(self, train_interactions: Any) -> Any:
        users = train_interactions[Columns.User].value_counts()
        kept = users[users >= self.train_min_user_interactions].index
        return train_interactions[train_interactions[Columns.User].isin(kept)].sort_values(
            Columns.Datetime, kind="stable"
        )

    def get_dataloader_train(self) -> DataLoader[Any]:
        """Return the loader of windows. Each iteration is an epoch in the order of the stream."""
        frame = self.train_dataset.interactions.df[[Columns.User, Columns.Item, Columns.Datetime]]
        grouped = frame.sort_values([Columns.User, Columns.Datetime], kind="stable")
        lengths = grouped[Columns.User].value_counts(sort=False).sort_index().to_numpy()
        store = SequenceStore.from_arrays(
            grouped[Columns.Item].to_numpy(), [0, *lengths.cumsum()], n_items=self.item_id_map.size - 1
        )
        stream = window_stream(
            store.view(),
            self.section.policy,
            max_length=self.session_max_len,
            seed=self.seed,
            pairs_per_epoch=self.section.pairs_per_epoch,
        )
        data = StreamDataset(stream, self.session_max_len)
        steps, workers = StepSampler(data, self.batch_size), self.dataloader_num_workers
        return DataLoader(data, sampler=steps, batch_size=None, collate_fn=self._batch, num_workers=workers)

    def _batch(self, batch: Any) -> dict[str, Tensor]:
        """Return RecTools' batch. Padding is 0 on the left and target 0 means no target."""
        parts = left_padded(batch)
        targets = parts["labels"].masked_fill(parts["labels"] == IGNORED, 0)
        shifted = {"x": parts["input_ids"], "y": targets, "yw": parts["weights"]}
        if self.negative_sampler is not None:
            shifted["negatives"] = self.negative_sampler.get_negatives(
                shifted, lowest_id=self.n_item_extra_tokens, highest_id=self.item_id_map.size
            )
        return shifted
