"""Absorbed categories give the numbers of pyfixest, to 1e-8, robust and clustered."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from causalign.deconfound import Additive
from causalign.logs import Logs
from causalign.logs.roles import Roles
from causalign.stats.absorb import absorb, degrees_of_freedom, singletons
from causalign.stats.carrying_rows import interval_reach
from causalign.stats.least_squares import ordinary

pf = pytest.importorskip("pyfixest")

TOLERANCE = {"rtol": 1e-8, "atol": 1e-8}
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(1)
    n = 500
    data = pd.DataFrame({"month": rng.integers(0, 60, n) ** 2 // 60, "text": "t"})
    data.loc[:1, "month"] = [98, 99]  # each the only row of its month
    data["site"] = rng.integers(0, 12, n)
    data["kind"] = rng.integers(0, 5, n)
    data["region"] = data["site"] // 2
    data["author"] = rng.integers(0, 25, n)
    data["weight"] = rng.uniform(0.5, 2, n)
    data["length"] = rng.normal(size=n) + 0.1 * data["month"] + 0.2 * data["site"]
    data["price"] = rng.normal(size=n) + 0.3 * data["length"]
    data["y"] = data["length"] - data["price"] + np.sin(data["month"]) + rng.normal(size=n)
    assert singletons([data["month"]]).any()
    return data


VARIANCES = {
    "robust": "hetero",
    "one way": {"CRV1": "author"},
    "two ways": {"CRV1": "author+region"},
    "nested": {"CRV1": "region"},
}
FACTORS = [["month"], ["month", "kind"], ["month", "kind", "site"]]
# Several factors of which some are nested in the clusters are left out: pyfixest 0.60 then counts
# the levels of one factor or of another, depending on the hash seed of the interpreter.
CASES = [
    *[(factors, variance) for factors in FACTORS for variance in ("robust", "one way")],
    *[(factors, "two ways") for factors in FACTORS[:2]],
    # Sites lie in regions, so that the effects of regions follow from theirs.
    *[(["site", "region"], variance) for variance in ("robust", "one way")],
    (["month", "site", "region"], "robust"),
    (["site"], "nested"),
    (["site"], "two ways"),
]


@pytest.mark.parametrize(("factors", "variance"), CASES)
@pytest.mark.parametrize("weight", [None, "weight"])
def test_absorbed_regression(frame, factors, variance, weight):
    vcov = VARIANCES[variance]
    formula = f"y ~ length + price | {' + '.join(factors)}"
    reference = pf.feols(formula, frame, vcov=vcov, weights=weight, fixef_tol=1e-13)
    kept = frame[~singletons([frame[f] for f in factors])]
    codes = [np.unique(kept[f], return_inverse=True)[1] for f in factors]
    weights = None if weight is None else kept[weight].to_numpy()
    clusters = None
    if isinstance(vcov, dict):
        clusters = kept[vcov["CRV1"].split("+")].to_numpy().squeeze()
    absorber = absorb(codes, weights)
    fit = ordinary(
        absorber.within(kept["y"]),
        absorber.within(kept[["length", "price"]]),
        weights=weights,
        clusters=clusters,
        correction="min",
        absorbed=degrees_of_freedom(codes, clusters),
    )
    assert len(fit.residuals) == reference._N
    np.testing.assert_allclose(fit.coefficients, reference.coef(), **TOLERANCE)
    np.testing.assert_allclose(fit.standard_errors, reference.se(), **TOLERANCE)


@pytest.mark.parametrize("cluster", [None, "author"])
@pytest.mark.parametrize("weight", [None, "weight"])
def test_additive(frame, cluster, weight):
    roles = Roles(
        "text",
        "y",
        confounders=("price", "month", "kind"),
        features=("length",),
        categorical=("month", "kind"),
        cluster=cluster,
        weight=weight,
    )
    effect = Additive().fit(Logs.of(frame, roles))
    vcov = "hetero" if cluster is None else {"CRV1": cluster}
    reference = pf.feols(
        "y ~ length + price | month + kind", frame, vcov=vcov, weights=weight, fixef_tol=1e-13
    )
    row = effect.table().slice(0, 1).to_pylist()[0]
    interval = reference.confint().loc["price"].to_numpy()
    assert row["name"] == "price"
    np.testing.assert_allclose(row["estimate"], reference.coef()["price"], **TOLERANCE)
    np.testing.assert_allclose(row["stderr"], reference.se()["price"], **TOLERANCE)
    # Ours are wider: the errors are estimated from the rows that carry the effect.
    assert row["lower"] < interval[0] < interval[1] < row["upper"]
    reach = interval_reach(effect.carried[:1], effect.degrees_of_freedom, 0.95)[0]
    usual = stats.t.ppf(0.975, effect.degrees_of_freedom)
    ours = (row["upper"] - row["lower"]) * usual / reach
    np.testing.assert_allclose(ours, np.diff(interval)[0], **TOLERANCE)


def test_effects_of_categories_equal_a_regression_on_indicators(frame):
    roles = Roles("text", "y", confounders=("site",), features=("length",), categorical=("site",))
    effect = Additive(covariance="robust").fit(Logs.of(frame, roles))
    reference = pf.feols("y ~ length + C(site)", frame, vcov="hetero")
    against_first = np.eye(12)[1:] - np.eye(12)[0]
    order = np.argsort([int(name[5:-1]) for name in effect.names])
    estimates = effect.estimates[order]
    covariance = effect.covariance[np.ix_(order, order)]
    names = [name for name in reference.coef().index if "site" in name]
    assert len(names) == 11
    np.testing.assert_allclose(against_first @ estimates, reference.coef()[names], **TOLERANCE)
    errors = np.sqrt(np.diag(against_first @ covariance @ against_first.T))
    np.testing.assert_allclose(errors, reference.se()[names], **TOLERANCE)
