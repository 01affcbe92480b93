"""Each loss: its value where it can be worked by hand, its gradient against finite differences."""

import math

import numpy as np
import pytest
from scipy.special import expit, log_softmax

torch = pytest.importorskip("torch")

from causalign.errors import SettingsError  # noqa: E402
from causalign.reward.networks.adversarial import adversary_loss, reverse_gradient  # noqa: E402
from causalign.reward.networks.losses import (  # noqa: E402
    bradley_terry,
    logistic,
    loss_of_scores,
    multi_class,
    ordered_thresholds,
    ordinal,
    squared_error,
)

MEMBERS, ROWS = 2, 5


def drawn(*shape, seed=0, requires_grad=True):
    values = np.random.default_rng(seed).normal(size=shape)
    return torch.tensor(values, dtype=torch.float64, requires_grad=requires_grad)


def weights(seed=9):
    return torch.tensor(np.random.default_rng(seed).uniform(0.2, 2, size=(MEMBERS, ROWS)))


def labels(kinds, seed=3):
    return torch.tensor(np.random.default_rng(seed).integers(0, kinds, size=(MEMBERS, ROWS)))


CASES = {
    "squared error": (lambda s: squared_error(s, weights(1), weights()), (MEMBERS, ROWS)),
    "logistic": (lambda s: logistic(s, labels(2).double(), weights()), (MEMBERS, ROWS)),
    "bradley-terry": (
        lambda s: bradley_terry(s[..., 0], s[..., 1], weights(2) / 3, weights(4), weights()),
        (MEMBERS, ROWS, 2),
    ),
    "multi-class": (lambda s: multi_class(s, labels(3), weights()), (MEMBERS, ROWS, 3)),
    "ordinal, score": (
        lambda s: ordinal(
            s, labels(4), torch.tensor([[-1.0, 0.1, 2.0]] * MEMBERS).double(), weights()
        ),
        (MEMBERS, ROWS),
    ),
    "ordinal, thresholds": (
        lambda raw: ordinal(
            drawn(MEMBERS, ROWS, seed=5, requires_grad=False),
            labels(4),
            ordered_thresholds(raw),
            weights(),
        ),
        (MEMBERS, 3),
    ),
    "adversary, two objectives": (
        lambda s: adversary_loss(s, labels(2), None, weights()),
        (MEMBERS, ROWS, 1),
    ),
    "adversary, three objectives and a confounder": (
        lambda s: adversary_loss(s, labels(3), weights(8)[..., None], weights()),
        (MEMBERS, ROWS, 4),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_gradient_is_that_of_finite_differences(name):
    loss, shape = CASES[name]
    assert loss(drawn(*shape)).shape == (MEMBERS,)
    assert torch.autograd.gradcheck(loss, drawn(*shape), eps=1e-6, atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_a_member_does_not_move_its_neighbour(name):
    loss, shape = CASES[name]
    at = drawn(*shape)
    loss(at)[0].backward()
    assert at.grad[0].abs().max() > 0
    assert at.grad[1].abs().max() == 0


def test_bradley_terry_by_hand():
    first, second = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])
    won, weight = torch.tensor([1.0, 0.0]), torch.tensor([3.0, 1.0])
    margin = torch.tensor([0.5, -0.5])
    # The preferred side of pair 1 leads by 1 and is asked for 0.5, that of pair 2 by 2 for 0.5.
    by_hand = (3 * math.log(1 + math.exp(-0.5)) + math.log(1 + math.exp(-1.5))) / 4
    found = bradley_terry(first, second, won, margin, weight).item()
    assert found == pytest.approx(by_hand, rel=1e-6)


def test_logistic_stays_finite_where_the_sigmoid_underflows():
    loss = logistic(torch.tensor([-800.0]), torch.tensor([1.0]), torch.ones(1))
    assert loss.item() == pytest.approx(800)


def test_multi_class_is_the_log_softmax():
    scores = np.array([[1.0, 2.0, 0.0], [0.0, 0.0, 0.0]])
    by_hand = -(log_softmax(scores, axis=1)[0, 1] + math.log(1 / 3)) / 2
    found = multi_class(torch.tensor(scores), torch.tensor([1, 2]), torch.ones(2))
    assert found.item() == pytest.approx(by_hand)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_ordinal_probabilities_are_differences_and_sum_to_one(level):
    cuts, score = np.array([-0.5, 1.0]), 0.3
    above = np.concatenate([[1.0], expit(score - cuts), [0.0]])
    found = ordinal(
        torch.tensor([score]), torch.tensor([level]), torch.tensor(cuts), torch.ones(1)
    ).item()
    assert math.exp(-found) == pytest.approx(above[level] - above[level + 1], rel=1e-5)


def test_ordinal_survives_scores_far_from_the_thresholds():
    cuts = torch.tensor([0.0, 1.0], dtype=torch.float64)
    far = torch.tensor([-300.0], dtype=torch.float64)
    loss = ordinal(far, torch.tensor([1]), cuts, torch.ones(1))
    assert loss.item() == pytest.approx(300 - math.log(1 - math.exp(-1)), rel=1e-6)


def test_thresholds_ascend_whatever_the_numbers():
    cuts = ordered_thresholds(torch.tensor([3.0, -50.0, 0.0, 2.0]))
    assert (cuts.diff() >= 0).all()
    assert cuts[2] - cuts[1] == pytest.approx(math.log(2), rel=1e-4)


def test_adversary_by_hand():
    outputs = torch.tensor([[2.0], [-1.0]])
    objective = torch.tensor([1, 0])
    by_hand = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-1))) / 2
    assert adversary_loss(outputs, objective, None, torch.ones(2)).item() == pytest.approx(by_hand)
    # A continuous confounder that is missed by 1 and by 3 costs half of (1 + 9) / 2 more.
    both = torch.cat([outputs, torch.tensor([[1.0], [3.0]])], dim=1)
    more = adversary_loss(both, objective, torch.zeros(2, 1), torch.ones(2)).item()
    assert more == pytest.approx(by_hand + 2.5)


def test_reversal_turns_the_gradient_around_and_leaves_the_value():
    latent = torch.tensor([[[1.0, -2.0]], [[0.5, 3.0]]], requires_grad=True)
    strength = torch.tensor([0.5, 2.0])[:, None, None]
    turned = reverse_gradient(latent, strength)
    assert torch.equal(turned, latent)
    (3 * turned).sum().backward()
    assert latent.grad.flatten().tolist() == [-1.5, -1.5, -6.0, -6.0]


@pytest.mark.parametrize(
    ("loss", "says"), [("hinge", "no loss 'hinge'"), ("ordinal", "thresholds")]
)
def test_a_loss_is_never_guessed(loss, says):
    with pytest.raises(SettingsError, match=says):
        loss_of_scores(loss, torch.zeros(1, 3, 1), batch=None)
