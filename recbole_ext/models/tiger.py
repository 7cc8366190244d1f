"""TIGER in RecBole: a model that generates the next item's semantic ID (Rajput et al., NeurIPS 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from recbole.model.abstract_recommender import SequentialRecommender
from torch import Tensor

from genpas_plugins.neural.layers.ranking_keys import read_keys, top_keys
from genpas_plugins.neural.tiger.prefix_tree import PrefixTree
from genpas_plugins.semantic_ids.codebook import SemanticIds
from genpas_plugins.support.errors import InputError
from recbole_ext.genpas_key import genpas_config
from recbole_ext.models.tiger_ids import collaborative_ids, read_ids
from recbole_ext.models.tiger_settings import BIDIRECTIONAL, TigerSettings
from recbole_ext.models.tiger_trainer import TIGERTrainer
from recbole_ext.trimming import on_cpu

__all__ = ["TIGER", "TIGERTrainer"]

_SCORES_AT_ONCE = 1 << 17  # (User, item) scores that exact ranking computes at a time


class TIGER(SequentialRecommender):
    """`neural.tiger.network.TigerNetwork` as a RecBole model with the settings of TIGER.yaml.

    A score is the log-probability of an item given the history. It is normalised over the catalogue's IDs. The IDs
    are buffers of the model and so a checkpoint needs no file of IDs.

    Parameters
    ----------
    config, dataset : RecBole's
    semantic_ids : the items' IDs; None reads the settings' file or makes them from the training sequences
    """

    sharded_as = "tokens"
    sizes: Tensor
    _tree: PrefixTree | None = None

    def __init__(self, config: Any, dataset: Any, semantic_ids: SemanticIds | None = None) -> None:
        from genpas_plugins.neural.tiger.network import TigerNetwork

        super().__init__(config, dataset)
        self.settings = settings = TigerSettings.of(config)
        self.rows_at_once = config["eval_batch_size"]
        ids = self._ids(config, dataset) if semantic_ids is None else semantic_ids
        self.register_buffer("sizes", torch.tensor(ids.sizes))
        self.network = TigerNetwork(
            ids,
            n_users=settings.user_buckets,
            d_model=settings.d_model,
            heads=settings.num_heads,
            head_size=settings.head_size,
            d_ff=settings.d_ff,
            encoder_layers=settings.encoder_layers,
            decoder_layers=settings.decoder_layers,
            dropout=settings.dropout,
            encoder=settings.encoder,
            max_history=self.max_seq_length,
        )

    def _ids(self, config: Any, dataset: Any) -> SemanticIds:
        path = self.settings.semantic_ids
        if path is None:
            ids = collaborative_ids(self.settings, dataset, config["seed"])
            source = "made from the training sequences, as semantic_ids names no file"
        else:
            ids = read_ids(path, dataset)
            source = f"read from {path}"
        report = ids.report()
        self.logger.info(
            f"TIGER's semantic IDs are {source}: {ids.n_items} items, codes a level {', '.join(map(str, ids.sizes))}; "
            f"{report['collision_rate']:.1%} of the items share all codes but the last with another item."
        )
        return ids

    @classmethod
    def of_state(cls, config: Any, dataset: Any, state: Mapping[str, Tensor]) -> TIGER:
        """Return a model with the semantic IDs of a `state_dict`. The model can then load the rest."""
        codes = state["network.codes"][1:].cpu().numpy()
        if len(codes) != dataset.item_num - 1:
            raise InputError(
                f"The checkpoint has semantic IDs for {len(codes)} items, its data set now has "
                f"{dataset.item_num - 1}: the data have changed. Train again, or bring the old data back."
            )
        return cls(config, dataset, SemanticIds(codes, tuple(state["sizes"].tolist())))

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Load weights and semantic IDs. Raises InputError if the IDs have another shape."""
        sizes = state_dict.get("sizes")
        if sizes is not None and sizes.tolist() != self.sizes.tolist():
            raise InputError(
                f"The checkpoint's semantic IDs have {sizes.tolist()} codes a level, this model's "
                f"{self.sizes.tolist()}. Use the semantic_ids it was trained with, or load_data_and_model."
            )
        self._tree = None
        return super().load_state_dict(state_dict, *args, **kwargs)

    @classmethod
    def check_config(cls, config: Any) -> None:
        """Raise InputError for invalid settings before any data are read."""
        section = genpas_config(config)
        TigerSettings.of(config).check_training(config["topk"], "single" if section is None else section.targets)

    def shared_arguments(self) -> dict[str, Any]:
        """Return the semantic IDs. All ranks share them because quantisation on another rank can give other codes."""
        return {"semantic_ids": SemanticIds(self.network.codes[1:].cpu().numpy(), tuple(self.network.sizes))}

    @property
    def trained_on(self) -> dict[str, Any]:
        """The origin of the semantic IDs and the codes a level for the training report."""
        source = self.settings.semantic_ids or "training sequences"
        return {"semantic_ids": source, "codes_a_level": list(self.network.sizes)}

    @property
    def tree(self) -> PrefixTree:
        """The valid semantic IDs on the model's device."""
        codes = self.network.codes
        if self._tree is None:
            self._tree = PrefixTree.of(self.shared_arguments()["semantic_ids"], codes.device)
        self._tree = self._tree.to(codes.device)
        return self._tree

    def calculate_loss(self, interaction: Any) -> Tensor:
        """Return the scalar mean cross-entropy of the targets' codes."""
        if self.device.type == "cpu":
            last, targets = interaction[self.ITEM_SEQ_LEN] - 1, interaction[self.POS_ITEM_ID]
            return self.target_losses(interaction, torch.arange(len(last)), last, targets).mean()
        loss: Tensor = self.network(  # padded: no group of windows is large enough for a GPU
            interaction[self.ITEM_SEQ],
            interaction[self.ITEM_SEQ_LEN],
            interaction[self.POS_ITEM_ID],
            interaction[self.USER_ID] if self.settings.user_buckets else None,
        ).mean()
        return loss

    def parallel_refusal(self) -> str | None:
        """Return why targets cannot be parallel, or None."""
        return None if self.network.causal else BIDIRECTIONAL

    def target_losses(self, interaction: Any, row: Tensor, place: Tensor, targets: Tensor) -> Tensor:
        """Return the loss `float [T]` of each target of a batch of windows.

        Parameters
        ----------
        interaction : batch of W histories
        row, place : rising history of each target and the place of the item before it, int64 [T] on the CPU
        targets : int [T], items
        """
        from genpas_plugins.neural.tiger.window_losses import Windows, window_losses

        network, items, lengths = self.network, interaction[self.ITEM_SEQ], on_cpu(interaction, self.ITEM_SEQ_LEN)
        known = torch.arange(items.shape[1], device=lengths.device) < lengths[:, None]
        history = network.tokens_of(items.flatten()[known.flatten().nonzero()[:, 0].to(items.device)])
        buckets = network.user_buckets(interaction[self.USER_ID]) if self.settings.user_buckets else None
        windows = Windows(lengths.long(), row, place)
        return window_losses(network, windows, history, network.tokens_of(targets), buckets)

    def predict(self, interaction: Any) -> Tensor:
        """Return the score `float32 [B]` of each row's item. Padding item 0 has -inf."""
        from genpas_plugins.neural.tiger.decoding import log_likelihood

        items = interaction[self.ITEM_ID]
        # Sampled evaluation repeats a history for each of its candidates; it is encoded once.
        histories = self._histories(interaction)
        distinct, place = torch.unique(histories, dim=0, return_inverse=True)
        memory = self._encode(distinct)
        memory = type(memory)(*(part[place] for part in memory))
        scores: Tensor = log_likelihood(self.network, self.tree, memory, items.clamp(min=1))
        return scores.masked_fill(items == 0, -torch.inf)

    def full_sort_predict(self, interaction: Any, without: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Return the scores `float32 [B, n_items]`: -inf for padding and for items that no beam reaches.

        Parameters
        ----------
        interaction : RecBole's batch of histories
        without : rows and items that take no beams; see `decoding.beam_search`
        """
        from genpas_plugins.neural.tiger.decoding import score_all

        histories = self._histories(interaction)
        scores = torch.full((len(histories), self.n_items), -torch.inf, device=histories.device)
        if self.settings.exact_ranking:
            rows = max(1, _SCORES_AT_ONCE // self.n_items)
            for part, into in zip(histories.split(rows), scores.split(rows), strict=True):
                into[:, 1:] = score_all(self.network, self.tree, self._encode(part))
            return scores
        items, log_prob = self._search(histories, self.settings.beams, without)
        # A beam that found nothing has item 0 with -inf.
        return scores.scatter_(1, items, log_prob.to(scores.dtype))

    def best_items(
        self, interaction: Any, k: int, without: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return each row's k best items `int64 [B, k]` and their scores `float32 [B, k]`, best first.

        Item 0 with -inf fills a row of fewer items.

        Parameters
        ----------
        interaction : RecBole's batch of histories
        k : items; a search has at least as many beams
        without : rows and items to leave out: int64 [m]
        """
        if self.settings.exact_ranking:
            scores = self.full_sort_predict(interaction)
            if without is not None:
                scores[without] = -torch.inf
            items, scores = read_keys(top_keys(scores.float(), 0, k))
            return items.masked_fill(scores.isneginf(), 0), scores
        beams = min(self.n_items - 1, max(self.settings.beams, k))
        items, scores = self._search(self._histories(interaction), beams, without)
        return items[:, :k], scores[:, :k]

    def _search(self, histories: Tensor, beams: int, without: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
        from genpas_plugins.neural.tiger.decoding import beam_search

        rows = max(1, self.rows_at_once // beams)  # eval_batch_size counts users times beams
        # Users of like history lengths together: a batch is padded to its longest history.
        order = histories[:, 1].argsort(stable=True)
        place = order.argsort()
        histories, found = histories[order], []
        for begin in range(0, len(histories), rows):
            memory = self._encode(histories[begin : begin + rows])
            left_out = None if without is None else _of_rows(place[without[0]], without[1], begin, begin + rows)
            found.append(beam_search(self.network, self.tree, memory, beams=beams, top_k=beams, without=left_out))
        return torch.cat([items for items, _ in found])[place], torch.cat([score for _, score in found])[place]

    def _histories(self, interaction: Any) -> Tensor:
        """Return the encoder's input `int64 [B, 2 + L]`: user, length, item numbers."""
        length = interaction[self.ITEM_SEQ_LEN]
        user = interaction[self.USER_ID] if self.settings.user_buckets else torch.zeros_like(length)
        return torch.cat([user[:, None], length[:, None], interaction[self.ITEM_SEQ]], 1)

    def _encode(self, histories: Tensor) -> Any:
        users, lengths, items = histories[:, 0], histories[:, 1], histories[:, 2:]
        buckets = self.network.user_buckets(users) if self.settings.user_buckets else None
        return self.network.encode(self.network.history_tokens(items, lengths), buckets)


def _of_rows(row: Tensor, item: Tensor, begin: int, end: int) -> tuple[Tensor, Tensor]:
    """Return the entries of the rows from `begin` to `end`. Row numbers start at `begin`."""
    chosen = (row >= begin) & (row < end)
    return row[chosen] - begin, item[chosen]
