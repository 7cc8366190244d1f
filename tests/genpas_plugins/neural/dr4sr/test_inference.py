"""Hybrid inference: one pattern a memory, restrictive mode inside its sequence, gamma as a probability."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch.nn import functional as F

from genpas_plugins import InputError, SequenceStore
from genpas_plugins.neural.dr4sr.inference import regenerate, summarize
from genpas_plugins.neural.dr4sr.regenerator import Regenerator, Shape

N_ITEMS = 40
SHAPE = Shape(N_ITEMS, dimension=8, feed_forward=16, layers=1, memories=4, max_history=6)


@pytest.fixture(scope="module")
def view():
    random = np.random.default_rng(2)
    lengths = random.integers(0, 12, 60)
    values = random.integers(1, N_ITEMS + 1, lengths.sum())
    return SequenceStore.from_arrays(values, np.cumsum([0, *lengths]), n_items=N_ITEMS).leave_last_out().train


@pytest.fixture(scope="module")
def model() -> Regenerator:
    """A network with random weights: what it writes has nothing to do with the sequence unless it must."""
    torch.manual_seed(0)
    return Regenerator(SHAPE)


def sources(view, made) -> list[set[int]]:
    starts, lengths = view.store.offsets[made.sequence], view.lengths(made.sequence)
    return [set(view.store.values[a : a + n].tolist()) for a, n in zip(starts, lengths, strict=True)]


def test_every_sequence_with_a_pair_is_read_through_every_memory(model, view):
    made = regenerate(model, view)
    assert made.sequence.tolist() == np.flatnonzero(view.lengths() >= 2).tolist()
    assert made.patterns.shape == (len(made.sequence), 4, 5) and made.generative.shape == (len(made.sequence), 4)
    length = (made.patterns > 0).sum(-1)
    assert length.min() >= 2
    assert np.array_equal(made.patterns > 0, np.arange(5) < length[..., None])
    assert made.patterns.max() <= N_ITEMS
    assert any(len(set(map(tuple, row.tolist()))) > 1 for row in made.patterns)  # the memories read differently


def test_restrictive_mode_never_leaves_its_sequence(model, view):
    restrictive = regenerate(model, view, gamma=0)
    assert not restrictive.generative.any()
    for items, row in zip(sources(view, restrictive), restrictive.patterns, strict=True):
        assert set(row[row > 0].tolist()) <= items
    mixed = regenerate(model, view, gamma=0.5, seed=1)
    for items, row, free in zip(sources(view, mixed), mixed.patterns, mixed.generative, strict=True):
        assert set(row[~free][row[~free] > 0].tolist()) <= items
    assert summarize(mixed, view)["foreign"]["restrictive"] == 0


def test_generative_mode_writes_any_item(model, view):
    made = regenerate(model, view, gamma=1)
    assert made.generative.all()
    foreign = [
        item not in items
        for items, row in zip(sources(view, made), made.patterns, strict=True)
        for item in row[row > 0].tolist()
    ]
    figures = summarize(made, view)
    assert figures["foreign"] == {"generative": pytest.approx(np.mean(foreign)), "restrictive": 0.0}
    assert np.mean(foreign) > 0.5


def test_decoding_is_greedy_step_by_step(model, view):
    """Against one sequence, one memory and one token at a time, with every token scored."""
    made = regenerate(model, view, gamma=0.5, seed=7)
    model.eval()
    with torch.no_grad():
        for n, row in enumerate(made.sequence[:12].tolist()):
            start = view.store.offsets[row]
            history = view.store.values[start : start + view.lengths()[row]].tolist()[-SHAPE.max_history :]
            memory = model.encode(torch.tensor([history]))
            for k in range(4):
                allowed = range(1, N_ITEMS + 1) if made.generative[n, k] else history
                written: list[int] = []
                while len(written) < 5:
                    tokens = torch.tensor([[model.start, *written]])
                    scores = model.scores(model.decode(model.single(memory, k), tokens)[:, -1])[0]
                    left = Counter(allowed) - Counter(written)
                    choices = [*left, *([N_ITEMS + 1] if len(written) >= 2 else [])]
                    best = max(choices, key=lambda token: float(scores[token - 1]))
                    if best == N_ITEMS + 1:
                        break
                    written.append(best)
                assert made.patterns[n, k].tolist() == [*written, *[0] * (5 - len(written))]


def test_no_item_is_written_more_often_than_its_sequence_holds_it(model):
    store = SequenceStore.from_arrays([7, 7, 8, 1, 1, 5, 6, 1, 1], [0, 5, 9], n_items=N_ITEMS)
    view = store.leave_last_out().train
    restrictive = regenerate(model, view, gamma=0).patterns
    assert all((Counter(row) - Counter({0: 5, 7: 2, 8: 1})) == Counter() for row in restrictive[0].tolist())
    assert all(sorted(row) == [0, 0, 0, 5, 6] for row in restrictive[1].tolist())
    for row in regenerate(model, view, gamma=1).patterns.reshape(-1, 5):
        assert len(set(row[row > 0].tolist())) == (row > 0).sum()


def test_a_pattern_ends_where_the_network_ends_it(view):
    torch.manual_seed(0)
    eager = Regenerator(SHAPE)
    with torch.no_grad():
        for name in ("norm3",):  # every state is one vector, which is the end's
            getattr(eager.decoder.layers[-1], name).weight.zero_()
            getattr(eager.decoder.layers[-1], name).bias.copy_(eager.embedding.weight[eager.end] * 100)
        eager.embedding.weight[1 : eager.start] = F.normalize(eager.embedding.weight[1 : eager.start]) * 1e-3
    for gamma in (0.0, 1.0):
        made = regenerate(eager, view, gamma=gamma)
        assert ((made.patterns > 0).sum(-1) == 2).all()  # not before two


def test_gamma_is_the_probability_of_generative_mode(model):
    store = SequenceStore.from_arrays(np.ones(8000, np.int64), np.arange(2001) * 4, n_items=N_ITEMS)
    made = regenerate(model, store.leave_last_out().train, gamma=0.1, batch_size=2000)
    n = made.generative.size
    assert abs(made.generative.sum() - 0.1 * n) < 4 * (n * 0.09) ** 0.5


def test_batches_change_nothing_and_the_seed_changes_the_modes(model, view):
    one, other = regenerate(model, view, gamma=0.3), regenerate(model, view, gamma=0.3, batch_size=7)
    assert np.array_equal(one.generative, other.generative) and np.array_equal(one.patterns, other.patterns)
    assert not np.array_equal(one.generative, regenerate(model, view, gamma=0.3, seed=1).generative)


def test_training_mode_is_left_as_it_was_and_dropout_is_off(model, view):
    model.train()
    one, other = regenerate(model, view), regenerate(model, view)
    assert model.training and np.array_equal(one.patterns, other.patterns)


def test_counts(model, view):
    made = regenerate(model, view)
    figures = summarize(made, view)
    assert figures["sequences"] == len(made.sequence) and figures["patterns"] == 4 * len(made.sequence)
    assert sum(figures["by_length"].values()) == figures["patterns"]
    assert figures["distinct"] == sum(len(set(map(tuple, row.tolist()))) for row in made.patterns)
    assert figures["generative"] == made.generative.sum()


@pytest.mark.parametrize("gamma", [-0.1, 1.5, float("nan")])
def test_a_gamma_that_is_no_probability(gamma, model, view):
    with pytest.raises(InputError, match="probability from 0 to 1"):
        regenerate(model, view, gamma=gamma)


def test_a_regenerator_of_another_catalogue(model, store):
    with pytest.raises(InputError, match="knows 40 items, the store has 9"):
        regenerate(model, store.leave_last_out().train)
