"""MELT in RecBole on a SASRec backbone.

"Mutual Enhancement of Long-Tailed User and Item for Sequential Recommendation" (Kim et al., SIGIR 2023). What the paper
leaves open follows the authors' released code.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from recbole.trainer import Trainer
from torch import Tensor, nn

from genpas_plugins.support.errors import InputError, whole_number
from recbole_ext.genpas_key import genpas_config
from recbole_ext.models.contract import MIXING, PARALLEL, PERSONALISER, TRIM, refusal
from recbole_ext.models.grouped_sasrec import GroupedSASRec
from recbole_ext.models.same_target import Histories, SameTarget

_CONTEXTS = 50  # an item's contexts count in its weight up to so many above the threshold
_LOWER = 0.02  # the items' quantile is so much below the users'
_ROWS = 2048  # histories that are encoded at a time before an epoch


class MELT(GroupedSASRec):
    """MELT as a RecBole model with the settings of MELT.yaml.

    A context of an item is the history before it in a training sequence. Users with more items than a quantile are
    the head and so are items with more contexts. The others are the tail. The user branch learns to predict a head
    user's vector from the last few items. The item branch learns to predict a head item's vector from a few contexts.
    The output of the user branch is added to the vectors of tail users. The output of the item branch replaces the
    vectors of tail items before every epoch.

    The first `warmup_epochs` epochs train SASRec alone. The authors start from a trained SASRec. Its loss is the
    `loss_type` of the configuration. Theirs is binary cross-entropy at every position.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.user_weight, self.item_weight = config["user_weight"], config["item_weight"]
        self.branch_batch = whole_number("MELT's branch_batch", config["branch_batch"], 1)
        self.contexts = SameTarget(dataset)
        users, share = dataset.inter_feat[dataset.uid_field], config["head_from"]
        targets = torch.bincount(users, minlength=dataset.user_num)
        self.last_row = torch.zeros_like(targets).scatter_reduce(0, users, torch.arange(len(users)), "amax")
        self.sizes = targets + (targets > 0)  # a user's first item is not a target
        self.user_threshold = _quantile(self.sizes, share)
        counts = self.contexts.counts
        self.item_threshold = _quantile(counts, share - _LOWER)
        self.head_users, self.head_items, self.tail_items = (
            torch.nonzero(chosen)[:, 0]
            for chosen in (
                self.sizes > self.user_threshold,
                counts > self.item_threshold,
                (counts > 0) & (counts <= self.item_threshold),
            )
        )
        self.user_branch, self.item_branch = (nn.Linear(self.hidden_size, self.hidden_size) for _ in range(2))
        for branch in (self.user_branch, self.item_branch):
            nn.init.xavier_normal_(branch.weight)
        self.register_buffer("tail_users", self.sizes <= self.user_threshold, persistent=False)
        # Share of the epochs after the warm-up that are done, below 0 in the warm-up. Probes of a model that no trainer
        # has begun with see the losses of the branches.
        self.register_buffer("progress", torch.tensor(0.5))

    @classmethod
    def check_config(cls, config: Any) -> None:
        """Raise InputError if the warm-up is as long as the training or a feature splits the loss."""
        if not 0 <= config["warmup_epochs"] < config["epochs"]:
            raise InputError(
                f"MELT's branches would never learn: warmup_epochs is {config['warmup_epochs']}, epochs "
                f"{config['epochs']}. Set warmup_epochs below epochs."
            )
        pairs = genpas_config(config)
        asked = {
            MIXING: config[MIXING] is not None,
            PERSONALISER: config[PERSONALISER] is not None,
            PARALLEL: pairs is not None and pairs.targets == "parallel",
            TRIM: pairs is not None and pairs.trim,
        }
        for feature in (feature for feature, is_asked in asked.items() if is_asked):
            raise InputError(refusal("MELT", feature, "its branches have losses of users and items"))

    def start_epoch(self, progress: float) -> None:
        """Set the share of finished epochs and compute the vectors of tail items with the item branch."""
        self.progress.fill_(progress)
        if progress < 0:
            return
        was_training = self.training
        items, number = self.contexts.all_of(self.tail_items)
        with torch.no_grad():
            self.eval()
            parts = zip(items.split(_ROWS), number.split(_ROWS), strict=True)
            vectors = torch.cat([self.forward(*self._contexts(*part)) for part in parts])
            place = torch.searchsorted(self.tail_items, items)
            made = self.item_branch(_means(vectors, place, len(self.tail_items)))
            self.item_embedding.weight[self.tail_items.to(made.device)] = made
        self.train(was_training)

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Return the scalar mean loss of the batch, plus the losses of the branches after the warm-up."""
        loss = super().calculate_loss(interaction)
        if self.progress >= 0:
            loss = loss + self.user_weight * self._user_loss() + self.item_weight * self._item_loss()
        return loss

    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Return the scores `[B, n_items]` of all items."""
        scores: Tensor = self._vectors(interaction) @ self.item_embedding.weight.T
        return scores

    def predict(self, interaction: Any) -> Tensor:
        """Return the score `[B]` of each row's item."""
        scores: Tensor = (self._vectors(interaction) * self.item_embedding(interaction[self.ITEM_ID])).sum(1)
        return scores

    def _vectors(self, interaction: Any) -> Tensor:
        vectors: Tensor = self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        if self.progress >= 0:
            vectors = vectors + self.tail_users[interaction[self.USER_ID]][:, None] * self.user_branch(vectors)
        return vectors

    def _user_loss(self) -> Tensor:
        users = _draw(self.head_users, self.branch_batch)
        whole, most = self._whole(users), max(1, int(self.user_threshold) - 1)
        few = torch.randint(1, most + 1, users.shape).to(whole.lengths.device)
        made = self.user_branch(self.forward(*_last(whole, torch.minimum(few, whole.lengths))))
        span = max(1.0, self.max_seq_length - self.user_threshold - 1)
        above = self.sizes[users].clamp(max=self.max_seq_length) - self.user_threshold - 1
        loss: Tensor = (self._weights(above / span) * (made - self.forward(*whole)) ** 2).mean()
        return loss

    def _item_loss(self) -> Tensor:
        items = _draw(self.head_items, self.branch_batch)
        counts, threshold = self.contexts.counts[items], self.item_threshold
        most = counts.clamp(max=max(1, int(threshold)))
        few = 1 + (torch.rand(len(items), dtype=torch.float64) * most).long()
        row, number = _some(counts, few)
        vectors = self.forward(*self._contexts(items[row], number))
        made = self.item_branch(_means(vectors + self.user_branch(vectors), row, len(items)))
        above = counts.clamp(max=int(threshold) + _CONTEXTS) - threshold - 1
        target = self.item_embedding(items.to(made.device))
        loss: Tensor = (self._weights(above / _CONTEXTS) * (made - target) ** 2).mean()
        return loss

    def _weights(self, above: Tensor) -> Tensor:
        """Return the curriculum's weights `[B, 1]`: the largest of the head first and the smallest at the end."""
        weights = torch.sin(math.pi / 2 * (self.progress.cpu() + above)).abs()
        return weights[:, None].float().to(self.progress.device)

    def _contexts(self, items: Tensor, number: Tensor) -> Histories:
        return self._here(self.contexts.histories(items, number))

    def _whole(self, users: Tensor) -> Histories:
        """Return the users' training sequences, cut to the last items that the limit allows."""
        pairs = self.contexts.dataset[self.last_row[users]]
        items = torch.cat([pairs[self.ITEM_SEQ], torch.zeros(len(users), 1, dtype=torch.int64)], 1)
        lengths = pairs[self.ITEM_SEQ_LEN] + 1
        items[torch.arange(len(users)), lengths - 1] = pairs[self.ITEM_ID]
        return self._here(_last(Histories(items, lengths), lengths.clamp(max=self.max_seq_length)))

    def _here(self, histories: Histories) -> Histories:
        items, lengths = (part.to(self.progress.device) for part in histories)
        return Histories(items[:, : int(lengths.max())], lengths)


class MELTTrainer(Trainer):
    """RecBole's Trainer that gives MELT the epoch; early stopping counts after the warm-up."""

    def _train_epoch(self, train_data: Any, epoch_idx: int, *args: Any, **kwargs: Any) -> Any:
        warm_up = self.config["warmup_epochs"]
        if epoch_idx <= warm_up:
            self.cur_step = 0
        self.model.start_epoch((epoch_idx - warm_up) / (self.epochs - warm_up))
        return super()._train_epoch(train_data, epoch_idx, *args, **kwargs)


def _quantile(values: Tensor, share: float) -> float:
    """Return a quantile of the values above 0. It is below the largest, so equal values are all in the head."""
    known = values[values > 0].double()
    return min(float(torch.quantile(known, share)), float(known.max()) - 1)


def _draw(choices: Tensor, number: int) -> Tensor:
    return choices[torch.randint(len(choices), (number,))]


def _some(counts: Tensor, few: Tensor) -> tuple[Tensor, Tensor]:
    """Return first the row and then `few` different numbers below each count: int64 [n]."""
    places = torch.arange(int(counts.max()))
    keys = torch.rand(len(counts), len(places)).masked_fill(places >= counts[:, None], 2)  # above all that count
    row, place = torch.nonzero(places < few[:, None], as_tuple=True)
    return row, keys.argsort(1)[row, place]


def _last(histories: Histories, lengths: Tensor) -> Histories:
    places = torch.arange(int(lengths.max()), device=lengths.device)
    source = (histories.lengths - lengths)[:, None] + places
    items = histories.items.gather(1, source.clamp(max=histories.items.shape[1] - 1))
    return Histories(items.masked_fill(places >= lengths[:, None], 0), lengths)


def _means(vectors: Tensor, row: Tensor, n: int) -> Tensor:
    """Return the mean vector `[n, D]` of each of n rows. Every row has a vector."""
    row = row.to(vectors.device)
    sums = vectors.new_zeros(n, vectors.shape[1]).index_add(0, row, vectors)
    return sums / torch.bincount(row, minlength=n)[:, None]
