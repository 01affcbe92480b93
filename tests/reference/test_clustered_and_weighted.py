"""Every estimator, with and without weights, robust and clustered one and two ways: to 1e-8.

linearmodels gives the covariance without a small-sample factor; the methods multiply it by
``(n - 1)/(n - k) G/(G - 1)``, G the smaller number of clusters, as pyfixest does. linearmodels is
asked for each covariance and pyfixest again where it has the estimator.
"""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import PredefinedSplit, cross_val_predict

from causalign.deconfound import (
    Additive,
    DoubleML,
    DoubleMLInstruments,
    OrdinaryLeastSquares,
    TwoStageLeastSquares,
)
from causalign.errors import SettingsError
from causalign.logs import Logs
from causalign.logs.roles import Roles
from causalign.stats.carrying_rows import interval_reach
from causalign.stats.folds import group_folds

iv = pytest.importorskip("linearmodels.iv")
pytestmark = pytest.mark.filterwarnings("ignore")
TOLERANCE = {"rtol": 1e-8, "atol": 1e-8}
N = 600
CLUSTERS = {"robust": None, "one way": "author", "two ways": ("author", "week")}


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"text": [f"text {i}" for i in range(N)]})
    data["author"], data["week"] = rng.integers(0, 40, N), rng.integers(0, 15, N)
    shock = rng.normal(size=40)[data["author"]] + rng.normal(size=15)[data["week"]]
    for name in ("z0", "z1", "x0", "x1"):
        data[name] = rng.normal(size=N) + 0.3 * shock
    data["kind"] = rng.integers(0, 4, N)
    data["price"] = data["z0"] + 0.5 * data["z1"] + data["x0"] + 0.2 * data["kind"] + shock
    data["price"] += rng.normal(size=N)
    data["y"] = data["price"] + 2 * data["x0"] - data["x1"] + np.cos(data["kind"]) + shock
    data["y"] += rng.normal(size=N)
    data["weight"] = rng.uniform(0.5, 2, N)
    return data


def declared(ways, weight, **more):
    given = {"confounders": ("price",), "cluster": CLUSTERS[ways]} | more
    return Roles("text", "y", weight="weight" if weight else None, **given)


def reference(ways, frame, fit, spent):
    """Return estimates, and standard errors with the factor of the methods, from linearmodels."""
    if ways == "robust":
        return fit(cov_type="robust"), N / (N - spent) if spent else 1.0
    columns = ["author"] if ways == "one way" else ["author", "week"]
    found = fit(cov_type="clustered", clusters=frame[columns].to_numpy())
    count = min(frame[name].nunique() for name in columns)
    return found, (count / (count - 1)) * (N - 1) / (N - spent) if spent else 1.0


def same(effect, found, factor, place):
    np.testing.assert_allclose(effect.estimates[0], found.params.iloc[place], **TOLERANCE)
    expected = found.std_errors.iloc[place] * np.sqrt(factor)
    np.testing.assert_allclose(effect.standard_errors[0], expected, **TOLERANCE)


def weights_of(frame, weight):
    return frame["weight"] if weight else None


@pytest.mark.parametrize("weight", [False, True])
@pytest.mark.parametrize("ways", CLUSTERS)
class TestEveryEstimator:
    def test_ordinary(self, frame, ways, weight):
        effect = OrdinaryLeastSquares().fit(Logs.of(frame, declared(ways, weight)))
        X = np.column_stack([np.ones(N), frame["price"]])
        model = iv.IV2SLS(frame["y"], X, None, None, weights=weights_of(frame, weight))
        same(effect, *reference(ways, frame, model.fit, 2), 1)

    @pytest.mark.parametrize(
        ("method", "theirs"),
        [(TwoStageLeastSquares(), "IV2SLS"), (TwoStageLeastSquares(kappa="liml"), "IVLIML")],
    )
    def test_instruments(self, frame, ways, weight, method, theirs):
        roles = declared(ways, weight, instruments=("z0", "z1"))
        effect = method.fit(Logs.of(frame, roles))
        model = getattr(iv, theirs)(
            frame["y"],
            np.ones(N),
            frame["price"],
            frame[["z0", "z1"]],
            weights=weights_of(frame, weight),
        )
        same(effect, *reference(ways, frame, model.fit, 2), 1)

    def test_additive(self, frame, ways, weight):
        """With the categories as indicators in the reference."""
        roles = declared(
            ways,
            weight,
            confounders=("price", "kind"),
            categorical=("kind",),
            features=("x0", "x1"),
        )
        effect = Additive().fit(Logs.of(frame, roles))
        kinds = pd.get_dummies(frame["kind"]).to_numpy(float)
        X = np.column_stack([frame[["price", "x0", "x1"]], kinds])
        model = iv.IV2SLS(frame["y"], X, None, None, weights=weights_of(frame, weight))
        same(effect, *reference(ways, frame, model.fit, 7), 0)

    def test_double_ml(self, frame, ways, weight):
        effect = DoubleML(learner=LinearRegression(), seed=4).fit(
            Logs.of(frame, declared(ways, weight)),
            text_features=frame[["x0", "x1"]].to_numpy(),
        )
        u, v = left(frame, ways, weight, ["y", "price"])
        model = iv.IV2SLS(u, v, None, None, weights=weights_of(frame, weight))
        same(effect, *reference(ways, frame, model.fit, 0), 0)

    def test_double_ml_instruments(self, frame, ways, weight):
        roles = declared(ways, weight, instruments=("z0",))
        effect = DoubleMLInstruments(learner=LinearRegression(), seed=4).fit(
            Logs.of(frame, roles), text_features=frame[["x0", "x1"]].to_numpy()
        )
        u, v, z = left(frame, ways, weight, ["y", "price", "z0"])
        model = iv.IV2SLS(u, None, v, z, weights=weights_of(frame, weight))
        same(effect, *reference(ways, frame, model.fit, 0), 0)


def left(frame, ways, weight, names):
    """Return what linear regressions on other folds leave; folds keep authors together."""
    groups = frame["text" if ways == "robust" else "author"].to_numpy(dtype=str)
    folds = PredefinedSplit(group_folds(groups, 5, 4))
    params = {"sample_weight": frame["weight"].to_numpy()} if weight else {}
    X = frame[["x0", "x1"]].to_numpy()
    return [
        frame[name] - cross_val_predict(LinearRegression(), X, frame[name], cv=folds, params=params)
        for name in names
    ]


@pytest.mark.parametrize("weight", [None, "weight"])
@pytest.mark.parametrize("ways", ["author", "author+week"])
@pytest.mark.parametrize("method", ["ordinary", "two-stage", "additive"])
def test_equal_to_pyfixest_with_its_intervals(frame, method, ways, weight):
    pf = pytest.importorskip("pyfixest")
    formula, fitter, more = {
        "ordinary": ("y ~ price", OrdinaryLeastSquares(), {}),
        "two-stage": ("y ~ 1 | price ~ z0", TwoStageLeastSquares(), {"instruments": ("z0",)}),
        "additive": (
            "y ~ price + x0 + x1 | kind",
            Additive(),
            {
                "confounders": ("price", "kind"),
                "categorical": ("kind",),
                "features": ("x0", "x1"),
            },
        ),
    }[method]
    named = tuple(ways.split("+"))
    roles = Roles(
        "text",
        "y",
        **({"confounders": ("price",)} | more),
        cluster=named,
        weight=weight,
    )
    expected = pf.feols(formula, frame, vcov={"CRV1": ways}, weights=weight, fixef_tol=1e-13)
    effect = fitter.fit(Logs.of(frame, roles))
    row = effect.table().slice(0, 1).to_pylist()[0]
    interval = expected.confint().loc["price"].to_numpy()
    np.testing.assert_allclose(row["stderr"], expected.se()["price"], **TOLERANCE)
    # Ours are wider by a known factor: the errors are estimated from the clusters that carry it.
    reach = interval_reach(effect.carried[:1], effect.degrees_of_freedom, 0.95)[0]
    usual = stats.t.ppf(0.975, effect.degrees_of_freedom)
    assert usual < reach < 1.5 * usual
    ours = row["estimate"] + np.array([-1, 1]) * usual * row["stderr"]
    np.testing.assert_allclose(ours, interval, **TOLERANCE)
    assert row["upper"] == pytest.approx(row["estimate"] + reach * row["stderr"])


def test_two_ways_are_the_sum_of_each_less_the_overlap(frame):
    """Cameron, Gelbach and Miller (2011), with one factor for all three."""
    both = frame.assign(both=frame["author"].astype(str) + "/" + frame["week"].astype(str))

    def variance(cluster):
        roles = Roles("text", "y", confounders=("price",), cluster=cluster)
        effect = OrdinaryLeastSquares().fit(Logs.of(both, roles))
        names = (cluster,) if isinstance(cluster, str) else cluster
        count = min(both[name].nunique() for name in names)
        return effect.covariance[0, 0] / (count / (count - 1)), effect

    one, two = variance("author")[0], variance("week")[0]
    joint, effect = variance(("author", "week"))
    assert joint == pytest.approx(one + two - variance("both")[0], rel=1e-10)
    assert effect.degrees_of_freedom == both["week"].nunique() - 1


def test_one_or_two_ways():
    assert Roles("t", "y", cluster=["a"]).cluster == "a"
    assert Roles("t", "y", cluster=("a", "b")).columns()["b"] == "cluster"
    assert Roles("t", "y", group="g").cluster_columns() == ("g",)
    assert Roles("t", "y", cluster=("a", "b"), group="g").cluster_columns() == ("a", "b")
    with pytest.raises(SettingsError, match="names 3 columns"):
        Roles("t", "y", cluster=("a", "b", "c"))
    with pytest.raises(SettingsError, match="names column 'a' twice"):
        Roles("t", "y", cluster=("a", "a"))
    with pytest.raises(SettingsError, match="cannot also group"):
        Roles("t", "y", cluster=("a", "y"))
