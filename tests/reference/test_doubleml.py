"""Double ML gives the numbers of the package DoubleML, to 1e-8, on the same folds and learners."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression, Ridge

from causalign.deconfound import DoubleML, DoubleMLInstruments
from causalign.logs import Logs
from causalign.logs.roles import Roles
from causalign.logs.stories import rows_together
from causalign.stats.cross_fit import ridge_cross_fit
from causalign.stats.folds import group_folds

dml = pytest.importorskip("doubleml")

TOLERANCE = {"rtol": 1e-8, "atol": 1e-8}
N, FOLDS = 300, 5
FEATURES = [f"x{j}" for j in range(6)]


class Sample:
    def __init__(self):
        rng = np.random.default_rng(3)
        self.X = rng.normal(size=(N, 6))
        self.Z = rng.normal(size=(N, 2)) + self.X[:, :2]
        hidden = rng.normal(size=N)
        price = self.X @ [1, 0.5, 0, 0, 0, 1] + self.Z @ [1, 0.5] + hidden
        self.frame = pd.DataFrame(self.X, columns=FEATURES).assign(
            y=0.5 * price + np.sin(self.X[:, 0]) + hidden + rng.normal(size=N),
            price=price + rng.normal(size=N),
            z1=self.Z[:, 0],
            z2=self.Z[:, 1],
            # As many clusters in each fold: DoubleML averages over folds, we over rows.
            shop=np.arange(N) % 50,
            text=[f"{i}" for i in range(N)],
        )

    def logs(self, **more):
        roles = Roles("text", "y", confounders=("price",), **more)
        return Logs.of(pa.Table.from_pandas(self.frame), roles)


@pytest.fixture(scope="module")
def sample():
    return Sample()


def splits(logs, seed=0):
    member = group_folds(rows_together(logs), FOLDS, seed)
    return [(np.flatnonzero(member != f), np.flatnonzero(member == f)) for f in range(FOLDS)]


def agree(effect, model):
    model.fit()
    np.testing.assert_allclose(effect.estimates, model.coef, **TOLERANCE)
    np.testing.assert_allclose(effect.standard_errors, model.se, **TOLERANCE)


LEARNERS = [
    LinearRegression(),
    Ridge(3.0),
    RandomForestRegressor(10, min_samples_leaf=5, random_state=0),
]


@pytest.mark.parametrize("learner", LEARNERS, ids=lambda m: type(m).__name__)
def test_partially_linear(sample, learner):
    logs = sample.logs()
    data = dml.DoubleMLData(sample.frame, "y", "price", x_cols=FEATURES)
    model = dml.DoubleMLPLR(data, learner, learner, n_folds=FOLDS, draw_sample_splitting=False)
    model.set_sample_splitting(splits(logs))
    agree(DoubleML(learner).fit(logs, text_features=sample.X), model)


@pytest.mark.parametrize("instruments", [("z1",), ("z1", "z2")])
@pytest.mark.parametrize("learner", LEARNERS, ids=lambda m: type(m).__name__)
def test_partially_linear_with_instruments(sample, learner, instruments):
    logs = sample.logs(instruments=instruments)
    data = dml.DoubleMLData(sample.frame, "y", "price", x_cols=FEATURES, z_cols=list(instruments))
    model = dml.DoubleMLPLIV(
        data, learner, learner, learner, n_folds=FOLDS, draw_sample_splitting=False
    )
    model.set_sample_splitting(splits(logs))
    agree(DoubleMLInstruments(learner).fit(logs, text_features=sample.X), model)


@pytest.mark.parametrize("with_instrument", [False, True])
def test_clustered(sample, with_instrument):
    logs = sample.logs(cluster="shop", instruments=("z1",) if with_instrument else ())
    columns = {"z_cols": "z1"} if with_instrument else {}
    data = dml.DoubleMLData(
        sample.frame, "y", "price", x_cols=FEATURES, cluster_cols="shop", **columns
    )
    kind = dml.DoubleMLPLIV if with_instrument else dml.DoubleMLPLR
    learners = [LinearRegression()] * (3 if with_instrument else 2)
    model = kind(data, *learners, n_folds=FOLDS, draw_sample_splitting=False)
    shops = sample.frame["shop"].to_numpy()
    folds = splits(logs)
    model.set_sample_splitting(
        folds, [[([np.unique(shops[a])], [np.unique(shops[b])]) for a, b in folds]]
    )
    ours = DoubleMLInstruments if with_instrument else DoubleML
    agree(ours(LinearRegression()).fit(logs, text_features=sample.X), model)


class FromTable(RegressorMixin, BaseEstimator):
    """Predict what one cross-fit of ridge predicted, looked up by the row's features."""

    def __init__(self, table=None):
        self.table = table

    def fit(self, X, y):
        return self

    def predict(self, X):
        return np.array([self.table[row.tobytes()] for row in X])


def test_ridge_of_one_factorisation(sample):
    logs = sample.logs()
    columns = sample.frame[["y", "price"]].to_numpy()
    member = group_folds(rows_together(logs), FOLDS, 0)
    predicted = ridge_cross_fit(sample.X, columns, folds=member).predicted
    tables = [
        FromTable({row.tobytes(): p for row, p in zip(sample.X, predicted[:, j], strict=True)})
        for j in range(2)
    ]
    data = dml.DoubleMLData(sample.frame, "y", "price", x_cols=FEATURES)
    model = dml.DoubleMLPLR(data, *tables, n_folds=FOLDS, draw_sample_splitting=False)
    model.set_sample_splitting(splits(logs))
    agree(DoubleML().fit(logs, text_features=sample.X), model)
