"""Choice of comparisons against direct sums, Monte Carlo, refits, and another library."""

from itertools import combinations

import numpy as np
import pytest
from statsmodels.stats.power import NormalIndPower

from causalign.errors import InputError
from causalign.stats.optimal_design import (
    choose_for_best,
    choose_groups,
    choose_informative,
    expected_best,
    improve_on_leader,
    learn,
    posterior_change,
    readers_for_power,
)

NOISE = 0.7
FEATURES = 4


@pytest.fixture
def problem():
    """Twelve texts in three groups, a posterior that is not diagonal, pairs within groups."""
    random = np.random.default_rng(3)
    X = random.normal(size=(12, FEATURES))
    root = random.normal(size=(FEATURES, FEATURES))
    group = np.repeat([0, 1, 2], 4)
    pairs = np.array([p for p in combinations(range(12), 2) if group[p[0]] == group[p[1]]])
    return X, root @ root.T, random.normal(size=12), group, pairs[:, 0], pairs[:, 1]


def factor_of(X, V):
    return X @ np.linalg.cholesky(V)


def refit(V, differences):
    """Return the covariance of the coefficients after comparisons, by inverting its inverse."""
    D = np.atleast_2d(differences)
    return np.linalg.inv(np.linalg.inv(V) + D.T @ D / NOISE)


def test_a_rank_one_update_is_a_refit(problem):
    X, V, *_ = problem
    F = factor_of(X, V)
    for pair in [(0, 3), (5, 2), (0, 3)]:
        change = posterior_change(F, pair, NOISE)
        V = refit(V, X[pair[0]] - X[pair[1]])
        after = learn(F, pair, NOISE)
        np.testing.assert_allclose(after @ after.T, X @ V @ X.T, atol=1e-10)
        np.testing.assert_allclose(F @ F.T - np.outer(change, change), after @ after.T, atol=1e-10)
        F = after


def test_equal_texts_teach_nothing(problem):
    X, V, *_ = problem
    F = factor_of(X, V)
    F[1] = F[0]
    np.testing.assert_array_equal(learn(F, (0, 1), NOISE), F)


def test_greedy_information_is_greedy_by_determinants(problem):
    X, V, _, _, i, j = problem
    chosen = choose_informative(factor_of(X, V), i, j, NOISE, 6)
    D = X[i] - X[j]

    def information(places):
        return 0.5 * np.linalg.slogdet(np.linalg.inv(V) + D[places].T @ D[places] / NOISE)[1]

    taken = []
    for place, gain in zip(chosen.place, chosen.gain, strict=True):
        left = [m for m in range(len(i)) if m not in taken]
        gains = [information([*taken, m]) - information(taken) for m in left]
        assert place == left[int(np.argmax(gains))]
        assert gain == pytest.approx(max(gains))
        taken.append(int(place))
    after = refit(V, D[taken])
    moved = chosen.changes @ chosen.changes.T
    np.testing.assert_allclose(X @ V @ X.T - moved, X @ after @ X.T, atol=1e-9)


def test_each_comparison_is_chosen_once_and_never_more_than_there_are(problem):
    X, V, mean, group, i, j = problem
    F = factor_of(X, V)
    for chosen in (
        choose_informative(F, i, j, NOISE, 99),
        choose_for_best(mean, F, i, j, NOISE, 99, group),
    ):
        assert sorted(chosen.place) == list(range(len(i)))


def test_the_knowledge_gradient_is_its_monte_carlo(problem):
    X, V, mean, group, i, j = problem
    F = factor_of(X, V)
    draws = np.random.default_rng(0).normal(size=400_000)
    values = expected_best(mean, F, i, j, NOISE, group)
    for place in range(0, len(i), 4):
        change = posterior_change(F, (i[place], j[place]), NOISE)
        gains = [
            (mean[one, None] + change[one, None] * draws).max(axis=0) - mean[one].max()
            for one in (group == g for g in range(3))
        ]
        gain = np.mean(gains, axis=0)
        assert values[place] == pytest.approx(gain.mean(), abs=4 * gain.std() / np.sqrt(len(draws)))


def test_the_knowledge_gradient_learns_by_the_bayes_rule(problem):
    """Simulate rewards and results, fit again by inverting, and take the best text by then."""
    X, V, mean, group, *_ = problem
    random, one = np.random.default_rng(1), group == 0
    value = expected_best(mean[one], factor_of(X[one], V), [0], [1], NOISE, np.zeros(4))[0]
    b = random.multivariate_normal(np.zeros(FEATURES), V, size=200_000)
    d = X[0] - X[1]
    result = b @ d + random.normal(scale=np.sqrt(NOISE), size=len(b))
    after = refit(V, d)
    best = (mean[one] + np.outer(result / NOISE, X[one] @ after @ d)).argmax(axis=1)
    earned = mean[one][best] + np.einsum("nd,nd->n", X[one][best], b)
    assert value == pytest.approx(earned.mean() - mean[one].max(), abs=5 * earned.std() / 447)


def test_texts_that_tie_are_counted_once():
    """Two leaders with the same mean: E max(0, Z₁ - Z₂) = √(variance of the difference / 2π)."""
    F = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    value = expected_best(np.zeros(3), F, [0], [1], 1e-9, np.zeros(3))[0]
    assert value == pytest.approx(np.sqrt(2 / (2 * np.pi)))


def test_the_best_text_is_sought_where_it_is_in_doubt():
    """Of two groups one has a leader that nothing can overtake: its test is worth nothing."""
    F = np.eye(4)
    chosen = choose_for_best([50.0, 0, 0.1, 0], F, [0, 2], [1, 3], NOISE, 2, [0, 0, 1, 1])
    assert chosen.place.tolist() == [1, 0]
    assert chosen.gain[0] > 0.1
    assert chosen.gain[1] == 0


def test_no_test_of_a_text_and_the_leader_beats_knowing_both(problem):
    X, V, mean, group, *_ = problem
    F = factor_of(X, V)
    leader, most = improve_on_leader(mean, F, group)
    assert all(mean[leader] >= mean)
    assert (group[leader] == group).all()
    others = np.flatnonzero(leader != np.arange(12))
    for row in others:
        pair = [row, leader[row]]
        value = expected_best(mean[pair], F[pair], [0], [1], 1e-9, np.zeros(2))[0]
        assert most[row] == pytest.approx(value, rel=1e-6, abs=1e-12)


def test_whole_tests_are_ordered_by_determinants(problem):
    X, V, _, _, _, _ = problem
    random = np.random.default_rng(5)
    test = np.array([7, 7, 7, 2, 2, 9, 9, 9, 9, 4, 4, 4])
    w = random.uniform(0.5, 3, size=12)
    order, gains = choose_groups(factor_of(X, V), w, test, 4)

    def information(tests):
        total = np.linalg.inv(V)
        for one in tests:
            rows = test == one
            centred = X[rows] - np.average(X[rows], axis=0, weights=w[rows])
            total = total + centred.T @ (w[rows, None] * centred)
        return 0.5 * np.linalg.slogdet(total)[1]

    taken = []
    for one, gain in zip(order, gains, strict=True):
        left = [name for name in (2, 4, 7, 9) if name not in taken]
        each = [information([*taken, name]) - information(taken) for name in left]
        assert one == left[int(np.argmax(each))]
        assert gain == pytest.approx(max(each))
        taken.append(int(one))


def test_a_whole_test_of_two_arms_is_a_comparison(problem):
    X, V, *_ = problem
    F = factor_of(X, V)[:2]
    gain = choose_groups(F, [2 / NOISE, 2 / NOISE], [0, 0], 1)[1]
    assert gain[0] == pytest.approx(choose_informative(F, [0], [1], NOISE, 1).gain[0])


@pytest.mark.parametrize("difference", [0.05, -0.3])
def test_readers_for_power_are_those_of_statsmodels(difference):
    needed = readers_for_power(difference, 2.5, power=0.8)
    peer = NormalIndPower().solve_power(
        abs(difference) / np.sqrt(2.5), alpha=0.05, power=0.8, ratio=1
    )
    assert needed == pytest.approx(peer, abs=1.01)


def test_no_difference_needs_readers_without_end():
    assert np.isinf(readers_for_power(0.0, 1.0))


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="alike in number"):
        choose_informative(np.eye(3), [0, 1], [2], NOISE, 1)
    with pytest.raises(InputError, match="finite"):
        choose_informative(np.array([[np.nan], [0.0]]), [0], [1], NOISE, 1)
