"""Clustered intervals hold the truth where robust ones do not; those of categories hold too."""

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from causalign.deconfound import Additive
from causalign.logs import Logs
from causalign.logs.roles import Roles

DRAWS = 200
# Where 200 draws at 95% fall with probability 0.999.
BAND = stats.binom.interval(0.999, DRAWS, 0.95)
TRUTH = 0.5


def logs_of(rng, n=300, authors=None):
    """Return logs in which the text moves outcome and confounder: naive estimates are wrong."""
    text, z = rng.normal(size=n), rng.normal(size=n)
    week = rng.integers(0, 10, n)
    price = z + 0.6 * text + 0.2 * week + rng.normal(size=n)
    noise = rng.normal(size=n) * (0.5 + np.abs(z))
    if authors is not None:
        author = np.arange(n) % authors
        price += rng.normal(size=authors)[author]
        noise += rng.normal(size=authors)[author]
    y = TRUTH * price + text + np.cos(week) + noise
    columns = {"y": y, "price": price, "week": week, "x": text, "z": z}
    columns["author"] = np.arange(n) if authors is None else author
    return pa.table({"text": ["t"] * n, **columns})


def covered(method, roles, **sample):
    """Count the draws in which the 95% interval of the price holds the truth."""
    hits = 0
    for seed in range(DRAWS):
        logs = Logs.of(logs_of(np.random.default_rng(seed), **sample), roles)
        rows = method.fit(logs).table().to_pylist()
        price = next(row for row in rows if row["name"] == "price")
        hits += price["lower"] <= TRUTH <= price["upper"]
    return hits


def roles(**more):
    return Roles("text", "y", confounders=("price", "week"), categorical=("week",), **more)


@pytest.mark.slow
def test_clustered_errors_cover_and_robust_ones_do_not():
    declared = roles(features=("x",), cluster="author")
    sample = {"authors": 50, "n": 400}
    assert BAND[0] <= covered(Additive(), declared, **sample) <= BAND[1]
    assert covered(Additive(covariance="robust"), declared, **sample) < BAND[0]


@pytest.mark.slow
def test_categories_are_covered_too():
    """Intervals of the weeks hold too, and no less often, on average, once they are shrunk."""
    plain, shrunk = 0, 0
    weeks = 10
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        effects = 0.4 * rng.normal(size=weeks)
        week = rng.integers(0, weeks, 200)
        text = rng.normal(size=200) + effects[week]
        y = effects[week] + text + rng.normal(size=200)
        data = pa.table({"text": ["t"] * 200, "y": y, "week": week, "x": text})
        declared = Roles("text", "y", confounders=("week",), features=("x",), categorical=("week",))
        truth = effects - effects[week].mean()
        for shrink in (False, True):
            rows = Additive(shrink=shrink).fit(Logs.of(data, declared)).table().to_pylist()
            hits = sum(
                row["lower"] <= truth[int(row["name"][5:-1])] <= row["upper"] for row in rows
            )
            plain, shrunk = (plain, shrunk + hits) if shrink else (plain + hits, shrunk)
    assert plain / (DRAWS * weeks) == pytest.approx(0.95, abs=0.02)
    assert plain <= shrunk
