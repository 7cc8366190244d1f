"""The regenerator's network and training: shapes, padding, the loss by hand, learning, and resuming to the bit."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch.nn import functional as F

from genpas_plugins import InputError, SequenceStore
from genpas_plugins.neural.dr4sr.mining import mine_patterns
from genpas_plugins.neural.dr4sr.regenerator import Regenerator, Shape
from genpas_plugins.neural.dr4sr.training import Recipe, batches, histories, train_regenerator

SMALL = Shape(n_items=12, dimension=8, feed_forward=16, layers=1, memories=3, max_history=6, max_pattern=3)
RECIPE = Recipe(epochs=3, batch_size=16)


@pytest.fixture(scope="module")
def view():
    random = np.random.default_rng(1)
    lengths = random.integers(4, 12, 40)
    store = SequenceStore.from_arrays(random.integers(1, 13, lengths.sum()), np.cumsum([0, *lengths]), n_items=12)
    return store.leave_last_out().train


@pytest.fixture(scope="module")
def patterns(view):
    return mine_patterns(view, longest=3)


@pytest.fixture
def model() -> Regenerator:
    torch.manual_seed(0)
    return Regenerator(SMALL).eval()


HISTORY = torch.tensor([[3, 1, 4, 1], [5, 9, 0, 0]])
PATTERN = torch.tensor([[3, 4, 1], [5, 9, 0]])


def test_padding_changes_nothing(model):
    wide = F.pad(HISTORY, (0, 2))
    short = model.decode(model.single(model.encode(HISTORY), 1), PATTERN)
    assert torch.allclose(short, model.decode(model.single(model.encode(wide), 1), PATTERN), atol=1e-5)
    assert torch.allclose(model.mixing_logits(PATTERN[1:]), model.mixing_logits(PATTERN[1:, :2]), atol=1e-5)


def test_the_decoder_does_not_look_ahead(model):
    memory = model.single(model.encode(HISTORY), 0)
    changed = PATTERN.clone()
    changed[:, 2] = 7
    before, after = model.decode(memory, PATTERN), model.decode(memory, changed)
    assert torch.allclose(before[:, :2], after[:, :2], atol=1e-6) and not torch.allclose(before[:, 2], after[:, 2])


def test_weights_of_one_memory_alone_are_that_memory(model):
    memory = model.encode(HISTORY)
    for k in range(3):
        weights = F.one_hot(torch.tensor([k, k]), 3).float()
        assert torch.allclose(model.mixed(memory, weights).states, model.single(memory, k).states, atol=1e-6)


def test_scores_of_candidates_are_columns_of_the_scores_of_all(model):
    states = torch.randn(2, 8)
    everything = model.scores(states)
    candidates = torch.tensor([[1, 12, model.end], [7, 7, 2]])
    expected = torch.stack([everything[0, [0, 11, 12]], everything[1, [6, 6, 1]]])
    assert everything.shape == (2, 13) and torch.allclose(model.scores(states, candidates), expected)


def test_the_loss_by_hand(model):
    torch.manual_seed(5)
    made = model.reconstruction(HISTORY, PATTERN, temperature=0.7)
    torch.manual_seed(5)
    weights = F.gumbel_softmax(model.mixing_logits(PATTERN), tau=0.7)
    memory = model.mixed(model.encode(HISTORY), weights)
    wanted = [[3, 4, 1, model.end], [5, 9, model.end]]
    losses = []
    for row, sequence in enumerate(wanted):
        tokens = torch.tensor([[model.start, *sequence[:-1]]])
        one = memory._replace(states=memory.states[row : row + 1], padding=memory.padding[row : row + 1])
        logits = model.scores(model.decode(one, tokens)[0])
        columns = [12 if token == model.end else token - 1 for token in sequence]
        losses += [-logits[place].log_softmax(0)[column] for place, column in enumerate(columns)]
    assert made.cross_entropy.item() == pytest.approx(torch.stack(losses).mean().item(), rel=1e-5)
    entropy = -(weights * weights.log()).sum(1).mean()
    assert made.entropy.item() == pytest.approx(entropy.item(), rel=1e-5)
    use = weights.mean(0)
    assert made.imbalance.item() == pytest.approx(math.log(3) + (use * use.log()).sum().item(), rel=1e-4)
    assert torch.equal(made.weights, weights)


def test_a_weight_of_nought_has_no_entropy_and_a_gradient(model):
    """At a low temperature a mixing weight underflows to exactly 0."""
    model.mixing.weight.data *= 1e4
    made = model.reconstruction(HISTORY, PATTERN, temperature=0.01)
    (made.cross_entropy + made.entropy + made.imbalance).backward()
    assert made.entropy.item() == 0
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_given_vectors_keep_their_directions():
    vectors = torch.randn(12, 8) * 100
    table = Regenerator(SMALL, vectors).embedding.weight[1:13]
    assert torch.allclose(F.cosine_similarity(table, vectors), torch.ones(12))
    assert table.square().mean().item() == pytest.approx(1 / 8)


@pytest.mark.parametrize("vectors", [torch.zeros(12, 8), torch.full((12, 8), torch.nan), torch.ones(11, 8)])
def test_vectors_that_cannot_be_used(vectors):
    with pytest.raises(InputError, match="item vectors"):
        Regenerator(SMALL, vectors)


@pytest.mark.parametrize("setting", [{"dimension": 7}, {"heads": 0}, {"dropout": 1.0}, {"memories": 0}])
def test_sizes_that_cannot_be_used(setting):
    with pytest.raises(InputError):
        replace(SMALL, **setting)


def test_the_temperature_falls_geometrically():
    recipe = Recipe(epochs=3)
    assert [recipe.temperature_of(epoch) for epoch in range(3)] == pytest.approx([1, 0.1**0.5, 0.1])
    assert Recipe(epochs=1).temperature_of(0) == 1


def test_an_epoch_has_every_pair_once_in_its_own_order():
    lengths = np.arange(100) % 7
    first, second = batches(lengths, 16, 0, 0), batches(lengths, 16, 0, 1)
    assert sorted(np.concatenate(first).tolist()) == list(range(100)) and len(first) == 7
    assert not all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_histories_are_the_last_items(view):
    rows = np.arange(view.store.n_sequences)
    got = histories(view, rows, 4)
    for row, n in zip(rows, view.lengths(), strict=True):
        expected = view.store.values[view.store.offsets[row] :][:n][-4:]
        assert got[row].tolist() == [*expected, *[0] * (got.shape[1] - len(expected))]


def test_whole_sequences_of_a_store_are_read_too(store):
    assert histories(store.view(), np.array([3, 4]), 3).tolist() == [[8, 9, 4], [4, 5, 6]]


def test_training_learns(view, patterns):
    shape = replace(SMALL, dropout=0.0, dimension=16)
    curve = train_regenerator(view, patterns, shape, Recipe(epochs=6, batch_size=32, learning_rate=1e-2)).curve
    # ln 13 = 2.56 is what knowing nothing costs.
    assert curve[-1]["cross_entropy"] < 0.8 * curve[0]["cross_entropy"] < 0.8 * 3.5
    assert [len(epoch["use"]) for epoch in curve] == [3] * 6
    assert all(sum(epoch["use"]) == pytest.approx(1) for epoch in curve)


def test_balance_keeps_every_memory_in_use(view, patterns):
    def least_used(weight: float) -> float:
        recipe = Recipe(epochs=4, batch_size=32, learning_rate=1e-2, balance_weight=weight)
        return min(train_regenerator(view, patterns, SMALL, recipe).curve[-1]["use"])

    assert least_used(0.0) < 0.1 < least_used(3.0)


def test_a_resumed_training_is_one_that_never_stopped(view, patterns, tmp_path):
    file = tmp_path / "regenerator.pt"
    whole = train_regenerator(view, patterns, SMALL, RECIPE)
    calls: list[tuple[int, int]] = []

    def stop(done: int, total: int) -> None:
        calls.append((done, total))
        if done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_regenerator(view, patterns, SMALL, RECIPE, checkpoint=file, progress=stop)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    resumed = train_regenerator(view, patterns, SMALL, RECIPE, checkpoint=file)
    assert torch.equal(torch.get_rng_state(), state)
    for one, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert whole.curve == resumed.curve and calls[-1][0] < calls[-1][1]
    assert not resumed.model.training


def test_a_checkpoint_of_something_else_is_refused(view, patterns, tmp_path):
    file = tmp_path / "regenerator.pt"
    one = replace(RECIPE, epochs=1)
    train_regenerator(view, patterns, SMALL, one, checkpoint=file, made_from={"data": 1})
    with pytest.raises(InputError, match=r"\(data changed\)"):
        train_regenerator(view, patterns, SMALL, one, checkpoint=file, made_from={"data": 2})
    with pytest.raises(InputError, match=r"\(recipe changed\)"):
        train_regenerator(view, patterns, SMALL, replace(one, seed=1), checkpoint=file, made_from={"data": 1})
    # Longer training at other temperatures is no continuation of this one.
    with pytest.raises(InputError, match=r"of a training of 1 epochs, not 2, .* Ask for 1 epochs"):
        train_regenerator(view, patterns, SMALL, replace(one, epochs=2), checkpoint=file, made_from={"data": 1})
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InputError, match="cannot be loaded safely"):
        train_regenerator(view, patterns, SMALL, one, checkpoint=file)
    torch.save({"weights": torch.ones(1)}, file)
    with pytest.raises(InputError, match="does not hold a regenerator"):
        train_regenerator(view, patterns, SMALL, one, checkpoint=file)


def test_a_loss_that_is_not_finite_says_so(view, patterns):
    with pytest.raises(InputError, match="not finite in epoch"):
        train_regenerator(view, patterns, SMALL, replace(RECIPE, learning_rate=1e30))


def test_nothing_to_train_on(view):
    with pytest.raises(InputError, match="nothing to train on"):
        train_regenerator(view, mine_patterns(view, min_frequency=10**6), SMALL, RECIPE)


@pytest.mark.parametrize(
    "setting", [{"epochs": 0}, {"learning_rate": 0}, {"temperature": (1, 0)}, {"seed": -1}, {"balance_weight": -1}]
)
def test_recipes_that_cannot_be_used(setting):
    with pytest.raises(InputError, match=next(iter(setting))):
        Recipe(**setting)
