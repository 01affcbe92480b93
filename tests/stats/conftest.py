"""Simulated tests: arms with known sampling variances, their groups, and the true slope."""

import numpy as np
import pytest


@pytest.fixture
def tests_of():
    def make(groups=60, arms=4, d=6, between=0.05, seed=0, b=None):
        rng = np.random.default_rng(seed)
        group = np.repeat(np.arange(groups), arms)
        X = rng.normal(size=(len(group), d))
        b = rng.normal(size=d) * 0.2 if b is None else b
        v = rng.uniform(0.01, 0.2, size=len(group))
        noise = rng.normal(size=len(group)) * np.sqrt(v + between)
        return X, rng.normal(size=groups)[group] + X @ b + noise, v, group, b

    return make
