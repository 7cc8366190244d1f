"""TIGER with its tables sharded: semantic-ID tokens are features of the batch and pipelines see their lookup.

    items ──with_tokens──> tokens, users' buckets ──> EmbeddingCollection ──> rows ──> TigerNetwork ──> loss

The network's code is unchanged: `encode` and `loss` get the tensors of tokens whose rows were looked up. For
ranking every rank gathers the tables and searches for its own users. The tables are small for any catalogue.
"""

# ruff: noqa: E402 – a torchrec that cannot be imported is explained before it is imported

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, TypeVar

from torchrec_ext.import_guard import require_torchrec

require_torchrec()

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torchrec.sparse.jagged_tensor import JaggedTensor, KeyedJaggedTensor

from genpas_plugins.neural.tiger.network import TigerNetwork
from genpas_plugins.neural.tiger.window_losses import Windows, window_losses
from genpas_plugins.support.errors import InputError
from torchrec_ext.batch import HISTORY, TARGET, WindowBatch
from torchrec_ext.losses import global_mean
from torchrec_ext.tables import Layer, Step, Table, check_columns, embedding_at, pad, padded_length

BatchT = TypeVar("BatchT", bound=Any)
HISTORY_TOKENS, TARGET_TOKENS, BUCKET = "history_tokens", "target_tokens", "user_bucket"
TOKENS = Table("token", "network.token_embedding", (HISTORY_TOKENS, TARGET_TOKENS))
USERS = Table("user", "network.user_embedding", (BUCKET,))


def check_output(output: str) -> None:
    """Raise InputError for an output layer that TIGER cannot have."""
    if output != "vocab_parallel":
        raise InputError(
            f"output is {output!r}, but TIGER's output layer is over the codes of a level, whole on every rank. Remove "
            "the key, and negatives."
        )


class TigerLayer(Layer):
    """Runs TIGER's network on the looked-up rows of tokens and computes its loss. `n_rows` is of its codes."""

    @property
    def network(self) -> TigerNetwork:
        """The network of the model."""
        network: TigerNetwork = self.model.network  # type: ignore[assignment]  # nn.Module's __getattr__ hides it
        return network

    def with_features(self, batch: BatchT) -> BatchT:
        """Return the batch with its tokens as features."""
        return with_tokens(batch, self.network)

    def forward(self, rows: Mapping[str, JaggedTensor], batch: Any) -> Step:
        """Return the loss of one batch with each target's loss [T] as output."""
        network, features = self.network, batch.features
        history, several = features[HISTORY_TOKENS], isinstance(batch, WindowBatch)
        lengths = history.lengths().long() // network.depth
        longest = padded_length(lengths, network.max_history, getattr(batch, "width", None))
        # Windows need their shapes on the CPU. Pairs on a GPU are padded, so that nothing waits.
        shapes = _shapes(batch, lengths) if several or lengths.device.type == "cpu" else None
        if shapes is None:
            read = pad(history, rows[HISTORY_TOKENS], longest * network.depth)
        else:
            tokens = history.values().long().view(-1, network.depth)
            read = tokens, rows[HISTORY_TOKENS].values().view(*tokens.shape, -1)
        # Every target has `depth` tokens and needs no padding.
        written = features[TARGET_TOKENS].values().long().view(-1, network.depth)
        of_written = rows[TARGET_TOKENS].values().view(*written.shape, -1)
        buckets = features[BUCKET].values().long() if network.n_users else None
        with ExitStack() as stack:
            stack.enter_context(self.stand_in(TOKENS).holding(read, (written, of_written)))
            if buckets is not None:
                stack.enter_context(self.stand_in(USERS).holding((buckets, rows[BUCKET].values())))
            if shapes is None:
                losses = network.loss(network.encode(read[0], buckets), written)
            else:
                losses = window_losses(network, shapes, read[0], written, buckets)
        count = len(batch) if several else None
        return Step(global_mean(losses, getattr(batch, "weights", None), self.group, count), losses.detach())


def _shapes(batch: Any, lengths: Tensor) -> Windows:
    """Return the windows of a batch of windows or pairs for lengths int64 [W]."""
    lengths = lengths.cpu()
    if isinstance(batch, WindowBatch):
        return Windows(lengths, batch.row.cpu(), batch.place.cpu())
    return Windows(lengths, torch.arange(len(lengths)), lengths - 1)


def tiger_layer(model: nn.Module, group: dist.ProcessGroup) -> TigerLayer:
    """Return the layer of a TIGER to shard. Raises InputError for a number of columns that cannot be sharded."""
    network: Any = model.network
    tables = [TOKENS, *([USERS] if network.n_users else [])]
    for table in tables:
        embedding = embedding_at(model, table.path)
        assert embedding is not None, "a TigerNetwork has it"
        check_columns(model, table.name, embedding.embedding_dim, "d_model")
    return TigerLayer(model, tables, len(network.codes), group)


def with_tokens(batch: BatchT, network: TigerNetwork) -> BatchT:
    """Add what TIGER looks up as features of a batch on the network's device.

    The new features come first. `history_tokens` has depth tokens for each item of a history. `target_tokens` has
    depth for each target. With a user table `user_bucket` has one for each history.

    Parameters
    ----------
    batch : a dataclass of at least one pair with `to` and `features` such as a PairBatch; a user table also needs
        `sequence`, the pairs' users int64 [n]
    network : the model's network; only its semantic IDs count

    Raises
    ------
    InputError
        For items without semantic IDs or a batch without the users that a user table needs.
    """
    batch = batch.to(network.codes.device)
    features: KeyedJaggedTensor = batch.features
    new: dict[str, tuple[Tensor, Tensor]] = {}
    for key, source in ((HISTORY_TOKENS, HISTORY), (TARGET_TOKENS, TARGET)):
        jagged = features[source]
        items = jagged.values()
        _check_items(items, network)
        new[key] = network.tokens_of(items).flatten(), jagged.lengths() * network.depth
    if network.n_users:
        users = getattr(batch, "sequence", None)
        if users is None:
            raise InputError(
                f"TIGER has a user table of {network.n_users} rows, but the batch does not say whose its pairs are "
                "(sequence). Take batches of GenPASStream, or set user_buckets: 0."
            )
        new[BUCKET] = network.user_buckets(users), torch.ones_like(users)
    more = KeyedJaggedTensor(  # in front, because the batch finds its targets at the end
        keys=[*new, *features.keys()],
        values=torch.cat([*(values for values, _ in new.values()), features.values()]),
        lengths=torch.cat([*(lengths.to(features.lengths()) for _, lengths in new.values()), features.lengths()]),
        length_per_key=[*(len(values) for values, _ in new.values()), *features.length_per_key()],
    )
    return dataclasses.replace(batch, features=more)


def _check_items(items: Tensor, network: TigerNetwork) -> None:
    if items.device.type == "cpu" and len(items) and int(items.max()) >= len(network.codes):
        raise InputError(
            f"Item {int(items.max())} of the batch has no semantic ID: TIGER has IDs of the items 1 to "
            f"{len(network.codes) - 1}. Build the model for the catalogue of the store that the batches come from."
        )
