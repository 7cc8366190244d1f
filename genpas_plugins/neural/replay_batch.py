"""RePlay's models trained on a stream: the batches that its `SasRec` takes.

Trainer().fit(LightningModule(model), data.loader(256, collate_fn=ReplayBatch(n_items)))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from genpas_plugins.neural.torch_dataset import IGNORED, left_padded

WEIGHTS = "weights"
"""The feature with the weights of targets, for RePlay's `CEWeighted("weights")`."""


@dataclass(frozen=True)
class ReplayBatch:
    """The `collate_fn` of a `StreamDataset` for RePlay: left padding and item numbers from 0.

    Item i of the store is i - 1 in RePlay. The padding of RePlay is the number of items.

    Parameters
    ----------
    n_items : items of the store; `cardinality` and `padding_value` of RePlay's schema
    item : name of the item feature in the schema
    """

    n_items: int
    item: str = "item_id"

    def __call__(self, batch: dict[str, Tensor]) -> dict[str, Any]:
        """Return the arguments of the model's `forward`: lists [n, L] and targets [n, L, 1]."""
        parts = left_padded(batch)
        known, trained = parts["attention_mask"] > 0, parts["labels"] != IGNORED
        return {
            "feature_tensors": {
                self.item: (parts["input_ids"] - 1).masked_fill(~known, self.n_items),
                WEIGHTS: parts["weights"],
            },
            "padding_mask": known,
            "positive_labels": (parts["labels"] - 1).masked_fill(~trained, self.n_items)[..., None],
            "target_padding_mask": trained[..., None],
        }
