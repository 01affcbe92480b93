"""Slope and bias of predictions: against the likelihood of contrasts, and known truths."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from causalign.errors import NotIdentified
from causalign.stats.predictive_bias import fit_bias


def simulate(groups, slope, omega, seed=0, arms=3):
    """Return predictions, outcomes, sampling variances and groups; ω is of a difference."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), arms)
    p, v = rng.normal(size=len(group)), rng.uniform(0.01, 0.2, size=len(group))
    bias = rng.normal(size=len(group)) * omega / np.sqrt(2)
    noise = rng.normal(size=len(group)) * np.sqrt(v)
    return p, rng.normal(size=groups)[group] + slope * p + bias + noise, v, group


def test_it_maximises_the_likelihood_of_what_no_level_and_no_slope_moves():
    p, z, v, group = simulate(40, 0.6, 0.5)
    D = np.column_stack([group[:, None] == np.unique(group), p])
    contrasts = np.linalg.svd(D.T)[2][D.shape[1] :]

    def deviance(root):
        cov = contrasts @ np.diag(v + root[0] ** 2) @ contrasts.T
        return -multivariate_normal.logpdf(contrasts @ z, cov=cov)

    best = minimize(deviance, [0.3], method="Nelder-Mead").x[0]
    bias = fit_bias(p, z, v, group)
    assert bias.variance == pytest.approx(2 * best**2, rel=1e-3)
    W = np.diag(1 / (v + best**2))
    inverse = np.linalg.inv(D.T @ W @ D)  # weighted least squares with a dummy for each group
    assert bias.slope == pytest.approx((inverse @ D.T @ W @ z)[-1], rel=1e-3)
    assert bias.standard_error == pytest.approx(np.sqrt(inverse[-1, -1]), rel=1e-3)


def test_it_finds_the_truth_and_its_intervals_cover_new_differences():
    bias = fit_bias(*simulate(2000, 0.6, 0.5))
    assert bias.slope == pytest.approx(0.6, abs=0.02)
    assert np.sqrt(bias.variance) == pytest.approx(0.5, abs=0.03)
    p, z, v, _ = simulate(3000, 0.6, 0.5, seed=1, arms=2)
    d, e, s = p[::2] - p[1::2], z[::2] - z[1::2], v[::2] + v[1::2]
    lower, upper = bias.interval(d, s).T
    # Both arms of a pair have the same level, which the difference does not see.
    assert np.mean((lower < e) & (e < upper)) == pytest.approx(0.95, abs=0.012)
    assert np.mean(np.abs(e - d) < 1.96 * np.sqrt(s)) < 0.75


def test_without_bias_it_is_zero_and_without_variances_it_holds_the_noise():
    p, z, v, group = simulate(500, 1.0, 0.0)
    assert fit_bias(p, z, v, group).variance < 0.01
    alone = fit_bias(p, z, np.zeros(len(z)), group)
    assert alone.variance == pytest.approx(2 * v.mean(), rel=0.1)


def test_what_was_not_compared_is_refused():
    p, z, v, group = simulate(5, 1.0, 0.0)
    with pytest.raises(NotIdentified):
        fit_bias(p, z, v, np.arange(len(z)))
    with pytest.raises(NotIdentified):
        fit_bias(np.ones(len(z)), z, v, group)
