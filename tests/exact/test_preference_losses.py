"""Where the losses of preferences and of prospects have their minimum, over 64 sentences."""

import numpy as np
import pytest
import torch

from causalign import Pairs
from causalign.policy import DirectPreference, KahnemanTversky
from causalign.policy.kto import distance_from_threshold

FIRST, SECOND = torch.triu_indices(64, 64, offset=1)  # every two sentences, (2016,)
BETA, NOISE = 0.5, 0.2


def pairs_in_expectation(language, preference):
    """Return rows in which each pair stands twice, as won and as lost, and their sentences."""
    sides = torch.stack([FIRST, SECOND], dim=1)
    sides = torch.cat([sides, sides.flip(1)]).ravel()  # chosen, rejected, chosen, ...
    return sides, {
        "reference_logprob": language.reference[sides],
        "weight": 2 * torch.cat([preference, 1 - preference]),
        "margin": torch.zeros(len(sides) // 2),
        "length": torch.full((len(sides),), 3),
    }


def minimise(objective, rows, sides, start, steps=200):
    """Return log π (64,) of the free policy at the minimum, and the gradient that is left."""
    logits = start.clone().requires_grad_()
    optimiser = torch.optim.LBFGS(
        [logits], max_iter=steps, tolerance_grad=1e-10, line_search_fn="strong_wolfe"
    )

    def evaluate():
        optimiser.zero_grad()
        loss, _ = objective(logits.log_softmax(0)[sides], rows)
        loss.backward()
        return loss

    optimiser.step(evaluate)
    evaluate()
    return logits.detach().log_softmax(0), logits.grad.abs().max().item()


def differences(logprob, language):
    ratio = logprob - language.reference
    return ratio[FIRST] - ratio[SECOND]  # (2016,)


def test_the_robust_loss_finds_the_truth_where_winners_are_turned_round(language):
    """True log-odds are differences of outcomes; a fifth of the winners is wrong."""
    gap = language.outcome[FIRST] - language.outcome[SECOND]
    noisy = (1 - 2 * NOISE) * torch.sigmoid(gap) + NOISE
    sides, rows = pairs_in_expectation(language, noisy)

    def error(**settings):
        objective = DirectPreference(BETA, **settings)
        logprob, left = minimise(objective, rows, sides, language.reference)
        assert left < 1e-6
        return (BETA * differences(logprob, language) - gap).abs().max().item()

    assert error(loss="robust", label_smoothing=NOISE) < 1e-3
    assert error() > 1.0
    assert error(label_smoothing=NOISE) > error()  # smoothing alone is more careful still


def test_smoothing_bounds_what_is_believed_of_a_pair_that_is_always_won(language):
    """One pair, always won: DPO goes on for ever, conservative DPO to log((1 − ε)/ε)."""
    sides = torch.tensor([5, 9])
    rows = {
        "reference_logprob": language.reference[sides],
        "weight": torch.ones(1),
        "margin": torch.zeros(1),
        "length": torch.tensor([3, 3]),
    }

    def slope(difference, **settings):
        """Return how the loss changes with Δ where it is ``difference``."""
        moved = torch.tensor([difference, 0.0], dtype=torch.float64, requires_grad=True)
        loss, _ = DirectPreference(BETA, **settings)(moved + language.reference[sides], rows)
        loss.backward()
        return moved.grad[0].item()

    bound = float(np.log((1 - NOISE) / NOISE)) / BETA
    assert slope(bound, label_smoothing=NOISE) == pytest.approx(0, abs=1e-12)
    enough = 3 / (2 * BETA)  # of three tokens
    assert slope(enough, loss="ipo") == pytest.approx(0, abs=1e-12)
    assert slope(2 * enough, loss="ipo") > 0.1
    for far in (bound, enough, 10 * enough):
        assert slope(far) < 0
        assert slope(far, loss="robust", label_smoothing=NOISE) < slope(far)


def test_identity_preference_has_its_known_minimum(language):
    """Where preferences are linear, P = ½ + (s − s')/2, it is Δ = 3 (s − s') / (2β), 3 tokens."""
    score = (language.outcome - language.outcome.min()) / (2.5 * np.ptp(language.outcome.numpy()))
    gap = score[FIRST] - score[SECOND]
    sides, rows = pairs_in_expectation(language, 0.5 + gap / 2)
    exact = 3 * gap / (2 * BETA)
    found = {}
    for loss in ("ipo", "sigmoid"):
        logprob, _ = minimise(DirectPreference(BETA, loss=loss), rows, sides, language.reference)
        found[loss] = (differences(logprob, language) - exact).abs().max().item()
    assert found["ipo"] < 1e-4
    assert found["sigmoid"] > 0.1


@pytest.mark.parametrize("loss", ["ipo", "robust"])
def test_the_gradient_is_that_of_the_finite_sum(language, loss):
    preference = torch.sigmoid(language.outcome[FIRST] - language.outcome[SECOND])
    sides, rows = pairs_in_expectation(language, preference)
    noise = NOISE if loss == "robust" else 0.0
    objective = DirectPreference(BETA, loss=loss, label_smoothing=noise)
    value, _ = objective(language.logprob()[sides], rows)
    difference = differences(language.logprob(), language)
    won, lost = (-torch.nn.functional.logsigmoid(s * BETA * difference) for s in (1, -1))
    if loss == "robust":
        of_chosen, of_rejected = (
            ((1 - NOISE) * a - NOISE * b) / (1 - 2 * NOISE) for a, b in ((won, lost), (lost, won))
        )
    else:
        of_chosen, of_rejected = ((s * difference / 3 - 1 / (2 * BETA)) ** 2 for s in (1, -1))
    exact = (preference * of_chosen + (1 - preference) * of_rejected).mean()
    assert value.item() == pytest.approx(exact.item(), abs=1e-9)
    ours, theirs = language.gradient(value), language.gradient(exact)
    assert ours.abs().max() > 1e-3
    assert torch.allclose(ours, theirs, atol=1e-9)


# Clicks on 64 sentences in two seasons: the better ones are sent when nobody reads.

SEASON = 0.4


@pytest.fixture
def clicks(language):
    """Every (sentence, season, click) with its probability; the better half by rank (64,)."""
    rank = language.outcome.argsort().argsort().double() / 63
    sentence, season, click = torch.cartesian_prod(*map(torch.arange, (64, 2, 2))).T
    rate = (0.1 + 0.2 * rank)[sentence] + SEASON * season
    often = (0.9 - 0.8 * rank)[sentence]
    share = (
        torch.where(season == 1, often, 1 - often) * torch.where(click == 1, rate, 1 - rate) / 64
    )
    return sentence, season.numpy(), click.numpy(), share.numpy(), rank > 0.5


def prospects(outcome, share, *, by_distance=True):
    distance = distance_from_threshold(outcome, share, None)
    weight = share * (np.abs(distance) if by_distance else 1.0)
    columns = {"weight": weight / weight.mean(), "desirable": distance > 0}
    return {name: torch.from_numpy(value) for name, value in columns.items()}


def learn(language, sentence, rows):
    """Return log π/π_ref (64,) after some steps from the reference."""
    logits = language.reference.clone().requires_grad_()
    optimiser = torch.optim.Adam([logits], lr=0.05)
    rows = rows | {"reference_logprob": language.reference[sentence]}
    for _ in range(100):
        ratio = logits.log_softmax(0) - language.reference
        divergence = ratio.detach().mean().clamp(min=0)[None]
        optimiser.zero_grad()
        objective = KahnemanTversky(beta=1.0)
        loss, _ = objective(logits.log_softmax(0)[sentence], rows | {"divergence": divergence})
        loss.backward()
        optimiser.step()
    return (logits.detach().log_softmax(0) - language.reference).numpy()


def test_single_texts_teach_the_right_order_where_the_effect_of_the_season_is_taken_out(
    language, clicks
):
    sentence, season, click, share, better = clicks
    adjusted = click - SEASON * season
    right = learn(language, sentence, prospects(adjusted, share))
    assert right[better].min() > right[~better].max() + 1
    naive = learn(language, sentence, prospects(click, share))
    assert naive[better].mean() < naive[~better].mean() - 1
    # A click is a click in every season: signs alone undo what was adjusted.
    signs = learn(language, sentence, prospects(adjusted, share, by_distance=False))
    assert signs[better].mean() < signs[~better].mean()


def test_the_loss_of_prospects_is_the_finite_sum(language, clicks):
    """Σ_t [a (1 − σ(r)) + b σ(r)], a and b the mean distances above and below the threshold."""
    sentence, season, click, share, _ = clicks
    adjusted = click - SEASON * season
    rows = prospects(adjusted, share) | {"reference_logprob": language.reference[sentence]}
    z = torch.tensor([0.3], dtype=torch.float64)
    loss, metrics = KahnemanTversky(beta=BETA)(
        language.logprob()[sentence], rows | {"divergence": z}
    )
    distance = adjusted - share @ adjusted
    above, below = (np.bincount(sentence, share * np.maximum(s * distance, 0)) for s in (1, -1))
    assert above.sum() == pytest.approx(below.sum())  # at the mean both kinds balance
    ratio = language.logprob() - language.reference
    reached = torch.sigmoid(BETA * (ratio - z))
    a, b = (torch.from_numpy(x / (above.sum() + below.sum())) for x in (above, below))
    exact = (a * (1 - reached) + b * reached).sum()
    assert loss.item() == pytest.approx(exact.item(), abs=1e-12)
    assert torch.allclose(language.gradient(loss), language.gradient(exact), atol=1e-12)
    difference = (2 * (a - b) * BETA * (language.logprob() - language.reference)).sum().item()
    assert metrics["reward_difference"] == pytest.approx(difference)
    assert metrics["divergence"] == 0.3


def test_what_texts_cost_is_taken_off_what_they_win(language):
    """Winners tell the outcome alone; the minimum is β Δ = gap − the difference of costs."""
    gap = language.outcome[FIRST] - language.outcome[SECOND]
    sides, rows = pairs_in_expectation(language, torch.sigmoid(gap))
    cost = (37 * torch.arange(64) % 64).double() / 32 - 1
    words = [f"sentence {row}" for row in sides.tolist()]
    pairs = Pairs(words[0::2], words[1::2], *np.ones((2, len(words) // 2)), np.arange(4032))
    priced = pairs.with_costs(lambda texts, _: [float(cost[int(t.split()[1])]) for t in texts])
    exact = gap - (cost[FIRST] - cost[SECOND])
    reached = {}
    for name, margin in (("priced", -torch.from_numpy(priced.cost)), ("naive", rows["margin"])):
        objective = DirectPreference(BETA, margin_scale=1.0)
        logprob, _ = minimise(objective, rows | {"margin": margin}, sides, language.reference)
        reached[name] = (BETA * differences(logprob, language) - exact).abs().max().item()
    assert reached["priced"] < 1e-3
    assert reached["naive"] > 0.5
