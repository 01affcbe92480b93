"""A reward is a regressor like others: cloned, searched, cross-validated, in a pipeline."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks

import causalign as ca
from causalign.errors import InputError, RoleNotDeclared, SettingsError
from causalign.reward import Perceptron, RewardRegressor, Ridge

SIMULATED = ca.simulate.Newsletter(rows=300, seed=2).simulate().logs
TEXTS, OUTCOME = SIMULATED.completions, SIMULATED.outcome
WEIGHTS = np.random.default_rng(0).uniform(0.5, 2, len(TEXTS))
GROUPS = np.arange(len(TEXTS)) % 60


@pytest.mark.parametrize("encoder", ["tfidf", "hashing+style"])
def test_numbers_are_those_of_the_method_on_logs(encoder):
    columns = {"mail": TEXTS, "minutes": OUTCOME, "weight": WEIGHTS, "reader": GROUPS}
    roles = ca.Roles("mail", "minutes", weight="weight", cluster="reader")
    expected = Ridge(seed=3).fit(ca.Logs.of(columns, roles), encoder)
    fitted = RewardRegressor(Ridge(seed=3), encoder).fit(TEXTS, OUTCOME, WEIGHTS, GROUPS)
    assert np.array_equal(fitted.predict(TEXTS), expected.predict(TEXTS))
    assert np.array_equal(fitted.reward_.out_of_fold, expected.out_of_fold)
    plain = RewardRegressor(Ridge(seed=3), encoder).fit(TEXTS, OUTCOME)
    assert not np.array_equal(plain.predict(TEXTS), expected.predict(TEXTS))


@pytest.mark.parametrize(
    "column",
    [
        np.array(TEXTS),
        np.array(TEXTS)[:, None],
        pd.Series(TEXTS),
        pd.DataFrame({"mail": TEXTS}),
        pl.Series(TEXTS),
        SIMULATED.data["mail"],
    ],
    ids=["array", "column", "Series", "frame", "polars", "Arrow"],
)
def test_texts_come_as_lists_arrays_and_columns(column):
    fitted = RewardRegressor(encoder="hashing").fit(column, OUTCOME)
    expected = RewardRegressor(encoder="hashing").fit(TEXTS, OUTCOME)
    assert np.array_equal(fitted.predict(column), expected.predict(TEXTS))


def test_settings_of_the_method_are_parameters_too():
    regressor = RewardRegressor(encoder="hashing")
    assert regressor.get_params()["method__folds"] == 5
    assert set(regressor.get_params(deep=False)) == {"method", "encoder"}
    regressor.set_params(method=Ridge(seed=7), method__folds=3)
    assert regressor.method == Ridge(seed=7, folds=3)
    assert RewardRegressor().method == Ridge()
    with pytest.raises(SettingsError, match="no setting 'fold'; did you mean 'folds'"):
        regressor.set_params(method__fold=3)
    with pytest.raises(ValueError, match="Invalid parameter 'encode'"):
        regressor.set_params(encode="hashing")


def test_a_clone_has_the_settings_and_not_the_fit():
    regressor = RewardRegressor(Ridge(folds=4), "hashing").fit(TEXTS, OUTCOME)
    copy = clone(regressor)
    assert (copy.method, copy.encoder) == (Ridge(folds=4), "hashing")
    with pytest.raises(NotFittedError):
        copy.predict(TEXTS)


def test_searches_pipelines_and_cross_validation_take_it():
    search = GridSearchCV(
        RewardRegressor(encoder="hashing"),
        {"method__choose": ["minimum", "one-standard-error"], "encoder": ["hashing", "tfidf"]},
        cv=3,
    ).fit(TEXTS, OUTCOME)
    assert len(search.cv_results_["params"]) == 4
    assert search.best_score_ > 0.1
    scores = cross_val_score(
        RewardRegressor(encoder="tfidf"), TEXTS, OUTCOME, groups=GROUPS, cv=GroupKFold(3)
    )
    assert (scores > 0.1).all()
    frame = pd.DataFrame({"mail": TEXTS, "other": OUTCOME})
    pipeline = make_pipeline(
        ColumnTransformer([("mail", "passthrough", ["mail"])]), RewardRegressor(encoder="hashing")
    ).fit(frame, OUTCOME)
    expected = RewardRegressor(encoder="hashing").fit(TEXTS, OUTCOME)
    assert np.array_equal(pipeline.predict(frame), expected.predict(TEXTS))


def test_log_odds_of_an_event_are_predicted_as_its_probability():
    event = (np.median(OUTCOME) < OUTCOME).astype(float)
    settings = ca.reward.NetworkTraining(epochs=2)
    fitted = RewardRegressor(Perceptron(loss="logistic", training=settings), "hashing")
    predicted = fitted.fit(TEXTS, event).predict(TEXTS)
    assert ((predicted > 0) & (predicted < 1)).all()


def test_what_no_regressor_can_use_is_refused():
    regressor = RewardRegressor(encoder="hashing")
    with pytest.raises(InputError, match=r"one column of texts as X; found .* \(300, 2\)"):
        regressor.fit(np.column_stack([TEXTS, TEXTS]), OUTCOME)
    with pytest.raises(InputError, match=r"one column of texts as X; found .* \(\)"):
        regressor.fit("one text", OUTCOME)
    with pytest.raises(InputError):
        regressor.fit(TEXTS, OUTCOME[1:])
    with pytest.raises(InputError):
        regressor.fit([None, *TEXTS[1:]], OUTCOME)
    with pytest.raises(SettingsError, match="'pairwise' compares texts"):
        RewardRegressor(ca.reward.Pairwise(), "hashing").fit(TEXTS, OUTCOME)
    with pytest.raises(RoleNotDeclared, match="confounder"):
        RewardRegressor(ca.reward.ConfounderInText(), "hashing").fit(TEXTS, OUTCOME)


# Those of scikit-learn's checks that fit no numbers, which would be no texts.
CHECKS = (
    "estimator_cloneable",
    "estimator_tags_renamed",
    "valid_tag_types",
    "estimator_repr",
    "no_attributes_set_in_init",
    "get_params_invariance",
    "set_params",
    "estimators_unfitted",
    "mixin_order",
    "n_features_in_after_fitting",
)


@pytest.mark.parametrize("check", CHECKS)
def test_checks_of_scikit_learn(check):
    getattr(estimator_checks, f"check_{check}")(
        "RewardRegressor", RewardRegressor(encoder="hashing")
    )


def test_a_regressor_of_numbers_is_not_mixed_up_with_it():
    assert not RewardRegressor().__sklearn_tags__().input_tags.two_d_array
    assert LinearRegression().__sklearn_tags__().input_tags.two_d_array
