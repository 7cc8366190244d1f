# ruff: noqa: E402 – without torch there is nothing to import

"""Mixtures, weights and losses: what they become at the ends of λ, and against plain loops between."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from genpas_plugins import InputError
from genpas_plugins.neural.basrec.losses import Batch, Model, changed_histories, mixed_losses, view_loss
from genpas_plugins.neural.basrec.mixture import adaptive_weights, mix, weigh
from genpas_plugins.neural.basrec.step_draws import Cross, draw_cross, draw_view, generator
from genpas_plugins.neural.layers.history_losses import LOSSES, Targets, check_loss, history_losses
from genpas_plugins.settings.mixing import MixingConfig

B, D, N = 12, 6, 9


@pytest.fixture
def made():
    """Encoder outputs, item embeddings, targets and a permutation; some partners have the same target."""
    g = torch.Generator().manual_seed(4)
    hidden, table = torch.randn(B, D, generator=g), torch.randn(N, D, generator=g)
    targets = Targets(*(torch.randint(1, N, (B,), generator=g) for _ in range(2)))
    return hidden, table, targets, torch.randperm(B, generator=g)


@pytest.mark.parametrize("kind", LOSSES)
def test_history_losses_are_textbook_ones(kind: str, made):
    hidden, table, targets, _ = made
    good, bad = (hidden * table[targets.positive]).sum(1), (hidden * table[targets.negative]).sum(1)
    expected = {
        "CE": -(hidden @ table.T).log_softmax(1)[torch.arange(B), targets.positive],
        "BPR": -torch.log(torch.sigmoid(good - bad)),
        "BCE": -torch.log(torch.sigmoid(good)) - torch.log(1 - torch.sigmoid(bad)),
    }[kind]
    torch.testing.assert_close(history_losses(kind, hidden, table, targets), expected)


@pytest.mark.parametrize("columns", [1, D])
@pytest.mark.parametrize("kind", LOSSES)
def test_a_mixture_is_the_plain_loss_at_one_and_the_partners_at_zero(kind: str, columns: int, made):
    hidden, table, targets, partner = made
    plain = history_losses(kind, hidden, table, targets)
    own = mixed_losses(kind, hidden, table, targets, Cross(partner, torch.ones(B, columns)))
    others = mixed_losses(kind, hidden, table, targets, Cross(partner, torch.zeros(B, columns)))
    assert torch.equal(own, plain)
    torch.testing.assert_close(others, plain[partner])


@pytest.mark.parametrize("columns", [1, D])
def test_mixed_cross_entropy_is_that_over_exchanged_candidates(columns: int, made):
    hidden, table, targets, partner = made
    share = torch.rand(B, columns, generator=torch.Generator().manual_seed(5))
    for b, loss in enumerate(mixed_losses("CE", hidden, table, targets, Cross(partner, share))):
        i, j = targets.positive[b], targets.positive[partner[b]]
        candidates = table.clone()
        candidates[i] = share[b] * table[i] + (1 - share[b]) * table[j]
        candidates[j] = share[b] * table[j] + (1 - share[b]) * table[i]
        mixed = share[b] * hidden[b] + (1 - share[b]) * hidden[partner[b]]
        torch.testing.assert_close(loss, -(candidates @ mixed).log_softmax(0)[i])


@pytest.mark.parametrize("kind", ["BPR", "BCE"])
def test_mixed_pairwise_losses_mix_both_targets(kind: str, made):
    hidden, table, targets, partner = made
    share = torch.rand(B, D, generator=torch.Generator().manual_seed(6))
    rows = [mix(part, part[partner], share) for part in (hidden, table[targets.positive], table[targets.negative])]
    stacked = torch.cat(rows[1:])
    plain = history_losses(kind, rows[0], stacked, Targets(torch.arange(B), torch.arange(B) + B))
    torch.testing.assert_close(mixed_losses(kind, hidden, table, targets, Cross(partner, share)), plain)


def test_weights_are_one_a_history_from_zero_to_one():
    share, rate = torch.tensor([0.5, 0.25, 1.0, 0.1]), torch.tensor([0.5, 0.4, 0.2, 0.7])
    # 1 / (λ r) is 4, 10, 5 and 100 / 7.
    expected = (torch.tensor([4, 10, 5, 100 / 7], dtype=torch.float64) - 4) / (100 / 7 - 4)
    weights = adaptive_weights(share, rate)
    assert weights.shape == (4,)
    torch.testing.assert_close(weights, expected, rtol=1e-6, atol=1e-7)


def test_weights_of_equal_histories_are_one_and_a_share_of_zero_is_finite():
    assert adaptive_weights(torch.ones(1), torch.tensor([0.3])).tolist() == [1.0]
    assert adaptive_weights(torch.ones(3), torch.full((3,), 0.3)).tolist() == [1.0, 1.0, 1.0]
    assert adaptive_weights(torch.tensor([0.0, 1.0]), torch.tensor([0.3, 0.3])).tolist() == [1.0, 0.0]


def test_weighted_is_a_mean_of_products_and_released_a_product_of_sum_and_mean():
    losses, weights = torch.tensor([1.0, 2.0, 6.0]), torch.tensor([0.0, 1.0, 0.5])
    assert weigh(losses, weights).item() == pytest.approx((0 + 2 + 3) / 3)
    assert weigh(losses, weights, released=True).item() == pytest.approx(1.5 * 3)


def test_a_mixture_of_share_one_is_the_first_to_the_bit():
    one, other = torch.randn(2, 50, generator=torch.Generator().manual_seed(0))
    assert torch.equal(mix(one, other, torch.ones(50, dtype=torch.float64)), one)


def batch_of_histories() -> Batch:
    return Batch(torch.tensor([[1, 2, 3, 4, 5, 6, 7, 8, 0]] * B), torch.full((B,), 8), Targets(torch.arange(B) % N))


def test_a_step_draws_the_same_numbers_whatever_was_drawn_before():
    config, batch = MixingConfig(method="basrec"), batch_of_histories()
    first = draw_view(generator(3, 1, 2), config, batch.histories)
    draw_view(generator(3, 0, 0), config, batch.histories)
    again = draw_view(generator(3, 1, 2), config, batch.histories)
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    for address in [(4, 1, 2), (3, 2, 2), (3, 1, 3), (3, 1, 2, 1)]:
        assert not torch.equal(draw_view(generator(*address), config, batch.histories).share, first.share)


def test_draws_are_of_the_shapes_and_ranges_that_the_settings_say():
    config = MixingConfig(method="basrec", rate_low=0.3, rate_high=0.35)
    random = generator(1, 0, 0)
    view = draw_view(random, config, batch_of_histories().histories)
    assert view.share.shape == view.rate.shape == view.reordered.shape == view.start.shape == (B,)
    assert torch.all((view.rate >= 0.3) & (view.rate <= 0.35))
    crosses = [draw_cross(random, config, torch.zeros(B, D)) for _ in range(40)]
    assert {cross.share.shape for cross in crosses} == {(B, 1), (B, D)}
    assert all(torch.equal(cross.partner.sort().values, torch.arange(B)) for cross in crosses)


def test_each_history_is_reordered_or_has_items_substituted():
    batch, neighbours = batch_of_histories(), torch.arange(N) + 100
    view = draw_view(generator(2, 0, 0), MixingConfig(method="basrec"), batch.histories)
    changed = changed_histories(batch, neighbours, view)
    assert torch.equal((changed >= 100).any(1), ~view.reordered)
    assert view.reordered.any() and not view.reordered.all()


def test_a_view_weighs_each_historys_loss(made):
    hidden, table, targets, _ = made
    batch = batch_of_histories()._replace(targets=targets)
    view = draw_view(generator(2, 0, 0), MixingConfig(method="basrec"), batch.histories)
    model = Model("CE", table, torch.arange(N), lambda changed, share: hidden * share[:, 0])
    losses = history_losses("CE", hidden * view.share[:, None], table.double(), targets)
    weights = adaptive_weights(view.share, view.rate)
    expected = (losses * weights).mean(), losses.mean() * weights.sum()
    model = model._replace(table=table.double())
    for released, value in enumerate(expected):
        torch.testing.assert_close(view_loss(model, batch, view, bool(released)), value)


def test_unknown_losses_and_missing_negatives_are_refused():
    with pytest.raises(InputError, match=r"loss_type is 'BRP'. Did you mean 'BPR'"):
        check_loss("BRP", Targets(torch.zeros(1)))
    with pytest.raises(InputError, match=r"BPR needs a sampled negative"):
        check_loss("BPR", Targets(torch.zeros(1)))


@pytest.mark.parametrize(("batch", "of_paper", "of_released"), [(256, 0.0065, 1.7), (2048, 0.0014, 2.9)])
def test_the_weights_of_the_paper_nearly_switch_the_views_off(batch: int, of_paper: float, of_released: float):
    """One λ near 0 takes the weight 1, and presses the others of the batch to 0; the released form weighs more.

    docs/explanation/comparisons.md has these figures, the loss of a view over the plain loss.
    """
    random = np.random.default_rng(1)
    draws = [(random.beta(0.4, 0.4, batch), random.uniform(0.2, 0.7, batch)) for _ in range(200)]
    weights = torch.stack([adaptive_weights(*map(torch.from_numpy, draw)) for draw in draws])
    paper, released = (np.mean([weigh(torch.ones(batch), row, form) for row in weights]) for form in (False, True))
    assert weights.median() < 1e-5
    assert (float(f"{paper:.2g}"), float(f"{released:.2g}")) == (of_paper, of_released)
