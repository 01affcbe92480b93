"""Intervals of double ML hold the truth as often as they say, where the naive ones do not."""

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from causalign.deconfound import (
    DoubleML,
    DoubleMLInstruments,
    OrdinaryLeastSquares,
    TwoStageLeastSquares,
)
from causalign.logs import Logs
from causalign.roles import Roles

TRUTH = 0.5
FEW, MANY = 200, 1000


def band(draws):
    """Return where the hits of a 95% interval fall with probability 0.999."""
    return stats.binom.interval(0.999, draws, 0.95)


def plain(rng, authors=None, n=1500):
    """Return logs, and features, of a text that moves price and outcome alike."""
    X = rng.normal(size=(n, 8))
    author = np.arange(n) % (authors or n)
    shock = rng.normal(size=(2, n)) if authors is None else rng.normal(size=(2, authors))[:, author]
    price = X[:, 0] + 0.5 * X[:, 1] + shock[0] + 0.5 * rng.normal(size=n)
    noise = shock[1] + rng.normal(size=n) * (0.5 + np.abs(price) / 2)
    table = {"text": author.astype(str), "y": TRUTH * price + 2 * X[:, 0] - X[:, 2] + noise}
    roles = Roles("text", "y", confounders=("price",), cluster=authors and "author")
    return Logs.of(pa.table(table | {"price": price, "author": author}), roles), X


def with_instrument(rng, n=1500):
    """Return logs whose instrument depends on the text, and a hidden cause of price and outcome."""
    X, hidden = rng.normal(size=(n, 8)), rng.normal(size=n)
    z = X[:, 0] + rng.normal(size=n)
    price = z + X[:, 1] + hidden + rng.normal(size=n)
    y = TRUTH * price + 2 * X[:, 0] + 2 * hidden + rng.normal(size=n)
    table = pa.table({"text": np.arange(n).astype(str), "y": y, "price": price, "z": z})
    return Logs.of(table, Roles("text", "y", confounders=("price",), instruments=("z",))), X


def covered(design, method, draws, **sample):
    """Count the draws in which the 95% interval of the price holds the truth."""
    hits = 0
    for seed in range(draws):
        logs, X = design(np.random.default_rng(seed), **sample)
        row = method.fit(logs, X).table().to_pylist()[0]
        hits += row["lower"] <= TRUTH <= row["upper"]
    return hits


CASES = {
    "double-ml": (plain, {}, DoubleML(), OrdinaryLeastSquares()),
    "clustered": (plain, {"authors": 300}, DoubleML(), DoubleML(covariance="robust")),
    "instruments": (with_instrument, {}, DoubleMLInstruments(), TwoStageLeastSquares()),
}


@pytest.mark.parametrize("case", CASES)
def test_covers_and_the_naive_estimator_does_not(case):
    design, sample, method, naive = CASES[case]
    low, high = band(FEW)
    assert low <= covered(design, method, FEW, **sample) <= high
    assert covered(design, naive, FEW, **sample) < low


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_covers_in_a_thousand_draws(case):
    design, sample, method, _ = CASES[case]
    share = covered(design, method, MANY, **sample) / MANY
    assert 0.936 <= share <= 0.964


@pytest.mark.slow
@pytest.mark.parametrize("case", ["double-ml", "instruments"])
def test_the_naive_estimator_covers_under_a_fifth(case):
    design, sample, _, naive = CASES[case]
    assert covered(design, naive, MANY, **sample) < 0.2 * MANY
