"""Effects that few rows carry: how many are counted right by every method, and what is said."""

import numpy as np
import pandas as pd
import pytest

from causalign import Logs, Roles, deconfound
from causalign.deconfound import (
    Additive,
    OrdinaryLeastSquares,
    TwoStageLeastSquares,
)
from causalign.logs import scan_logs
from causalign.results import Verdict

REGRESSIONS = [
    method
    for method in deconfound.METHODS.values()
    if getattr(method(), "covariance", None) and not hasattr(method(), "landmarks")
]


def frame(treated=4, rows=600, seed=0):
    rng = np.random.default_rng(seed)
    flag = np.zeros(rows, bool)
    flag[rng.choice(rows, treated, replace=False)] = True
    a, b = rng.normal(size=(2, rows))
    return pd.DataFrame(
        {
            "text": [f"t{i}" for i in range(rows)],
            "y": a + flag + rng.normal(size=rows),
            "flag": flag,
            "told": flag,
            "a": a,
            "b": b,
            "w": rng.uniform(0.5, 2, rows),
        }
    )


def fit(method, data, **more):
    declared = {"confounders": "flag", "features": ("a", "b")} | more
    if "instruments" in method.needs:
        declared["instruments"] = "told"
    return method.fit(Logs.of(data, Roles("text", "y", **declared)))


def finding(effect):
    return next(f for f in effect.findings if f.code == "DE104")


@pytest.mark.parametrize("method", REGRESSIONS)
def test_every_regression_says_that_four_rows_carry_the_effect(method):
    effect = fit(method(), frame())
    assert effect.carried[0] == pytest.approx(4, abs=0.3)
    assert finding(effect).verdict is Verdict.WARN
    assert "flag (4" in finding(effect).explanation
    row = effect.table().to_pylist()[0]
    assert row["upper"] - row["estimate"] > 3.5 * row["stderr"]
    enough = fit(method(), frame(treated=200))
    assert finding(enough).verdict is Verdict.PASS


def brute_force(columns, shown, weights, clusters):
    """Move each outcome by one and refit: the pull of the rows, and what it rests on."""
    root = np.sqrt(weights)[:, None]
    pull = (shown @ np.linalg.pinv(columns * root)).T * root
    squares = pull**2
    if clusters is not None:
        squares = np.array([squares[clusters == c].sum(axis=0) for c in np.unique(clusters)])
    return squares.sum(axis=0) ** 2 / (squares**2).sum(axis=0)


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("method", [OrdinaryLeastSquares(), Additive()])
def test_categories_and_slopes_rest_on_what_moving_each_outcome_says(method, weighted, clustered):
    rng = np.random.default_rng(3)
    data = frame(rows=120).assign(
        week=lambda d: rng.choice(list("uvw"), len(d), p=[0.8, 0.15, 0.05]),
        price=lambda d: d.a + rng.exponential(size=len(d)),
        shop=lambda d: rng.integers(0, 30, len(d)),
    )
    more = {"confounders": ("week", "price")}
    more |= {"weight": "w"} if weighted else {}
    more |= {"cluster": "shop"} if clustered else {}
    effect = fit(method, data, **more)
    weights = data.w.to_numpy() if weighted else np.ones(len(data))
    week = np.column_stack([data.week == level for level in "uvw"]).astype(float)
    text = data[["a", "b"]].to_numpy() if method.reads_text else np.zeros((len(data), 0))
    columns = np.column_stack([week, data.price, text])
    shares = weights @ week / weights.sum()
    shown = np.zeros((4, columns.shape[1]))
    shown[:3, :3], shown[3, 3] = np.eye(3) - shares, 1.0
    clusters = data.shop.to_numpy() if clustered else None
    order = [effect.names.index(n) for n in ("week[u]", "week[v]", "week[w]", "price")]
    np.testing.assert_allclose(
        effect.carried[order], brute_force(columns, shown, weights, clusters), rtol=1e-8
    )


def test_an_instrumented_effect_rests_on_the_rows_that_the_instrument_moves():
    rng = np.random.default_rng(0)
    z = np.zeros(400)
    z[:5] = 10.0
    price = z + rng.normal(size=400)
    data = pd.DataFrame(
        {"text": [f"t{i}" for i in range(400)], "y": price + rng.normal(size=400)}
    ).assign(price=price, z=z)
    roles = Roles("text", "y", confounders="price", instruments="z")
    effect = TwoStageLeastSquares().fit(Logs.of(data, roles))
    # The rows of the instrument share it evenly: (1/5 + 1/395)^2 / (1/5^3 + 1/395^3).
    assert effect.carried[0] == pytest.approx((1 / 5 + 1 / 395) ** 2 / (1 / 125 + 1 / 395**3))
    assert finding(effect).verdict is Verdict.WARN
    naive = OrdinaryLeastSquares().fit(Logs.of(data, Roles("text", "y", confounders="price")))
    assert naive.carried[0] > effect.carried[0]


def test_one_row_gives_no_end_to_the_interval_and_the_card_is_drawn():
    effect = fit(OrdinaryLeastSquares(), frame(treated=1))
    row = effect.table().to_pylist()[0]
    assert (row["lower"], row["upper"]) == (-np.inf, np.inf)
    assert "no interval" in finding(effect).explanation
    assert effect.drawing().figure()
    assert "inf" in effect.summary()


def test_penalised_and_many_categories_are_counted_too():
    rng = np.random.default_rng(0)
    data = frame(rows=4000).assign(week=lambda d: rng.integers(0, 1300, len(d)).astype(str))
    effect = fit(Additive(penalty=0.1), data, confounders=("week", "flag"))
    at = effect.names.index("flag")
    assert np.isnan(np.delete(effect.carried, at)).all()
    # The rows of the same weeks share in it a little.
    assert 4 < effect.carried[at] < 9
    assert finding(effect).numbers["effect"] == "flag"


def test_the_largest_effect_is_not_one_that_two_equal_rows_make():
    """Two rows of nearly one outcome have hardly any standard error, and say hardly anything."""
    data = frame(treated=200)
    odd = pd.DataFrame({"text": ["u", "v"], "y": [0.9, 0.9001], "a": 0.0, "b": 0.0, "w": 1.0})
    odd["week"], odd["flag"] = "odd", False
    both = pd.concat([data.assign(week="even"), odd])
    effect = fit(OrdinaryLeastSquares(), both, confounders=("flag", "week"))
    errors = dict(zip(effect.names, effect.estimates / effect.standard_errors, strict=True))
    assert errors["week[odd]"] > errors["flag"]
    assert "Largest effect on y: flag" in effect.answer()


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("confounders", [("week", "price"), ("week", "day"), "week"])
def test_absorbed_categories_rest_on_the_rows_that_indicators_say(
    confounders, clustered, monkeypatch
):
    """Beyond so many indicators categories are absorbed; what carries an effect stays the same."""
    rng = np.random.default_rng(5)
    data = frame(rows=300).assign(
        week=lambda d: rng.integers(0, 12, len(d)).astype(str),
        day=lambda d: rng.choice(list("mtwf"), len(d)),
        price=lambda d: d.a + rng.exponential(size=len(d)),
        shop=lambda d: rng.integers(0, 30, len(d)),
    )
    more = {"confounders": confounders, "weight": "w"} | ({"cluster": "shop"} if clustered else {})
    wide = fit(OrdinaryLeastSquares(), data, **more)
    monkeypatch.setattr("causalign.deconfound.ordinary.MOST_INDICATORS", 100)
    absorbed = fit(OrdinaryLeastSquares(), data, **more)
    assert absorbed.names == wide.names
    np.testing.assert_allclose(absorbed.carried, wide.carried, rtol=1e-8)
    # In many pieces it is the same.
    monkeypatch.setattr("causalign.deconfound.levels.BLOCK", 1000)
    pieces = fit(OrdinaryLeastSquares(), data, **more)
    np.testing.assert_allclose(pieces.carried, absorbed.carried, rtol=1e-12)
    # Of more levels than covariances are computed, those of few levels and slopes are counted.
    monkeypatch.setattr("causalign.deconfound.levels.MOST_LEVELS", 10)
    monkeypatch.setattr("causalign.deconfound.levels.FEW_LEVELS", 5)
    few = fit(OrdinaryLeastSquares(), data, **more)
    unknown = np.array([name.startswith("week") for name in few.names])
    assert (np.isnan(few.carried) == unknown).all()
    np.testing.assert_allclose(few.carried[~unknown], wide.carried[~unknown], rtol=1e-8)
    said = finding(few).verdict
    assert said is (Verdict.NOT_APPLICABLE if unknown.all() else Verdict.PASS)


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("copied", [False, True])
def test_blocks_of_rows_rest_on_what_all_rows_say(clustered, copied, tmp_path):
    """Of features that repeat each other, in 32 bits, only the directions count."""
    rng = np.random.default_rng(6)
    data = frame(treated=6).assign(
        week=lambda d: rng.choice(list("uvw"), len(d), p=[0.9, 0.08, 0.02]),
        shop=lambda d: rng.integers(0, 40, len(d)),
        c=lambda d: (d.a + d.b).astype(np.float32) if copied else d.b**2,
    )
    declared = {"confounders": ("flag", "week"), "features": ("a", "b", "c"), "weight": "w"}
    declared |= {"cluster": "shop"} if clustered else {}
    roles = Roles("text", "y", **declared)
    data.to_parquet(tmp_path / "log.parquet")
    streamed = Additive().fit(scan_logs(tmp_path / "log.parquet", roles, batch_rows=50))
    whole = Additive().fit(Logs.of(data, roles))
    order = [whole.names.index(name) for name in streamed.names]
    np.testing.assert_allclose(streamed.carried, whole.carried[order], rtol=1e-6)
    assert finding(streamed).verdict is Verdict.WARN
