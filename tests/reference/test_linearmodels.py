"""Least squares and instruments give the numbers of linearmodels, to 1e-8."""

import numpy as np
import pyarrow as pa
import pytest

from causalign.deconfound import OrdinaryLeastSquares, TwoStageLeastSquares
from causalign.logs import Logs
from causalign.logs.roles import Roles
from causalign.stats.least_squares import first_stage, ordinary, two_stage

iv = pytest.importorskip("linearmodels.iv")

TOLERANCE = {"rtol": 1e-8, "atol": 1e-8}
N = 400


class Sample:
    def __init__(self):
        rng = np.random.default_rng(0)
        self.Z = rng.normal(size=(N, 3))
        hidden = rng.normal(size=N)
        moved = np.column_stack([self.Z @ [1, 0.5, 0.2], self.Z @ [0, 0.5, -1]])
        self.X = moved + hidden[:, None] + rng.normal(size=(N, 2))
        # A year next to an intercept: a badly scaled design.
        self.E = np.column_stack([np.ones(N), rng.normal(2015, 4, size=N)])
        noise = rng.normal(size=N) * np.abs(self.Z[:, 0])
        self.y = self.X @ [1, -1] + self.E @ [1, 0.01] + hidden + noise
        self.weights = rng.uniform(0.5, 2, N)
        self.one = rng.integers(0, 40, N)
        self.two = np.column_stack([self.one, rng.integers(0, 30, N)])


@pytest.fixture(scope="module")
def sample():
    return Sample()


def same(fit, reference):
    np.testing.assert_allclose(fit.coefficients, reference.params, **TOLERANCE)
    np.testing.assert_allclose(fit.standard_errors, reference.std_errors, **TOLERANCE)


@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize("ways", ["robust", "unadjusted", "one", "two"])
@pytest.mark.parametrize("weighted", [False, True])
class TestEstimateAndStandardError:
    def settings(self, sample, ways, weighted, debiased):
        weights = sample.weights if weighted else None
        clusters = getattr(sample, ways, None)
        theirs = {"cov_type": ways} if clusters is None else {"cov_type": "clustered"}
        if clusters is not None:
            theirs["clusters"] = clusters
        kind = "unadjusted" if ways == "unadjusted" else "robust"
        ours = {"weights": weights, "clusters": clusters, "kind": kind}
        ours["correction"] = "conventional" if debiased else "none"
        return weights, theirs | {"debiased": debiased}, ours

    def test_two_stage(self, sample, ways, weighted, debiased):
        weights, theirs, ours = self.settings(sample, ways, weighted, debiased)
        model = iv.IV2SLS(sample.y, sample.E, sample.X, sample.Z, weights=weights)
        same(two_stage(sample.y, sample.X, sample.E, sample.Z, **ours), model.fit(**theirs))

    def test_liml(self, sample, ways, weighted, debiased):
        weights, theirs, ours = self.settings(sample, ways, weighted, debiased)
        reference = iv.IVLIML(sample.y, sample.E, sample.X, sample.Z, weights=weights).fit(**theirs)
        fit = two_stage(sample.y, sample.X, sample.E, sample.Z, kappa="liml", **ours)
        same(fit, reference)
        np.testing.assert_allclose(fit.kappa, reference.kappa, rtol=1e-10)

    def test_ordinary(self, sample, ways, weighted, debiased):
        weights, theirs, ours = self.settings(sample, ways, weighted, debiased)
        X = np.hstack([sample.E, sample.X])
        reference = iv.IV2SLS(sample.y, X, None, None, weights=weights).fit(**theirs)
        same(ordinary(sample.y, X, **ours), reference)


@pytest.mark.parametrize("kind", ["robust", "unadjusted"])
def test_first_stage_f_of_one_endogenous_column(sample, kind):
    model = iv.IV2SLS(sample.y, sample.E, sample.X[:, :1], sample.Z)
    reference = model.fit(cov_type=kind, debiased=True).first_stage.diagnostics.iloc[0]
    # linearmodels reports a chi-squared statistic beside the robust covariance.
    scale = 3 if kind == "robust" else 1
    ours = first_stage(sample.X[:, :1], sample.E, sample.Z, kind=kind)
    np.testing.assert_allclose(ours.f[0], reference["f.stat"] / scale, **TOLERANCE)
    np.testing.assert_allclose(ours.partial_r2[0], reference["partial.rsquared"], **TOLERANCE)


@pytest.mark.parametrize("cluster", [None, "cluster"])
def test_methods_equal_linearmodels(sample, cluster):
    table = {
        "text": ["a"] * N,
        "y": sample.y,
        "price": sample.X[:, 0],
        "demand": sample.X[:, 1],
        "year": sample.E[:, 1],
        "cluster": sample.one,
        **{f"z{i}": sample.Z[:, i] for i in range(3)},
    }
    roles = Roles(
        "text",
        "y",
        confounders=("year", "price", "demand"),
        instruments=("z0", "z1", "z2"),
        cluster=cluster,
    )
    logs = Logs.of(pa.table(table), roles)
    kind = {"cov_type": "robust"}
    if cluster:
        kind = {"cov_type": "clustered", "clusters": sample.one}
    reference = iv.IV2SLS(sample.y, sample.E, sample.X, sample.Z).fit(debiased=True, **kind)
    effect = TwoStageLeastSquares(exogenous=("year",)).fit(logs)
    np.testing.assert_allclose(effect.estimates, reference.params.iloc[1:], **TOLERANCE)
    np.testing.assert_allclose(effect.standard_errors, reference.std_errors.iloc[1:], **TOLERANCE)
    X = np.hstack([sample.E, sample.X])
    reference = iv.IV2SLS(sample.y, X, None, None).fit(debiased=True, **kind)
    effect = OrdinaryLeastSquares().fit(logs)
    np.testing.assert_allclose(effect.estimates, reference.params.iloc[1:], **TOLERANCE)
    np.testing.assert_allclose(effect.standard_errors, reference.std_errors.iloc[1:], **TOLERANCE)
