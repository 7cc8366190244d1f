"""TIGER (Rajput et al., NeurIPS 2023): a T5 encoder reads a history's semantic IDs and a decoder generates the next ID.

Token 0 is padding. A code of level l is the token 1 + sizes[0] + … + sizes[l-1] + code. The blocks are transformers' T5
blocks: relative position bias, RMS norm before each layer, no biases, ReLU. The token table is only looked up and so it
can be sharded. The output layer has its own rows for each level because the next code is a code of that level.

Shapes: B users, L items of a history, S tokens of it, D model dimension, depth codes an item.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genpas_plugins.support.errors import InputError, nearest, whole_number

if TYPE_CHECKING:
    from genpas_plugins.semantic_ids.codebook import SemanticIds

ENCODERS = ("bidirectional", "causal")

INITIAL_SCALE = 0.02  # standard deviation of the first output rows: every level starts near its uniform distribution


class Memory(NamedTuple):
    """The decoder's input: `states` `float [B, S, D]` and `mask` `bool [B, S]`. The mask is False at padding."""

    states: Tensor
    mask: Tensor


class TigerNetwork(nn.Module):
    """Encoder, decoder, token table and output layer.

    The network calls `token_embedding` and `user_embedding` with whole tensors of ids. See `tokens_of`,
    `history_tokens` and `user_buckets`.

    Parameters
    ----------
    ids : the items' semantic IDs; item number i has row i - 1
    n_users: rows of the user table, shared by user number modulo n_users; 0: no user token d_model, heads,
      head_size, d_ff: sizes of the states, of attention and of the feed-forward layer
    encoder_layers, decoder_layers : blocks
    dropout: rate wherever T5 has dropout
    max_history: maximum number of last items that are read
    encoder: "bidirectional" or "causal". Causal: the tokens of an item see each other and the items before

    Raises
    ------
    InputError
        If a dimension is below 1, dropout is outside [0, 1) or the encoder is unknown.
    """

    codes: Tensor
    first_token: Tensor

    def __init__(
        self,
        ids: SemanticIds,
        *,
        n_users: int = 0,
        d_model: int = 128,
        heads: int = 6,
        head_size: int = 64,
        d_ff: int = 1024,
        encoder_layers: int = 4,
        decoder_layers: int = 4,
        dropout: float = 0.1,
        max_history: int = 20,
        encoder: str = "bidirectional",
    ) -> None:
        super().__init__()
        self.sizes = ids.sizes
        self.max_history = whole_number("max_history", max_history, 1)
        self.n_users = whole_number("n_users", n_users, 0)
        dimensions = {"d_model": d_model, "heads": heads, "head_size": head_size, "d_ff": d_ff}
        layers = {"encoder_layers": encoder_layers, "decoder_layers": decoder_layers}
        for name, value in {**dimensions, **layers}.items():
            whole_number(name, value, 1)
        if not 0 <= dropout < 1:
            raise InputError(f"dropout must be at least 0 and below 1, not {dropout!r}.")
        if encoder not in ENCODERS:
            raise InputError(f"encoder is {encoder!r}.{nearest(encoder, ENCODERS)}")
        self.causal, self.dropout = encoder == "causal", dropout
        # Row 0 is padding. The codes are in the state, because the weights mean nothing without them.
        self.register_buffer("codes", F.pad(torch.tensor(ids.codes), (0, 0, 1, 0)))
        firsts = [0, *accumulate(self.sizes)]
        self.register_buffer("first_token", 1 + torch.tensor(firsts[:-1]), persistent=False)
        self.levels = tuple(slice(first, after) for first, after in pairwise(firsts))
        self.encoder = _t5_stack(encoder_layers, is_decoder=False, dropout=dropout, **dimensions)
        self.decoder = _t5_stack(decoder_layers, is_decoder=True, dropout=dropout, **dimensions)
        self.token_embedding = nn.Embedding(1 + firsts[-1], d_model, padding_idx=0)
        self.user_embedding = nn.Embedding(n_users, d_model) if n_users else None
        self.start = nn.Parameter(torch.randn(d_model))
        self.output = nn.Parameter(torch.randn(firsts[-1], d_model) * INITIAL_SCALE)

    @property
    def depth(self) -> int:
        """Number of codes of an item."""
        return len(self.sizes)

    def tokens_of(self, items: Tensor) -> Tensor:
        """Return the tokens `int64 [..., depth]` of item numbers `int [...]`. Item 0 has token 0 only."""
        tokens = self.codes[items] + self.first_token
        return tokens * (items != 0)[..., None]

    def history_tokens(self, item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
        """Return the tokens `int64 [B, S]` of right-padded histories. S is at most depth · max_history.

        On the CPU S fits the batch's longest history. Items beyond a history's length are not read.

        Parameters
        ----------
        item_seq : int [B, L], item numbers
        item_seq_len : int [B] from 1 to L
        """
        longest = item_seq.shape[1]
        if item_seq.device.type == "cpu" and len(item_seq):  # elsewhere, knowing it means waiting for the device
            longest = max(1, int(item_seq_len.max()))
        window = min(longest, self.max_history)
        begin = (item_seq_len - window).clamp(min=0)
        place = begin[:, None] + torch.arange(window, device=item_seq.device)
        items = item_seq.gather(1, place.clamp(max=item_seq.shape[1] - 1))
        return self.tokens_of(items * (place < item_seq_len[:, None])).flatten(1)

    def user_buckets(self, users: Tensor) -> Tensor:
        """Return the rows `int64 [B]` of the user table for user numbers `int [B]`."""
        return users.long() % self.n_users

    def encode(self, tokens: Tensor, buckets: Tensor | None = None) -> Memory:
        """Read histories.

        Parameters
        ----------
        tokens : int64 [B, S], from `history_tokens`
        buckets : int64 [B], from `user_buckets`; required if there is a user table
        """
        rows = self.token_embedding(tokens)
        mask = tokens != 0
        lead = self.user_rows(buckets)
        if lead is not None:
            rows = torch.cat([lead[:, None], rows], 1)
            mask = F.pad(mask, (1, 0), value=True)
        else:
            # A history without items reads one row of zeros, so that its output does not depend on padding.
            mask = mask | (torch.arange(mask.shape[1], device=mask.device) == 0)
        # With two dimensions transformers would wait for the device to know whether any is False.
        seen = mask[:, None, None]
        if self.causal:
            item = self.item_of(rows.shape[1], rows.device)
            seen = seen & (item <= item[:, None])
        states = self.encoder(inputs_embeds=rows, attention_mask=seen).last_hidden_state
        return Memory(states, mask)

    def user_rows(self, buckets: Tensor | None) -> Tensor | None:
        """Return the first row `float [B, D]` of each history from its user's row, or None without a user table.

        Raises InputError if there is a table and no buckets.
        """
        if self.user_embedding is None:
            return None
        if buckets is None:
            raise InputError(f"This network has a user table of {self.n_users} rows: give encode the users' rows.")
        return self.user_embedding(buckets)  # type: ignore[no-any-return]

    def width(self, items: int) -> int:
        """Return the number of tokens that the encoder reads for a history of `items`."""
        return items * self.depth + (self.user_embedding is not None)

    def item_of(self, width: int, device: torch.device) -> Tensor:
        """Return the place `int64 [width]` in its history of each token's item. -1 is a user's token."""
        own = int(self.user_embedding is not None)
        return torch.arange(-own, width - own, device=device).div(self.depth, rounding_mode="floor")

    def decode(self, memory: Memory, tokens: Tensor) -> Tensor:
        """Return the decoder's states `float [B, depth, D]` by teacher forcing. Position l has read l codes.

        Parameters
        ----------
        memory : of B users
        tokens : of one item a user from `tokens_of`, int64 [B, depth]
        """
        rows = self.token_embedding(tokens)[:, :-1]
        # Not len(rows): it would fix B in an exported graph.
        rows = torch.cat([self.start.to(rows.dtype).expand(rows.shape[0], 1, -1), rows], 1)
        # Given, so that transformers derives no mask.
        causal = torch.ones(rows.shape[1], rows.shape[1], dtype=torch.bool, device=rows.device).tril()
        states: Tensor = self.decoder(
            inputs_embeds=rows,
            attention_mask=causal[None, None],
            encoder_hidden_states=memory.states,
            encoder_attention_mask=memory.mask[:, None, None],
        ).last_hidden_state
        return states

    def logits(self, states: Tensor, level: int) -> Tensor:
        """Return the logits `float [..., sizes[level]]` over a level's own codes for states `[..., D]`."""
        return F.linear(states, self.output[self.levels[level]])

    def loss(self, memory: Memory, tokens: Tensor) -> Tensor:
        """Return each user's loss `float [B]`: the mean over levels of the cross-entropy over the level's codes.

        Parameters
        ----------
        memory : of B users
        tokens : of the targets from `tokens_of`, int64 [B, depth]
        """
        return self.level_losses(self.decode(memory, tokens), tokens - self.first_token)

    def level_losses(self, states: Tensor, codes: Tensor) -> Tensor:
        """Return the losses `float [B]` of codes `[B, depth]` for the decoder's states `[B, depth, D]`."""
        levels = [
            F.cross_entropy(self.logits(states[:, level], level).float(), codes[:, level], reduction="none")
            for level in range(self.depth)
        ]
        return torch.stack(levels).mean(0)

    def forward(self, item_seq: Tensor, item_seq_len: Tensor, target: Tensor, users: Tensor | None = None) -> Tensor:
        """Return each pair's loss `float [B]`.

        Parameters
        ----------
        item_seq, item_seq_len : histories; see `history_tokens`
        target : int [B], item numbers
        users : int [B], user numbers
        """
        buckets = self.user_buckets(users) if users is not None and self.n_users else None
        memory = self.encode(self.history_tokens(item_seq, item_seq_len), buckets)
        return self.loss(memory, self.tokens_of(target))


def _t5_stack(
    layers: int, *, is_decoder: bool, dropout: float, d_model: int, heads: int, head_size: int, d_ff: int
) -> nn.Module:
    from transformers import T5Config
    from transformers.models.t5.modeling_t5 import T5Stack

    config = T5Config(
        vocab_size=1,
        d_model=d_model,
        num_heads=heads,
        d_kv=head_size,
        d_ff=d_ff,
        num_layers=layers,
        dropout_rate=dropout,
        feed_forward_proj="relu",
        is_decoder=is_decoder,
        is_encoder_decoder=False,
        use_cache=False,
        eos_token_id=None,
        attn_implementation="sdpa",  # type: ignore[call-arg]  # goes to the base class
    )
    stack: nn.Module = T5Stack(config)
    stack.set_input_embeddings(None)  # type: ignore[operator]  # it is given rows, never tokens
    return stack
