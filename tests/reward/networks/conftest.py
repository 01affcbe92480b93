"""Data whose truth is known, on which networks are fitted."""

import numpy as np
import pytest

ROWS, DIMENSION = 1200, 16


@pytest.fixture(scope="module")
def entangled():
    """The confounder travels with feature 0, which does nothing; feature 1 is what counts."""
    random = np.random.default_rng(0)
    X = random.normal(size=(ROWS, DIMENSION)) * 0.5 + 2
    confounder = 2 * (X[:, 0] - 2) + 0.5 * random.normal(size=ROWS)
    truth = X[:, 1] - 2
    outcome = 50 + 10 * (truth + 2 * confounder + 0.2 * random.normal(size=ROWS))
    return X, confounder, truth, outcome
