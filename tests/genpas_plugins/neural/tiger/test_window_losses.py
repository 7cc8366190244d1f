"""The losses of windows are the losses of single histories, and one pass of the encoder has them all."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from genpas_plugins.neural.tiger.window_losses import Layout, Windows, window_losses  # noqa: E402 – after torch
from genpas_plugins.support.errors import InputError  # noqa: E402


def drawn(encoder, longest=6, seed=1):
    """Ten histories, right-padded, and targets at some places of each: at the last one for a bidirectional encoder."""
    random = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, longest + 1, (10,), generator=random)
    item_seq = torch.randint(1, 61, (10, longest), generator=random) * (torch.arange(longest) < lengths[:, None])
    places = torch.arange(longest)
    trained = places == lengths[:, None] - 1
    if encoder == "causal":
        trained = (trained | (torch.rand(10, longest, generator=random) < 0.5)) & (places < lengths[:, None])
    row, place = trained.nonzero(as_tuple=True)
    targets = torch.randint(1, 61, row.shape, generator=random)
    return Windows(lengths, row, place), item_seq, targets


def losses_of(network, windows, item_seq, targets, users=None):
    items = item_seq[torch.arange(item_seq.shape[1]) < windows.lengths[:, None]]
    buckets = None if users is None else network.user_buckets(users)
    return window_losses(network, windows, network.tokens_of(items), network.tokens_of(targets), buckets)


@pytest.mark.parametrize("n_users", [0, 3])
@pytest.mark.parametrize("encoder", ["causal", "bidirectional"])
def test_losses_and_gradients_of_windows_are_those_of_single_histories(tiny, encoder, n_users):
    network = tiny(encoder=encoder, n_users=n_users)[0].double()
    windows, item_seq, targets = drawn(encoder)
    users = torch.arange(10) if n_users else None
    found = losses_of(network, windows, item_seq, targets, users)
    alone = item_seq[windows.row] * (torch.arange(6) <= windows.place[:, None])
    expected = network(alone, windows.place + 1, targets, None if users is None else users[windows.row])
    # T5's norms have variances of float32, so gradients are as exact as that.
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    factors = torch.rand(len(targets), dtype=torch.float64)
    gradients = [torch.autograd.grad((factors * losses).sum(), network.parameters()) for losses in (found, expected)]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_states_of_a_causal_encoder_do_not_depend_on_later_items_and_see_all_codes_of_their_own(tiny):
    network, _, _ = tiny(encoder="causal")
    item_seq = torch.tensor([[7, 8, 9], [7, 8, 10], [7, 11, 9]])
    with torch.no_grad():
        tokens = network.history_tokens(item_seq, torch.full((3,), 3))
        states = network.encode(tokens).states.unflatten(1, (3, 4))
        other_last_code = tokens[:1].clone()
        other_last_code[0, 7] = tokens[2, 7] if tokens[2, 7] != tokens[0, 7] else tokens[0, 7] - 1
        changed = network.encode(other_last_code).states.unflatten(1, (3, 4))
    torch.testing.assert_close(states[0, :2], states[1, :2], rtol=0, atol=1e-6)
    torch.testing.assert_close(states[0, :1], states[2, :1], rtol=0, atol=1e-6)
    assert not torch.allclose(states[0, 1, 0], changed[0, 1, 0], atol=1e-5)


def test_the_layout_sorts_windows_by_shape():
    layout = Layout.of(Windows(torch.tensor([2, 1, 2]), torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 0, 1])))
    assert [tuple(group) for group in layout.groups] == [(1, 1, 1), (1, 2, 1), (1, 2, 2)]
    assert layout.windows.tolist() == [1, 2, 0]
    assert layout.items.tolist() == [2, 3, 4, 0, 1]
    assert layout.targets.tolist() == [2, 3, 0, 1] and layout.place.tolist() == [0, 1, 0, 1]


def test_a_bidirectional_encoder_has_targets_at_last_places_alone(tiny):
    windows, item_seq, targets = drawn("causal")
    with pytest.raises(InputError, match="Set encoder: causal"):
        losses_of(tiny()[0], windows, item_seq, targets)
    with pytest.raises(InputError, match=r"encoder is 'cauzal'\. Did you mean 'causal'"):
        tiny(encoder="cauzal")


def test_dropout_falls_on_training_alone_and_every_parameter_learns(tiny):
    network, _, _ = tiny(encoder="causal", n_users=3, dropout=0.3)
    windows, item_seq, targets = drawn("causal")
    first, second = (losses_of(network, windows, item_seq, targets, torch.arange(10)) for _ in range(2))
    assert torch.equal(first, second)
    network.train()
    losses = losses_of(network, windows, item_seq, targets, torch.arange(10))
    assert not torch.allclose(losses, first)
    losses.sum().backward()
    assert [name for name, weight in network.named_parameters() if not weight.grad.abs().sum() > 0] == []
