"""The evidence of tests about a log is a normal density; slopes and noise are told apart."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from causalign.stats.evidence import log_evidence
from causalign.stats.within_groups import deviate


def draw(seed, rows=60, tests=15, arms=3, width=5, sign=1.0):
    rng = np.random.default_rng(seed)
    b = rng.normal(size=width)
    X, Z = rng.normal(size=(rows, width)), rng.normal(size=(tests * arms, width))
    log = deviate(X, X @ (sign * b) + rng.normal(size=rows), np.zeros(rows))
    group = np.repeat(np.arange(tests), arms)
    return log, deviate(Z, Z @ b + rng.normal(size=len(Z)), group)


@pytest.mark.parametrize("width", [5, 300])
def test_it_is_the_density_of_a_multivariate_normal(width):
    log, tests = draw(0, width=width)
    grid = {"shares": (0, 0.25, 1), "penalties": (0.5, 3), "slopes": (0.5, 1), "noises": (1, 2)}
    density = log_evidence(tests, log, **grid)
    # Deviations live where they sum to 0 in each test: compare in coordinates of that space.
    values, basis = np.linalg.eigh(np.eye(45) - np.kron(np.eye(15), np.full((3, 3), 1 / 3)))
    inside = basis[:, values > 0.5]
    X, z = inside.T @ tests.features, inside.T @ tests.outcome
    gram, cross = log.products()
    exact = np.empty_like(density)
    for r, share in enumerate(grid["shares"]):
        for p, penalty in enumerate(grid["penalties"]):
            V = np.linalg.inv(share * gram + penalty * np.eye(width))
            for s, slope in enumerate(grid["slopes"]):
                for n, noise in enumerate(grid["noises"]):
                    law = multivariate_normal(
                        slope * X @ V @ (share * cross), X @ V @ X.T + noise * np.eye(len(z))
                    )
                    exact[r, p, s, n] = law.logpdf(z)
    assert np.allclose(density - density[0, 0, 0, 0], exact - exact[0, 0, 0, 0], atol=1e-7)


def test_tests_tell_a_log_that_misleads_from_one_that_is_right():
    for sign, best in ((1.0, 1), (-1.0, 0)):
        log, tests = draw(1, sign=sign)
        density = log_evidence(tests, log, shares=(0, 1), penalties=(0.1, 1, 10))
        assert density.max(axis=(1, 2, 3)).argmax() == best
        assert abs(np.diff(density.max(axis=(1, 2, 3)))[0]) > 3


def test_a_log_that_exaggerates_has_the_slope_that_shrinks_it():
    log, tests = draw(2, rows=500, tests=200)
    double = deviate(log.features, 2 * log.outcome, np.zeros(500))
    density = log_evidence(tests, double, shares=(1,), penalties=(1,), slopes=(0.25, 0.5, 1, 2))
    assert density[0, 0, :, 0].argmax() == 1
