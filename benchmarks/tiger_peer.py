"""The peer of TIGER's decoding: transformers' T5 with the same weights and `generate` on the same tree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from genpas_plugins.neural.tiger.network import TigerNetwork
from genpas_plugins.semantic_ids.codebook import SemanticIds


def as_t5(network: TigerNetwork) -> Any:
    """Return a T5ForConditionalGeneration that computes what the network computes; no user token.

    Its vocabulary is the network's tokens and one more, the end that never comes. Row 0, which is padding to the
    encoder and masked there, starts the decoder.
    """
    from transformers import T5Config, T5ForConditionalGeneration

    encoder, decoder = network.encoder.config, network.decoder.config
    end = network.token_embedding.num_embeddings
    peer = T5ForConditionalGeneration(
        T5Config(
            vocab_size=end + 1,
            d_model=encoder.d_model,
            d_kv=encoder.d_kv,
            d_ff=encoder.d_ff,
            num_heads=encoder.num_heads,
            num_layers=encoder.num_layers,
            num_decoder_layers=decoder.num_layers,
            feed_forward_proj="relu",
            pad_token_id=0,
            decoder_start_token_id=0,
            eos_token_id=end,
            tie_word_embeddings=False,
            attn_implementation="sdpa",
        )
    ).eval()
    with torch.no_grad():
        none = torch.zeros_like(network.start)[None]
        rows = torch.cat([network.start[None], network.token_embedding.weight[1:], none])
        for part, stack in (("encoder", network.encoder), ("decoder", network.decoder)):
            own = getattr(peer, part)
            own.load_state_dict({**stack.state_dict(), "embed_tokens.weight": rows})
        peer.shared.weight.copy_(rows)
        # Its output layer is tied to the table whatever the configuration says; tie_word_embeddings only scales states.
        peer.lm_head.weight = torch.nn.Parameter(torch.cat([none, network.output, none]))
    return peer


def allowed_tokens(network: TigerNetwork, ids: SemanticIds) -> Callable[[int, Tensor], list[int]]:
    """Return the callback for `prefix_allowed_tokens_fn`, a dictionary from tokens to the possible next tokens."""
    end = network.token_embedding.num_embeddings
    tree: dict[tuple[int, ...], set[int]] = {}
    for tokens in network.tokens_of(torch.arange(1, ids.n_items + 1)).tolist():
        for level, token in enumerate(tokens):
            tree.setdefault(tuple(tokens[:level]), set()).add(token)
    following = {prefix: sorted(tokens) for prefix, tokens in tree.items()}
    return lambda _, tokens: following.get(tuple(tokens.tolist()[1:]), [end])


def generate(
    peer: Any, allowed: Callable[[int, Tensor], list[int]], tokens: Tensor, *, depth: int, beams: int
) -> tuple[Tensor, Tensor]:
    """Return the tokens [B, beams, depth] and log-probabilities [B, beams] of the peer's constrained beam search."""
    with torch.inference_mode():
        found = peer.generate(
            input_ids=tokens,
            attention_mask=(tokens != 0).long(),
            num_beams=beams,
            num_return_sequences=beams,
            min_new_tokens=depth,
            max_new_tokens=depth,
            do_sample=False,
            length_penalty=0.0,
            renormalize_logits=True,  # else its scores are those of the whole vocabulary
            prefix_allowed_tokens_fn=allowed,
            return_dict_in_generate=True,
            output_scores=True,
        )
    shape = (len(tokens), beams)
    return found.sequences[:, 1 : depth + 1].reshape(*shape, depth), found.sequences_scores.reshape(shape)
