"""ODIN: its penalties by hand, their gradients, and what it makes of an entangled confounder."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from causalign.errors import InputError, RoleNotDeclared, SettingsError  # noqa: E402
from causalign.logs import Roles  # noqa: E402
from causalign.reward import Examples, NetworkTraining, Odin, Perceptron  # noqa: E402
from causalign.reward.networks.odin import (  # noqa: E402
    correlation,
    disentangling_penalties,
    unit_rows,
)

MEMBERS, ROWS = 2, 5
HOW = NetworkTraining(learning_rate=2e-3, epochs=12, batch_size=64, device="cpu")


def drawn(*shape, seed=0, requires_grad=True):
    values = np.random.default_rng(seed).normal(size=shape)
    return torch.tensor(values, dtype=torch.float64, requires_grad=requires_grad)


def weights(seed=9):
    return torch.tensor(np.random.default_rng(seed).uniform(0.2, 2, size=(MEMBERS, ROWS)))


HIDDEN = drawn(MEMBERS, ROWS, 6, seed=11, requires_grad=False)


def penalties(rows):
    units = unit_rows(rows)
    scores = [torch.einsum("mbh,mh->mb", HIDDEN, units[:, k]) for k in (0, 1)]
    return sum(disentangling_penalties(units[:, 0], units[:, 1], *scores, weights(7), weights()))


def test_gradient_is_that_of_finite_differences():
    rows = drawn(MEMBERS, 2, 6)
    assert penalties(rows).shape == (MEMBERS,)
    assert torch.autograd.gradcheck(penalties, rows, eps=1e-6, atol=1e-7, rtol=1e-6)


def test_a_member_does_not_move_its_neighbour():
    rows = drawn(MEMBERS, 2, 6)
    penalties(rows)[0].backward()
    assert rows.grad[0].abs().max() > 0
    assert rows.grad[1].abs().max() == 0


def test_penalties_by_hand():
    rows = unit_rows(torch.tensor([[3.0, 4.0], [0.0, 2.0]]))
    assert rows.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0.0, 1.0]]
    confounder = torch.tensor([1.0, 2.0, 3.0])
    quality, rest = torch.tensor([3.0, 2.0, 1.0]), torch.tensor([1.0, 0.0, 1.0])
    orthogonal, follows = disentangling_penalties(*rows, quality, rest, confounder, torch.ones(3))
    assert orthogonal.item() == pytest.approx(0.8)
    # corr(c, r_L) = 0, so 1 - 0; corr(c, r_Q) = -1, so 1 more.
    assert follows.item() == pytest.approx(2.0, abs=1e-5)


def test_correlation_is_numpys_and_zero_of_a_constant():
    a, b = (drawn(1, 8, seed=seed) for seed in (1, 2))
    value = correlation(a, b, torch.ones(1, 8).double()).item()
    assert value == pytest.approx(np.corrcoef(a.detach(), b.detach())[0, 1])
    constant = torch.ones(1, 8, dtype=torch.float64, requires_grad=True)
    zero = correlation(constant, b, torch.ones(1, 8).double())
    zero.sum().backward()
    assert zero.item() == 0
    assert torch.isfinite(constant.grad).all()


def pearson(a, b):
    return float(np.corrcoef(a, b)[0, 1])


def test_it_scores_without_the_confounder(entangled):
    X, confounder, truth, outcome = entangled
    examples = Examples.of_outcomes(X, outcome, confounders=confounder)
    naive = Perceptron(width=32, training=HOW).fit_examples(Examples.of_outcomes(X, outcome))
    fit = Odin("squared-error", width=32, training=HOW).fit_examples(examples)
    assert abs(pearson(fit.head(X), confounder)) < 0.3 < pearson(naive.head(X), confounder)
    # r_L keeps a part of what texts are worth, so r_Q is better than naive and far from perfect.
    assert pearson(fit.head(X), truth) > pearson(naive.head(X), truth) + 0.1
    last = fit.head.weights[-1]
    norm = np.linalg.norm(last)
    assert norm == pytest.approx(outcome.std(), rel=0.1), "a unit row, in units of the outcome"


def test_it_asks_for_one_confounder():
    with pytest.raises(SettingsError, match="must not be negative"):
        Odin(orthogonality=-1)
    with pytest.raises(RoleNotDeclared) as missing:
        Odin("squared-error").check_roles(Roles(completion="t", outcome="y"))
    assert missing.value.roles == ("confounders",)
    with pytest.raises(RoleNotDeclared, match="with loss='bradley-terry'"):
        Odin().check_roles(Roles(completion="t", outcome="y", confounders=("a",)))
    with pytest.raises(SettingsError, match="takes one confounder; 2 were named"):
        Odin().check_roles(Roles(completion="t", outcome="y", group="g", confounders=("a", "b")))
    X = np.random.default_rng(0).normal(size=(6, 3))
    two = Examples.of_pairs(X, [0, 1, 2], [3, 4, 5], confounders=np.ones((3, 2)))
    with pytest.raises(InputError, match="one confounder"):
        Odin(training=HOW).fit_examples(two)
