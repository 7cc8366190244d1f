"""DR4SR+'s implicit gradient against finite differences of the solved inner problem and against the dense formula."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from genpas_plugins import InputError
from genpas_plugins.neural.dr4sr.personaliser import Personaliser, implicit_gradient, outer_step, relative_weights

N, D = 64, 3


class Problem:
    """Logistic regression with a ridge; instance i has the weight sigmoid(phi · z_i)."""

    def __init__(self) -> None:
        random = torch.Generator().manual_seed(0)
        draw = {"generator": random, "dtype": torch.float64}
        self.x, self.z, self.other = (torch.randn(N, D, **draw) for _ in range(3))
        self.y = (torch.rand(N, **draw) < torch.sigmoid(self.x @ torch.tensor([1.0, -2, 0.5]).double())).double()
        self.wanted = (torch.rand(N, **draw) < 0.5).double()

    def inner(self, theta: Tensor, phi: Tensor) -> Tensor:
        losses = torch.nn.functional.binary_cross_entropy_with_logits(self.x @ theta, self.y, reduction="none")
        return (torch.sigmoid(self.z @ phi) * losses).mean() + 0.15 * theta.square().sum()

    def outer(self, theta: Tensor) -> Tensor:
        return torch.nn.functional.binary_cross_entropy_with_logits(self.other @ theta, self.wanted)

    def minimum(self, phi: Tensor) -> Tensor:
        """Newton's method, to the last digit."""
        theta = torch.zeros(D, dtype=torch.float64)
        for _ in range(30):
            slope = torch.func.grad(self.inner)(theta, phi)
            theta = theta - torch.linalg.solve(torch.func.hessian(self.inner)(theta, phi), slope)
        return theta


PHI = torch.tensor([0.3, -0.4, 0.2], dtype=torch.float64)


def gradient(problem: Problem, terms: int = 3) -> tuple[Tensor, Tensor, float]:
    theta = problem.minimum(PHI).requires_grad_()
    phi = PHI.clone().requires_grad_()
    hessian = torch.func.hessian(problem.inner)(theta.detach(), PHI)
    step = 2 / float(torch.linalg.eigvalsh(hessian)[[0, -1]].sum())
    (made,) = implicit_gradient(problem.inner(theta, phi), problem.outer(theta), [theta], [phi], step=step, terms=terms)
    return made, hessian, step


def test_it_agrees_with_finite_differences():
    problem = Problem()
    made, _, _ = gradient(problem)
    size = 1e-5
    differences = [
        (problem.outer(problem.minimum(PHI + e)) - problem.outer(problem.minimum(PHI - e))) / (2 * size)
        for e in torch.eye(D, dtype=torch.float64) * size
    ]
    expected = torch.stack(differences)
    assert torch.linalg.norm(made - expected) / torch.linalg.norm(expected) < 1e-3
    assert torch.linalg.norm(gradient(problem, terms=0)[0] - expected) / torch.linalg.norm(expected) > 1e-3
    assert torch.allclose(gradient(problem, terms=60)[0], expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("terms", [0, 1, 3])
def test_it_is_the_series_to_that_term(terms):
    problem = Problem()
    made, hessian, step = gradient(problem, terms)
    theta = problem.minimum(PHI)
    inverse = step * sum(torch.linalg.matrix_power(torch.eye(D).double() - step * hessian, j) for j in range(terms + 1))
    slope = torch.func.grad(problem.outer)(theta)
    mixed = torch.func.jacrev(torch.func.grad(problem.inner), argnums=1)(theta, PHI)
    assert torch.allclose(made, -(slope @ inverse) @ mixed, rtol=1e-9)


def test_several_tensors_are_one_vector_and_unused_ones_count_as_nought():
    problem = Problem()
    made, _, step = gradient(problem)
    theta = problem.minimum(PHI)
    first, rest = theta[:1].clone().requires_grad_(), theta[1:].clone().requires_grad_()
    unused = torch.ones(2, dtype=torch.float64, requires_grad=True)
    a, b, idle = (part.clone().requires_grad_() for part in (PHI[:2], PHI[2:], PHI))
    whole = torch.cat([first, rest])
    parts = implicit_gradient(
        problem.inner(whole, torch.cat([a, b])), problem.outer(whole), [first, rest, unused], [a, b, idle], step=step
    )
    assert torch.allclose(torch.cat(parts[:2]), made) and not parts[2].any()


def test_weights_are_between_nought_and_one_and_padding_does_not_count():
    torch.manual_seed(0)
    personaliser = Personaliser(4, hidden=8)
    history, target = torch.randn(5, 3, 4, requires_grad=True), torch.randn(5, 4)
    assert personaliser(history, target).tolist() == [0.5] * 5, "untrained, it has no preference"
    torch.nn.init.normal_(personaliser.layers[2].weight)
    weights = personaliser(history, target)
    assert weights.shape == (5,) and (weights > 0).all() and (weights < 1).all()
    assert len(weights.unique()) == 5
    assert torch.allclose(weights, personaliser(100 * history, 0.01 * target)), "size tells nothing"
    assert torch.allclose(weights, personaliser(torch.cat([history, torch.zeros(5, 2, 4)], 1), target))
    weights.sum().backward()
    assert history.grad is None


@given(size=st.integers(1, 300), value=st.floats(0.001, 1))
def test_equal_weights_are_one_to_the_bit(size: int, value: float):
    assert relative_weights(torch.full((size,), value)).tolist() == [1.0] * size


def test_weights_are_relative_to_their_mean():
    weights = torch.rand(50, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = torch.arange(50.0, dtype=torch.float64)
    made = (relative_weights(weights) * loss).mean()
    expected = (weights * loss).sum() / weights.sum()
    torch.testing.assert_close(made, expected)
    torch.testing.assert_close(*(torch.autograd.grad(value, weights)[0] for value in (made, expected)))


def test_steps_take_weight_from_harmful_instances():
    """Half of the instances have wrong labels, and a feature says which: the personaliser finds out."""
    torch.manual_seed(0)
    x = torch.randn(200, 4, dtype=torch.float64)  # rounding stays far from what is asserted
    truth = (x @ torch.tensor([2.0, -1, 1, 0]).double() > 0).double()
    wrong = torch.arange(200) % 2 == 1
    y = torch.where(wrong, 1 - truth, truth)
    mark = torch.stack([wrong.double(), 1 - wrong.double()], 1)
    personaliser = Personaliser(2, hidden=8).double()
    optimiser = torch.optim.Adam(personaliser.parameters(), lr=0.05)
    theta = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    loss = torch.nn.functional.binary_cross_entropy_with_logits
    before = personaliser(mark[:, None], mark).detach()
    for _ in range(40):
        for _ in range(5):
            weights = personaliser(mark[:, None], mark).detach()
            inner = (weights * loss(x @ theta, y, reduction="none")).mean() + 0.05 * theta.square().sum()
            (slope,) = torch.autograd.grad(inner, theta)
            theta = (theta - slope).detach().requires_grad_()
        weights = personaliser(mark[:, None], mark)
        inner = (weights * loss(x @ theta, y, reduction="none")).mean() + 0.05 * theta.square().sum()
        outer_step(inner, loss(x @ theta, truth), [theta], personaliser, optimiser, step=1.0)
    after = personaliser(mark[:, None], mark).detach()
    assert theta.grad is None
    assert after[wrong].mean() < 0.2
    assert after[~wrong].mean() > 0.8
    assert torch.equal(before[wrong], before[~wrong])


def test_bad_input():
    theta, phi = torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True)
    good = (theta.square() * phi).sum()
    with pytest.raises(InputError, match="step"):
        implicit_gradient(good, good, [theta], [phi], step=0)
    with pytest.raises(InputError, match="terms"):
        implicit_gradient(good, good, [theta], [phi], step=1, terms=-1)
    with pytest.raises(InputError, match="no gradient"):
        implicit_gradient(good, good.detach(), [theta], [phi], step=1)
    with pytest.raises(InputError, match="linear"):
        implicit_gradient(theta.sum(), good, [theta], [phi], step=1)
