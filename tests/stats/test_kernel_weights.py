"""Kernel weights by finite sums; which directions and bandwidths they need."""

import numpy as np
import pytest

from causalign.errors import InputError, NotIdentified, SettingsError
from causalign.stats.kernel_weights import (
    are_equidistant,
    choose_bandwidth,
    copies,
    kernel_value,
    principal_components,
)

X = np.array([[0.0], [0.0], [1.0]])
T = np.array([[0.0], [1.0], [1.0]])
Y = np.array([1.0, 3.0, 10.0])


def test_weights_and_value_are_the_finite_sums():
    k = np.exp(-0.5)  # one bandwidth apart
    own, cross = (
        np.array([2 + k, 2 + k, 1 + 2 * k]) / 3,
        np.array([1 + 2 * k, 1 + 2 * k, 2 + k]) / 3,
    )
    found = kernel_value(X, T, Y, 1.0)
    np.testing.assert_allclose(found.weights, cross / own)
    assert found.estimate == pytest.approx(cross / own @ Y / (cross / own).sum())
    # Far apart in bandwidths each text keeps its own mean: 2 and 10, a third and two thirds.
    assert kernel_value(X, T, Y, 0.01).estimate == pytest.approx(2 / 3 + 20 / 3)


def test_influences_are_those_of_rows_and_samples_but_for_leverage():
    """A row more of a text, or a sample more, moves the value as its influence says."""
    rng = np.random.default_rng(0)
    X, T, y = rng.normal(size=(300, 2)), 0.3 + rng.normal(size=(200, 2)), rng.normal(size=300)
    base = kernel_value(X, T, y, 0.8)
    for j in (0, 7):
        more = kernel_value(X, np.vstack([T, T[j : j + 1]]), y, 0.8)
        expected = (more.estimate - base.estimate) * 201
        # The influence of a sample sums to the value's own pull, which is zero.
        assert base.samples[j] - base.samples.mean() == pytest.approx(expected, abs=0.02)
    own = np.exp(-((X[:, None] - X[None]) ** 2).sum(-1) / (2 * 0.64)).mean(axis=1)
    for i in (0, 11):
        again = np.append(np.arange(300), i)
        more = kernel_value(X[again], T, y[again], 0.8)
        expected = (more.estimate - base.estimate) * 301
        raw = base.rows[i] * (1 - 1 / (300 * own[i]))
        assert raw == pytest.approx(expected, abs=0.1)


def test_texts_out_of_reach_are_refused():
    with pytest.raises(NotIdentified, match="No logged text lies within reach"):
        kernel_value(X, T + 1e6, Y, 0.1)
    with pytest.raises(SettingsError, match="bandwidth"):
        kernel_value(X, T, Y, 0.0)


def test_the_bandwidth_is_the_likeliest_of_left_out_vectors():
    rng = np.random.default_rng(0)
    X, T = rng.normal(size=(400, 1)), rng.normal(size=(400, 1))
    pooled = np.concatenate([X, T])
    median = np.median(np.abs(pooled - pooled.T)[~np.eye(800, dtype=bool)])
    found = choose_bandwidth(X, T)
    # Silverman's rule for a normal density, 1.06 n^(-1/5), and the grid of 11 multiples.
    assert found == pytest.approx(1.06 * 800**-0.2, rel=0.35)
    grid = np.geomspace(0.03, 1.0, 11) * median
    assert np.abs(np.log(grid / found)).min() < 0.01

    def likelihood(h):
        kernel = np.exp(-((pooled - pooled.T) ** 2) / (2 * h * h))
        np.fill_diagonal(kernel, 0.0)
        return np.log(kernel.sum(axis=1)).mean() - np.log(h)

    assert likelihood(found) == pytest.approx(max(map(likelihood, grid)), abs=1e-3)
    with pytest.raises(InputError, match="All vectors are the same"):
        choose_bandwidth(np.ones((5, 2)), np.ones((5, 2)))


def test_principal_components_hold_what_varies_most_in_both():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 3)) * [1.0, 10.0, 0.1]
    T = rng.normal(size=(50, 3)) * [30.0, 10.0, 0.1]  # few samples count as much as many rows
    first, second = principal_components(X, T, 2)
    assert first.shape == (500, 2)
    correlation = np.abs(np.corrcoef(first.T, X.T)[:2, 2:])
    assert correlation[0, 0] > 0.8
    assert correlation[1, 1] > 0.99
    assert np.concatenate([first, second]).mean(axis=0) == pytest.approx(0, abs=1e-9)
    assert principal_components(X, T, 3)[0] is not None
    with pytest.raises(SettingsError, match="components"):
        principal_components(X, T, 0)


def test_copies_and_names():
    assert copies(X) == pytest.approx(1.5)
    names = np.eye(6)
    assert are_equidistant(names)
    assert are_equidistant(np.vstack([names, names]) * 7.0)
    assert not are_equidistant(np.vstack([names, 0.5 * names]))
    assert not are_equidistant(np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 3**0.5 / 2]]))  # only 3
    assert not are_equidistant(np.random.default_rng(0).normal(size=(2000, 4)))


def test_a_row_with_few_neighbours_counts_for_more_but_at_most_twice():
    """Far apart, a row's leverage is 1 over its copies: 1/2 and 1/4 make it count 2 and 4/3."""
    X = np.array([0.0, 0.0, 10.0, 10.0, 10.0, 10.0, 20.0])[:, None]
    T = np.array([0.0, 10.0, 20.0])[:, None]
    y = np.array([1.0, 3.0, 0.0, 1.0, 2.0, 3.0, 5.0])
    found = kernel_value(X, T, y, 0.1)
    copies = np.array([2, 2, 4, 4, 4, 4, 1])
    own = np.array([2, 2, 1.5, 1.5, 1.5, 1.5, 5])
    raw = 7 * (y - own) / (3 * copies)  # a third of the target on each text, shared by its rows
    expected = raw / (1 - np.minimum(1 / copies, 0.5))
    np.testing.assert_allclose(found.rows, expected, atol=1e-12)
