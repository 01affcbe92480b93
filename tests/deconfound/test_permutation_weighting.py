"""Permutation weighting: the ranking where effects do not add up, and its findings."""

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import spearmanr
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from causalign.deconfound import Additive, DoubleML, PermutationWeighting
from causalign.errors import InputError, RoleNotDeclared, SettingsError
from causalign.logs import Logs
from causalign.logs.roles import Roles
from causalign.results import Result, Verdict
from causalign.reward import Ridge
from causalign.simulate import Interacting


@pytest.fixture(scope="module")
def shop():
    made = Interacting(rows=4000).simulate()
    return made, CountVectorizer().fit_transform(made.logs.completions).toarray().astype(float)


def agreement_with_truth(made, X, logs):
    """Fit a reward to the logs and compare its ranking of the distinct texts with the truth."""
    reward = Ridge().fit_arrays(X, logs.outcome, weights=logs.weights)
    _, first = np.unique(made.logs.completions, return_index=True)
    return spearmanr(reward.head(X)[first], made.text_effect[first])[0]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_recovers_the_ranking_where_additive_estimators_do_not(seed):
    made = Interacting(rows=4000, seed=seed).simulate()
    X = CountVectorizer().fit_transform(made.logs.completions).toarray().astype(float)
    weighted = PermutationWeighting().fit(made.logs, text_features=X).weight(made.logs)
    assert agreement_with_truth(made, X, weighted) >= 0.9
    for method in (Additive(), DoubleML()):
        adjusted = method.fit(made.logs, text_features=X).subtract_from(made.logs)
        assert agreement_with_truth(made, X, adjusted) < 0.6


def test_the_result_tells_its_balance(shop):
    made, X = shop
    found = PermutationWeighting().fit(made.logs, text_features=X)
    assert isinstance(found, Result)
    row = found.table().to_pylist()[0]
    assert row["name"] == "warmth"
    assert row["typical_after"] < row["typical_before"] / 2
    assert row["largest_before"] >= row["typical_before"]
    assert [f.code for f in found.findings] == ["DE202", "DE203", "DE204"]
    assert "Holds if" in found.summary()
    section = found.section()
    assert section.details["method"] == "permutation-weighting"
    assert section.numbers["effective_rows"] == found.effective_rows


def test_weights_multiply_those_of_the_logs(shop):
    made, X = shop
    old = np.random.default_rng(0).uniform(0.5, 1.5, len(made.logs))
    given = made.logs.with_weights(old, "given")
    found = PermutationWeighting(repetitions=1, folds=2).fit(given, text_features=X)
    weighted = found.weight(given)
    np.testing.assert_allclose(weighted.weights, old * found.weights)
    assert weighted.weights.sum() == pytest.approx(old.sum())
    assert "weight" in weighted.data.column_names
    assert "permutation-weighting" in weighted.history[-1]
    with pytest.raises(InputError, match="belong to 4000 rows"):
        found.weight(given.take(np.arange(10), "few"))


def logs_of(price, site=None, n=400):
    table = {"text": [f"{i}" for i in range(n)], "y": np.arange(n) % 7, "price": price}
    names = ("price",)
    if site is not None:
        table["site"], names = site, ("price", "site")
    return Logs.of(pa.table(table), Roles("text", "y", confounders=names, cluster=None))


def test_perfect_separation_fails():
    """Every text carries the values of its confounders, as unique texts of unique days do."""
    X = np.random.default_rng(0).normal(size=(400, 30))
    table = {f"c{j}": X[:, j] for j in range(30)}
    logs = Logs.of(
        pa.table({"text": [f"{i}" for i in range(400)], "y": X[:, 0], **table}),
        Roles("text", "y", confounders=tuple(table)),
    )
    separated, size, _ = PermutationWeighting().fit(logs, text_features=X).findings
    assert (separated.code, separated.verdict) == ("DE202", Verdict.FAIL)
    assert separated.numbers["auc"] > 0.99
    assert size.verdict is not Verdict.PASS


@pytest.mark.parametrize("classifier", ["logistic", "boosting"])
def test_texts_that_met_one_value_only_stay_out_of_balance(classifier):
    signs = np.sign(np.random.default_rng(0).normal(size=(400, 1)))
    found = PermutationWeighting(classifier, repetitions=1).fit(
        logs_of(signs[:, 0]), text_features=signs
    )
    assert found.findings[2].verdict is Verdict.FAIL
    assert "price" in found.findings[2].explanation


def test_mixed_confounders_have_a_row_each():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    site = np.where(X[:, 0] + rng.normal(size=400) > 0, "left", "right")
    found = PermutationWeighting(LogisticRegression()).fit(
        logs_of(rng.normal(size=400), site), text_features=X
    )
    assert found.table()["name"].to_pylist() == ["price", "site[right]"]
    assert found.settings["classifier"] == "LogisticRegression()"
    site_row = found.table().to_pylist()[1]
    assert site_row["typical_after"] < site_row["typical_before"] / 2


def test_what_cannot_be_used_is_refused():
    given = logs_of(np.arange(400.0))
    with pytest.raises(RoleNotDeclared, match="permutation-weighting"):
        PermutationWeighting().fit(given)
    with pytest.raises(SettingsError, match="folds must be a whole number at least 2"):
        PermutationWeighting(folds=1).fit(given, text_features=np.ones((400, 1)))
    for wrong in (np.ones(3), -np.ones(400), np.zeros(400), np.full(400, np.nan)):
        with pytest.raises(InputError, match="none negative and not all zero"):
            given.with_weights(wrong, "wrong")
