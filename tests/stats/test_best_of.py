"""The law of best of n by counting, and the winner's curse where the truth is known."""

import itertools

import numpy as np
import pytest

from causalign.stats.best_of import (
    Valuation,
    best_of_law,
    choose_best,
    divergence,
    divergence_bound,
    trade_off,
    worth_of_choice,
)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_the_law_is_that_of_all_draws_counted(n):
    p = np.array([0.1, 0.3, 0.2, 0.4])
    score = np.array([1.0, 2.0, 2.0, -np.inf])
    counted = np.zeros(4)
    for draws in itertools.product(range(4), repeat=n):
        best = max(draws, key=lambda text: score[text])  # the first of those that tie
        if score[best] > -np.inf:
            counted[best] += np.prod(p[list(draws)])
    law = best_of_law(p, score, n)
    np.testing.assert_allclose(law, counted, atol=1e-15)
    assert law.sum() == pytest.approx(1 - 0.4**n)


def test_divergence_reaches_its_bound_as_texts_become_rare_and_falls_short_with_ties():
    k, n = 20_000, 16
    law = best_of_law(np.full(k, 1 / k), np.arange(k), n)
    assert divergence(law, np.full(k, 1 / k)) == pytest.approx(divergence_bound(n), rel=1e-3)
    assert divergence_bound(1) == 0
    tied = best_of_law(np.full(k, 1 / k), np.arange(k) // 5_000, n)
    assert divergence(tied, np.full(k, 1 / k)) < 0.8 * divergence_bound(n)


def test_the_first_of_those_that_tie_is_chosen():
    chosen = choose_best([1.0, 3.0, 3.0, 5.0, 5.0, 4.0], [0, 0, 0, 1, 1, 1])
    assert chosen.tolist() == [1, 3]


def test_worth_by_hand():
    group = np.array([0, 0, 1, 1])
    first = Valuation(np.array([1.0, 2, 3, 4]), np.array([1.0, 2, 3, 4]))
    second = Valuation(np.array([2.0, 1, 1, 5]), np.array([2.0, 1, 1, 5]))
    chosen, gain = worth_of_choice(
        group, first, [Valuation(first.score, second.reward), Valuation(second.score, first.reward)]
    )
    # The first chooses 1 and 3, which the second values 1 and 5; the second 0 and 3: 1 and 4.
    assert (chosen.naive, chosen.estimate) == (3.0, 2.75)
    assert (gain.naive, gain.estimate) == (0.5, 0.375)
    # Gains by prompt: (1 - 1.5, 5 - 3) and (1 - 1.5, 4 - 3.5), on average -0.5 and 1.25.
    assert gain.stderr == pytest.approx(np.std([-0.5, 1.25], ddof=1) / np.sqrt(2))


def draw(random, rows, weak):
    """Return rewards of 40 × 16 candidates by a log and by its halves, with the truth."""
    d, noise = 12, 3.0
    b = random.normal(size=d) * (0.0 if weak else 0.5)
    X, Z = random.normal(size=(rows, d)), random.normal(size=(40 * 16, d))
    y = X @ b + noise * random.normal(size=rows)

    def fit(some):
        A = X[some].T @ X[some]
        L = np.linalg.cholesky(np.linalg.inv(A)) * noise
        reward = Z @ np.linalg.solve(A, X[some].T @ y[some])
        return Valuation(reward, reward, Z @ L)

    half = np.arange(rows) % 2 == 0
    first, second = fit(half), fit(~half)
    ways = [
        Valuation(chooser.score, judge.reward, judge.factor)
        for chooser, judge in ((first, second), (second, first))
    ]
    return fit(np.ones(rows, bool)), ways, Z @ b


@pytest.mark.parametrize("weak", [False, True])
def test_the_curse_is_taken_away_and_the_interval_covers(weak):
    random, group = np.random.default_rng(7), np.repeat(np.arange(40), 16)
    naive, corrected, of_halves, covered = [], [], [], 0
    for _ in range(400):
        whole, halves, truth = draw(random, 150, weak)
        gains = [
            truth[choose_best(chooser.score, group)].mean() - truth.mean()
            for chooser in (whole, *halves)
        ]
        of_choice = worth_of_choice(group, whole, halves)[1]
        naive.append(of_choice.naive - gains[0])
        corrected.append(of_choice.estimate - gains[0])
        of_halves.append(of_choice.estimate - np.mean(gains[1:]))
        covered += of_choice.lower <= gains[0] <= of_choice.upper
    error = np.std(of_halves) / np.sqrt(400)
    assert np.mean(naive) > 0.5
    # Without bias for what halves choose, which is a little worse than what the whole log does.
    assert abs(np.mean(of_halves)) < 3 * error
    assert -0.4 < np.mean(corrected) < 3 * error
    assert covered / 400 > 0.93


def test_the_frontier_falls_from_the_free_choice_to_the_cheapest():
    draw = np.random.default_rng(0)
    cost, group = draw.normal(size=160), np.repeat(np.arange(20), 8)
    reward = cost + draw.normal(size=160)
    edge = trade_off(reward, reward, cost, group)
    free = [reward[group == g].argmax() for g in range(20)]
    assert edge.reward[0] == pytest.approx(np.mean([reward[group == g].max() for g in range(20)]))
    assert edge.cost[0] == pytest.approx(np.mean([cost[group == g][i] for g, i in enumerate(free)]))
    cheapest = np.mean([cost[group == g].min() for g in range(20)])
    assert edge.cost[-1] == pytest.approx(cheapest, abs=0.02)
    assert (np.diff(edge.cost) <= 1e-12).all()
    assert (np.diff(edge.reward) <= 1e-12).all()
