# ruff: noqa: E402 – without torch there is nothing to import

from __future__ import annotations

import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from torch import nn
from torch.nn import functional as F

from genpas_plugins.neural.tiger.network import TigerNetwork
from genpas_plugins.semantic_ids.codebook import SemanticIds
from genpas_plugins.support.errors import InputError

IDS = SemanticIds.of([[0, 1], [2, 0], [0, 0]], (3, 2))


def test_a_code_is_the_token_of_its_level():
    network = TigerNetwork(IDS, d_model=8, encoder_layers=1, decoder_layers=1)
    assert network.tokens_of(torch.tensor([1, 2, 3, 0])).tolist() == [[1, 5], [3, 4], [1, 4], [0, 0]]
    assert network.token_embedding.num_embeddings == 6 and network.output.shape == (5, 8)


def test_histories_keep_their_last_items_and_nothing_beyond_their_length():
    network = TigerNetwork(IDS, d_model=8, encoder_layers=1, decoder_layers=1, max_history=2)
    item_seq = torch.tensor([[1, 2, 3, 0], [2, 3, 3, 3], [1, 1, 1, 1]])
    tokens = network.history_tokens(item_seq, torch.tensor([3, 1, 0]))
    assert tokens.tolist() == [[3, 4, 1, 4], [3, 4, 0, 0], [0, 0, 0, 0]]
    assert network.history_tokens(item_seq, torch.tensor([1, 1, 1])).shape == (3, 2)


def test_two_tables_and_no_other_lookup_of_ids(tiny, histories):
    network, _, _ = tiny(n_users=7)
    calls = []
    for table in (network.token_embedding, network.user_embedding):
        table.register_forward_pre_hook(lambda module, ids: calls.append((module, ids[0])))
    item_seq, lengths = histories(60)
    tokens, buckets = network.history_tokens(item_seq, lengths), network.user_buckets(torch.arange(100, 105))
    target = network.tokens_of(torch.arange(1, 6))
    network.loss(network.encode(tokens, buckets), target)
    # The very tensors, so that rows looked up elsewhere can be handed in.
    assert [(module, ids is given) for (module, ids), given in zip(calls, (tokens, buckets, target), strict=True)] == [
        (network.token_embedding, True),
        (network.user_embedding, True),
        (network.token_embedding, True),
    ]
    sizes = {module.num_embeddings for module in network.modules() if isinstance(module, nn.Embedding)}
    assert sizes == {network.token_embedding.num_embeddings, 7, 32}  # 32: T5's buckets of distances
    assert 1 not in sizes


def test_the_loss_is_the_mean_cross_entropy_over_the_levels(tiny, histories):
    from benchmarks.tiger_peer import as_t5

    network, _, ids = tiny()
    item_seq, lengths = histories(60)
    target = torch.tensor([5, 60, 1, 17, 5])
    loss = network(item_seq, lengths, target)
    tokens = network.history_tokens(item_seq, lengths)
    with torch.no_grad():
        logits = as_t5(network)(
            input_ids=tokens, attention_mask=(tokens != 0).long(), labels=network.tokens_of(target)
        ).logits
    codes = torch.tensor(ids.codes)[target - 1].long()
    first = [1, 5, 9, 13]
    levels = [
        F.cross_entropy(logits[:, level, first[level] : first[level] + size], codes[:, level], reduction="none")
        for level, size in enumerate(ids.sizes)
    ]
    torch.testing.assert_close(loss, torch.stack(levels).mean(0), atol=1e-5, rtol=0)


def test_every_parameter_learns_and_the_padding_row_does_not(tiny, histories):
    network, _, _ = tiny(n_users=3)
    network.train()
    item_seq, lengths = histories(60, users=40)
    network(item_seq, lengths, torch.arange(1, 41), torch.arange(40)).sum().backward()
    assert [name for name, weight in network.named_parameters() if not weight.grad.abs().sum() > 0] == []
    assert not network.token_embedding.weight.grad[0].any()


def test_a_small_network_learns_what_follows_what(tiny):
    network, _, _ = tiny(n_items=12, codes=12, levels=1)
    network.train()
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    item_seq = torch.arange(1, 13)[:, None]
    losses = []
    for _ in range(120):
        loss = network(item_seq, torch.ones(12, dtype=torch.long), item_seq[:, 0] % 12 + 1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_an_empty_history_has_an_answer_that_depends_on_no_padding(tiny):
    network, _, _ = tiny()
    none = torch.zeros(1, dtype=torch.long)
    with torch.no_grad():
        first = network(torch.tensor([[0, 0, 0]]), none, none + 3)
        second = network(torch.tensor([[4, 5, 0]]), none, none + 3)
        beside = network(torch.tensor([[4, 5, 0], [1, 2, 3]]), torch.tensor([0, 3]), torch.tensor([3, 3]))
    assert first.isfinite().all() and torch.equal(first, second)
    torch.testing.assert_close(beside[:1], first, atol=1e-6, rtol=1e-6)


def test_a_state_brings_its_semantic_ids(tiny):
    network, _, ids = tiny()
    other = TigerNetwork(
        SemanticIds(ids.codes[::-1].copy(), ids.sizes),
        d_model=16,
        heads=2,
        head_size=8,
        d_ff=32,
        encoder_layers=2,
        decoder_layers=2,
    )
    assert not torch.equal(other.tokens_of(torch.arange(61)), network.tokens_of(torch.arange(61)))
    other.load_state_dict(network.state_dict())
    items = torch.arange(61)
    assert torch.equal(other.tokens_of(items), network.tokens_of(items))


def test_the_user_token_counts_and_is_asked_for(tiny, histories):
    network, _, _ = tiny(n_users=4)
    tokens = network.history_tokens(*histories(60, users=2))
    assert network.user_buckets(torch.tensor([3, 7])).tolist() == [3, 3]
    with torch.no_grad():
        states = [network.encode(tokens, torch.tensor(buckets)).states for buckets in ([0, 0], [0, 1])]
    assert torch.equal(states[0][0], states[1][0]) and not torch.allclose(states[0][1], states[1][1])
    with pytest.raises(InputError, match="user table of 4 rows"):
        network.encode(tokens)


def test_wrong_dimensions_are_refused():
    with pytest.raises(InputError, match="heads must be a whole number from 1"):
        TigerNetwork(IDS, heads=0)
    with pytest.raises(InputError, match="dropout"):
        TigerNetwork(IDS, dropout=1.0)


def test_importing_the_package_of_networks_loads_no_torch():
    code = "import sys, genpas_plugins.neural.tiger; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
