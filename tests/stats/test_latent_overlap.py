"""Overlap of features by objective: none, some, all."""

import numpy as np
import pytest

from causalign.errors import InputError
from causalign.stats.latent_overlap import latent_overlap


def objectives(apart):
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 600)
    features = rng.normal(size=(600, 8))
    features[:, 0] += apart * label
    return features, np.array(["help", "harm"])[label]


def test_alike_apart_and_between():
    alike, some, apart = (latent_overlap(*objectives(a)) for a in (0.0, 1.5, 12.0))
    assert alike.overlap > 0.99
    assert alike.auc.max() < 0.6
    assert 0.5 < some.overlap < 1
    assert apart.overlap < 0.05
    assert apart.auc.min() > 0.99
    assert apart.objective == ("harm", "help")


def test_bad_input():
    with pytest.raises(InputError, match="at least two"):
        latent_overlap(np.ones((4, 2)), ["a"] * 4)
    with pytest.raises(InputError, match="finite"):
        latent_overlap(np.full((4, 2), np.nan), ["a", "b", "a", "b"])
