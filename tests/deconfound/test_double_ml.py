"""Double ML: a known answer, folds that keep rows together, and what it refuses."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression

from causalign.deconfound import DoubleML, OrdinaryLeastSquares
from causalign.errors import InputError, NotIdentified, RoleNotDeclared, SettingsError
from causalign.logs import Logs
from causalign.logs.roles import Roles
from causalign.logs.stories import rows_together
from causalign.results import Verdict

SITES = {"a": 1.0, "b": 0.0, "c": -2.0}


def sample(n=1500, seed=0):
    """Return logs in which features of the text move price, site and outcome, and the features."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5))
    price = X @ [1, 0.5, 0, 0, -0.5] + rng.normal(size=n)
    site = np.array(list(SITES))[np.clip(np.round(X[:, 1] + rng.normal(size=n)), -1, 1).astype(int)]
    effect = 0.7 * price + np.array([SITES[s] for s in site])
    table = pa.table(
        {
            "text": [f"text {i}" for i in range(n)],
            "y": effect + X @ [2, -1, 1, 0, 0] + rng.normal(size=n),
            "price": price,
            "site": site,
            "author": rng.integers(0, 60, n),
            "weight": rng.uniform(0.5, 2, n),
        }
    )
    return table, X


def logs_of(table, **more):
    return Logs.of(table, Roles("text", "y", **({"confounders": ("price", "site")} | more)))


def finding(effect, code):
    return next(f for f in effect.findings if f.code == code)


@pytest.mark.parametrize("learner", [None, LinearRegression()])
@pytest.mark.parametrize("more", [{}, {"weight": "weight"}, {"cluster": "author"}])
def test_numeric_and_categorical_confounders_at_once(learner, more):
    table, X = sample()
    effect = DoubleML(learner).fit(logs_of(table, **more), text_features=X)
    assert effect.names == ("price", "site[a]", "site[b]", "site[c]")
    found = dict(zip(effect.names, effect.estimates, strict=True))
    assert found["price"] == pytest.approx(0.7, abs=0.08)
    assert found["site[a]"] - found["site[c]"] == pytest.approx(3.0, abs=0.3)
    assert finding(effect, "DE201").verdict is Verdict.PASS
    assert effect.settings["learner"] == ("ridge" if learner is None else "LinearRegression()")
    naive = OrdinaryLeastSquares().fit(logs_of(table))
    assert abs(naive.estimates[0] - 0.7) > 0.3


def test_a_forest_learns_what_ridge_cannot():
    rng = np.random.default_rng(1)
    n = 1500
    X = rng.normal(size=(n, 2))
    bend = np.abs(X[:, 0])
    price = 2 * bend + rng.normal(size=n)
    table = pa.table(
        {
            "text": [f"{i}" for i in range(n)],
            "y": price + 3 * bend + rng.normal(size=n),
            "price": price,
        }
    )
    given = logs_of(table, confounders=("price",))
    forest = RandomForestRegressor(50, min_samples_leaf=5, random_state=0)
    assert DoubleML(forest, folds=3).fit(given, text_features=X).estimates[0] == pytest.approx(
        1.0, abs=0.15
    )
    assert abs(DoubleML().fit(given, text_features=X).estimates[0] - 1.0) > 0.5


def test_features_of_the_role_are_used():
    table, X = sample(300)
    for j in range(5):
        table = table.append_column(f"x{j}", pa.array(X[:, j]))
    declared = logs_of(table, features=tuple(f"x{j}" for j in range(5)))
    by_role, by_array = DoubleML().fit(declared), DoubleML().fit(logs_of(table), text_features=X)
    np.testing.assert_allclose(by_role.estimates, by_array.estimates)


def test_units_of_the_features_do_not_matter():
    table, X = sample(300)
    scaled = DoubleML().fit(logs_of(table), text_features=X * [1, 1e4, 1, 1e-3, 1] + 5)
    np.testing.assert_allclose(
        scaled.estimates, DoubleML().fit(logs_of(table), text_features=X).estimates, rtol=1e-6
    )


def test_clusters_and_else_equal_texts_stay_together():
    table, _ = sample(100)
    assert len(np.unique(rows_together(logs_of(table, cluster="author")))) <= 60
    twice = table.set_column(0, "text", pa.array([f"{i // 2}" for i in range(100)]))
    assert len(np.unique(rows_together(logs_of(twice)))) == 50
    clustered = DoubleML(folds=3).fit(
        logs_of(table, cluster="author"), text_features=sample(100)[1]
    )
    robust = DoubleML(folds=3, covariance="robust").fit(
        logs_of(table, cluster="author"), text_features=sample(100)[1]
    )
    np.testing.assert_allclose(clustered.estimates, robust.estimates)
    assert not np.allclose(clustered.standard_errors, robust.standard_errors)


def test_a_confounder_that_the_text_all_but_determines():
    table, X = sample(300)
    price = table["price"].to_numpy()
    close = price[:, None] + 0.1 * np.random.default_rng(0).normal(size=(300, 1))
    effect = DoubleML().fit(logs_of(table), text_features=np.hstack([X, close]))
    assert finding(effect, "DE201").verdict is Verdict.WARN
    assert finding(effect, "DE201").numbers["confounder"] == "price"
    with pytest.raises(NotIdentified, match="determine 'price'"):
        DoubleML(LinearRegression()).fit(
            logs_of(table), text_features=np.hstack([X, price[:, None]])
        )


def test_what_cannot_be_used_is_refused():
    table, X = sample(60)
    with pytest.raises(RoleNotDeclared, match="method double-ml"):
        DoubleML().fit(logs_of(table))
    with pytest.raises(InputError, match="finite numbers"):
        DoubleML().fit(logs_of(table), text_features=X[:10])
    with pytest.raises(InputError, match="no columns"):
        DoubleML().fit(logs_of(table), text_features=X[:, :0])
    with pytest.raises(SettingsError, match="at least 3"):
        DoubleML(folds=2)
    with pytest.raises(SettingsError, match="scikit-learn regressor"):
        DoubleML("forest")
    same = table.set_column(0, "text", pa.array(["t"] * 60))
    with pytest.raises(InputError, match="5 folds need at least 5 groups"):
        DoubleML().fit(logs_of(same), text_features=X)
    double = table.append_column("cost", pa.array(2 * table["price"].to_numpy() + 1))
    with pytest.raises(NotIdentified, match="combination"):
        DoubleML().fit(logs_of(double, confounders=("price", "cost")), text_features=X)
