"""Diagnostics of instruments give the numbers of linearmodels and pyfixest, to 1e-8."""

import numpy as np
import pandas as pd
import pytest

from causalign.stats.instrument_tests import effective_f, endogeneity, over_identification, strength
from causalign.stats.partial import partial_out

iv = pytest.importorskip("linearmodels.iv")

TOLERANCE = {"rtol": 1e-8, "atol": 1e-8}
N = 400


class Sample:
    def __init__(self):
        rng = np.random.default_rng(1)
        self.Z = rng.normal(2, 1, size=(N, 4))
        hidden = rng.normal(size=N)
        self.E = np.column_stack([np.ones(N), rng.normal(2015, 4, size=N)])
        moved = np.column_stack([self.Z @ [1, 0.5, 0.2, 0], self.Z @ [0, 0.5, -1, 0.3]])
        self.X = moved + hidden[:, None] + rng.normal(size=(N, 2)) + 0.1 * self.E[:, 1:]
        noise = rng.normal(size=N) * np.abs(self.Z[:, 0])
        self.y = self.X @ [1, -1] + self.E @ [1, 0.01] + hidden + noise + 0.2 * self.Z[:, 3]
        self.weights = rng.uniform(0.5, 2, N)
        self.clusters = rng.integers(0, 40, N)

    def both(self, columns, weighted, clustered, robust=True):
        """Return our columns, and their two-stage fit with the covariance asked for."""
        weights = self.weights if weighted else None
        clusters = self.clusters if clustered else None
        X = self.X[:, :columns]
        parts = partial_out(self.y, X, self.E, self.Z, weights=weights, clusters=clusters)
        kind = {"cov_type": "robust" if robust else "unadjusted"}
        if clustered:
            kind = {"cov_type": "clustered", "clusters": clusters}
        model = iv.IV2SLS(self.y, self.E, X, self.Z, weights=weights)
        return parts, model.fit(debiased=True, **kind)


@pytest.fixture(scope="module")
def sample():
    return Sample()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("columns", [1, 2])
class TestAgainstLinearmodels:
    @pytest.mark.parametrize("clustered", [False, True])
    def test_first_stage(self, sample, columns, weighted, clustered):
        parts, fit = sample.both(columns, weighted, clustered)
        theirs = fit.first_stage.diagnostics
        ours = strength(parts)
        np.testing.assert_allclose(ours.robust_f, theirs["f.stat"] / 4, **TOLERANCE)
        np.testing.assert_allclose(ours.partial_r2, theirs["partial.rsquared"], **TOLERANCE)
        np.testing.assert_allclose(ours.shea_r2, theirs["shea.rsquared"], **TOLERANCE)

    def test_classical_first_stage(self, sample, columns, weighted):
        parts, fit = sample.both(columns, weighted, False, robust=False)
        theirs = fit.first_stage.diagnostics
        np.testing.assert_allclose(strength(parts).classical_f, theirs["f.stat"], **TOLERANCE)

    def test_over_identification(self, sample, columns, weighted):
        parts, fit = sample.both(columns, weighted, False)
        ours = over_identification(parts)
        for our, their in ((ours.sargan, fit.sargan), (ours.score, fit.wooldridge_overid)):
            np.testing.assert_allclose(our.statistic, their.stat, **TOLERANCE)
            np.testing.assert_allclose(our.p_value, their.pval, **TOLERANCE)

    @pytest.mark.parametrize("clustered", [False, True])
    def test_hansen(self, sample, columns, weighted, clustered):
        parts, _ = sample.both(columns, weighted, clustered)
        weights = sample.weights if weighted else None
        kind = {"weight_type": "robust"}
        if clustered:
            kind = {"weight_type": "clustered", "clusters": sample.clusters}
        model = iv.IVGMM(
            sample.y, sample.E, sample.X[:, :columns], sample.Z, weights=weights, **kind
        )
        theirs = model.fit(iter_limit=2, initial_weight=None).j_stat
        ours = over_identification(parts).hansen
        np.testing.assert_allclose(ours.statistic, theirs.stat, **TOLERANCE)
        np.testing.assert_allclose(ours.p_value, theirs.pval, **TOLERANCE)

    @pytest.mark.parametrize("clustered", [False, True])
    def test_endogeneity(self, sample, columns, weighted, clustered):
        parts, fit = sample.both(columns, weighted, clustered)
        ours, theirs = endogeneity(parts), fit.wu_hausman()
        np.testing.assert_allclose(ours.wu_hausman.statistic, theirs.stat, **TOLERANCE)
        np.testing.assert_allclose(ours.wu_hausman.p_value, theirs.pval, **TOLERANCE)
        robust = fit.wooldridge_regression
        np.testing.assert_allclose(ours.robust.statistic, robust.stat, **TOLERANCE)
        np.testing.assert_allclose(ours.robust.p_value, robust.pval, **TOLERANCE)


@pytest.mark.parametrize("clustered", [False, True])
def test_effective_f_equals_pyfixest(sample, clustered):
    """Their Z keeps what exogenous columns explain; with absorbed effects both mean the same."""
    pyfixest = pytest.importorskip("pyfixest")
    site = np.arange(N) % 8
    names = ["z0", "z1", "z2"]
    data = pd.DataFrame(sample.Z[:, :3] + 0.3 * site[:, None], columns=names)
    data["y"], data["x"] = sample.y, sample.X[:, 0]
    data["site"], data["cluster"] = site, sample.clusters
    kind = {"CRV1": "cluster"} if clustered else "hetero"
    fit = pyfixest.feols("y ~ 1 | site | x ~ z0 + z1 + z2", data=data, vcov=kind)
    fit.IV_Diag()
    clusters = sample.clusters if clustered else None
    dummies = (site[:, None] == np.arange(8)).astype(float)
    parts = partial_out(data["y"], data[["x"]], dummies, data[names], clusters=clusters)
    assert effective_f(parts) == pytest.approx(float(fit._eff_F), rel=1e-8)
