"""Clustered intervals hold the truth where robust ones do not; those of categories hold too."""

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from causalign.deconfound import (
    Additive,
    DoubleML,
    DoubleMLInstruments,
    OrdinaryLeastSquares,
    TwoStageLeastSquares,
)
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


def few_treated(rng, treated):
    """Return logs in which few rows have a flag, told to instruments too; the text adds ``x``."""
    n = 300
    flag, x = np.zeros(n), rng.normal(size=n)
    flag[rng.choice(n, treated, replace=False)] = 1.0
    y = TRUTH * flag + x + rng.normal(size=n)
    columns = {"y": y, "flag": flag, "told": flag, "x": x}
    return pa.table({"text": [f"t{i}" for i in range(n)], **columns})


def few_clusters(rng, clusters):
    """Return logs in which all rows of a week share a price and a shock."""
    week = np.repeat(np.arange(clusters), 20)
    price = rng.normal(size=clusters)[week]
    y = TRUTH * price + rng.normal(size=clusters)[week] + rng.normal(size=len(week))
    columns = {"y": y, "flag": price, "week": week}
    return pa.table({"text": [f"t{i}" for i in range(len(week))], **columns})


def covered_and_usual(method, draw, number, **declared):
    """Count draws whose interval holds the truth, and whose ``estimate ± 1.96 stderr`` does."""
    hits = usual = 0
    for seed in range(DRAWS):
        table = draw(np.random.default_rng(seed), number)
        logs = Logs.of(table, Roles("text", "y", confounders="flag", **declared))
        row = method.fit(logs).table().to_pylist()[0]
        hits += row["lower"] <= TRUTH <= row["upper"]
        usual += abs(row["estimate"] - TRUTH) <= 1.96 * row["stderr"]
    return hits, usual


@pytest.mark.slow
@pytest.mark.parametrize("treated", [3, 6])
@pytest.mark.parametrize(
    "method",
    [Additive(), DoubleML(), DoubleMLInstruments(), OrdinaryLeastSquares(), TwoStageLeastSquares()],
    ids=lambda m: m.name,
)
def test_effects_that_few_rows_carry_are_covered(method, treated):
    """Usual intervals hold the truth in 3 of 4 logs with 3 treated rows, and in 7 of 8 with 6."""
    declared = {"features": "x"}
    if "instruments" in method.needs:
        declared["instruments"] = "told"
    hits, usual = covered_and_usual(method, few_treated, treated, **declared)
    assert hits >= BAND[0]
    assert usual < BAND[0]


@pytest.mark.slow
@pytest.mark.parametrize("clusters", [6, 15])
def test_effects_that_few_clusters_carry_are_covered(clusters):
    method = OrdinaryLeastSquares()
    hits, usual = covered_and_usual(method, few_clusters, clusters, cluster="week")
    assert hits >= BAND[0]
    assert usual < BAND[0]
