"""The training pairs of each target item: what DuoRec and MELT read beside the pairs of a batch."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class Histories(NamedTuple):
    """Histories `int64 [B, L]` right-padded with 0 and their lengths `int64 [B]`."""

    items: Tensor
    lengths: Tensor


class SameTarget:
    """The pairs of a training split by their target: every target with all items before it.

    Parameters
    ----------
    dataset : RecBole's SequentialDataset of the training split; its rows are the targets

    Attributes
    ----------
    counts : int64 [n_items], number of pairs of each target
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self._fields = dataset.item_id_list_field, dataset.item_list_length_field
        targets = dataset.inter_feat[dataset.iid_field]
        self._rows = torch.argsort(targets, stable=True)
        self.counts = torch.bincount(targets, minlength=dataset.item_num)
        self._first = self.counts.cumsum(0) - self.counts

    def histories(self, targets: Tensor, number: Tensor) -> Histories:
        """Return the history of pair `number` of each target. Both are int64 [B] on the CPU; numbers start at 0."""
        pairs = self.dataset[self._rows[self._first[targets] + number]]
        return Histories(*(pairs[field] for field in self._fields))

    def all_of(self, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return target and number `int64 [n]` of every pair of different targets."""
        counts = self.counts[targets]
        first = counts.cumsum(0) - counts
        return targets.repeat_interleave(counts), torch.arange(int(counts.sum())) - first.repeat_interleave(counts)

    def drawn(self, targets: Tensor, otherwise: Histories) -> Histories:
        """Return the history of a random pair of each target, or `otherwise` for a target without a pair."""
        items, lengths = otherwise
        known = self.counts[targets.cpu()] > 0
        if not known.any():
            return otherwise
        counts = self.counts[targets.cpu()[known]]
        number = (torch.rand(len(counts), dtype=torch.float64) * counts).long()
        drawn = Histories(*(part.to(items.device) for part in self.histories(targets.cpu()[known], number)))
        row = known.to(items.device)
        items = functional.pad(items, (0, drawn.items.shape[1] - items.shape[1]))
        lengths = lengths.clone()
        items[row], lengths[row] = drawn
        return Histories(items[:, : int(lengths.max())], lengths)
