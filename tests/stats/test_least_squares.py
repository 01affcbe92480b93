"""Least squares: known answers, invariances, and errors that name the column."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causalign.errors import InputError, NotIdentified, SettingsError
from causalign.stats.least_squares import first_stage, ordinary, two_stage


def draw(seed, n=60, k=3):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, k)) * 10.0 ** rng.integers(-3, 4, k)
    return rng, rng.normal(size=n), X


def test_known_answer_by_hand():
    fit = ordinary([1.0, 2.0, 4.0], [[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]])
    np.testing.assert_allclose(fit.coefficients, [5 / 6, 1.5])
    np.testing.assert_allclose(fit.residuals, [1 / 6, -1 / 3, 1 / 6])
    # (sum of (x - 1)^2 e^2) / (sum of (x - 1)^2)^2 = (1/36 + 1/36) / 4
    np.testing.assert_allclose(fit.covariance[1, 1], 1 / 72)


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_instruments_that_are_the_regressors_give_ordinary_least_squares(seed):
    _, y, X = draw(seed)
    one, two = ordinary(y, X), two_stage(y, X, np.zeros((len(y), 0)), X)
    np.testing.assert_allclose(two.coefficients, one.coefficients, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(two.covariance, one.covariance, rtol=1e-7, atol=1e-15)


@given(st.integers(0, 10_000), st.floats(1e-6, 1e6), st.floats(0.1, 10))
@settings(max_examples=25, deadline=None)
def test_units_of_columns_and_of_weights_do_not_matter(seed, unit, weight_unit):
    rng, y, X = draw(seed)
    weights = rng.uniform(0.5, 2, len(y))
    fit = ordinary(y, X, weights=weights)
    other = ordinary(y, X * [unit, 1, 1], weights=weights * weight_unit)
    scale = np.array([unit, 1, 1])
    np.testing.assert_allclose(other.coefficients * scale, fit.coefficients, rtol=1e-8)
    np.testing.assert_allclose(other.standard_errors * scale, fit.standard_errors, rtol=1e-8)


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_every_row_its_own_cluster_is_the_robust_covariance(seed):
    _, y, X = draw(seed)
    rows = np.arange(len(y))
    robust, clustered = ordinary(y, X), ordinary(y, X, clusters=rows)
    np.testing.assert_allclose(clustered.covariance, robust.covariance, rtol=1e-10)
    twice = ordinary(y, X, clusters=np.column_stack([rows, rows]))
    np.testing.assert_allclose(twice.covariance, robust.covariance, rtol=1e-10)


def test_a_penalty_solves_the_ridge_problem_and_spends_less():
    _, y, X = draw(1)
    penalty = np.array([0.0, 50.0, 2.0])
    fit = ordinary(y, X, penalty=penalty)
    expected = np.linalg.solve(X.T @ X + np.diag(penalty), X.T @ y)
    np.testing.assert_allclose(fit.coefficients, expected, rtol=1e-9)
    hat = np.trace(X @ np.linalg.solve(X.T @ X + np.diag(penalty), X.T))
    assert fit.degrees_of_freedom == pytest.approx(hat)


def test_a_penalty_allows_more_columns_than_rows():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 50)), rng.normal(size=20)
    fit = ordinary(y, X, penalty=np.ones(50))
    expected = np.linalg.solve(X.T @ X + np.eye(50), X.T @ y)
    np.testing.assert_allclose(fit.coefficients, expected, rtol=1e-9)


def test_a_badly_conditioned_design_keeps_its_digits():
    # Days since 1970 over one week: the intercept explains all but 1e-8 of the column.
    rng = np.random.default_rng(0)
    day = 20_000 + rng.uniform(0, 7, 300)
    y = 3.0 + 0.5 * (day - 20_000)
    fit = ordinary(y, np.column_stack([np.ones(300), day]))
    assert fit.coefficients[1] == pytest.approx(0.5, rel=1e-9)


def test_kappa_zero_is_ordinary_least_squares_and_liml_of_a_just_identified_model_is_two_stage():
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(200, 1))
    X = Z + rng.normal(size=(200, 1))
    y = X[:, 0] + rng.normal(size=200)
    ones = np.ones((200, 1))
    plain = ordinary(y, np.hstack([ones, X]))
    np.testing.assert_allclose(
        two_stage(y, X, ones, Z, kappa=0.0).coefficients, plain.coefficients, rtol=1e-9
    )
    liml = two_stage(y, X, ones, Z, kappa="liml")
    assert liml.kappa == pytest.approx(1.0)
    np.testing.assert_allclose(liml.coefficients, two_stage(y, X, ones, Z).coefficients, rtol=1e-8)


@pytest.mark.parametrize("scale", [1.0, 3.0])  # by 3 the residual is rounding, by 1 it may be 0
def test_liml_of_what_instruments_explain_perfectly_is_ordinary_least_squares(scale):
    rng = np.random.default_rng(1)
    x = (rng.random(200) < 0.3).astype(float)
    other, ones = rng.normal(size=200), np.ones((200, 1))
    y = 0.1 * x + rng.normal(size=200)
    liml = two_stage(y, x, ones, np.column_stack([x * scale / 7, other]), kappa="liml")
    plain = ordinary(y, np.column_stack([ones, x]))
    np.testing.assert_allclose(liml.coefficients, plain.coefficients, rtol=1e-9)
    with pytest.raises(NotIdentified, match="explain the outcome perfectly"):
        two_stage(x, other, ones, np.column_stack([x, other + x]), kappa="liml")


def test_conditional_f_sees_what_the_ordinary_f_misses():
    # Both columns are moved strongly, but by the same combination of the instruments.
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(500, 2))
    common = Z @ [1.0, 1.0]
    X = np.column_stack([common, common]) + rng.normal(size=(500, 2))
    ones = np.ones((500, 1))
    assert first_stage(X[:, :1], ones, Z).f[0] > 100
    assert first_stage(X, ones, Z).f.max() < 10


def collinear(case):
    ones, year = np.ones(30), np.linspace(2000, 2020, 30)
    return {
        "sum": np.column_stack([ones, year, 2 * ones + year]),
        "zero": np.column_stack([ones, year, 0 * ones]),
    }[case]


@pytest.mark.parametrize(
    ("case", "message"),
    [("sum", "'extra' is a linear combination of 'year', 'one'"), ("zero", "'extra' is zero")],
)
def test_redundant_columns_are_named(case, message):
    y = np.arange(30.0)
    with pytest.raises(NotIdentified, match=message):
        ordinary(y, collinear(case), names=["one", "year", "extra"])


def test_errors_say_what_is_wrong():
    rng, y, X = draw(0)
    Z = rng.normal(size=(60, 2))
    with pytest.raises(NotIdentified, match="only 2 instruments"):
        two_stage(y, X, np.ones((60, 1)), Z)
    doubled = np.column_stack([X[:, 0], 2 * X[:, 0]])
    with pytest.raises(NotIdentified, match="'b' is a linear combination of 'a'"):
        two_stage(y, doubled, np.ones((60, 1)), Z, names=["one", "a", "b", "z1", "z2"])
    with pytest.raises(NotIdentified, match="rows for"):
        ordinary(y[:2], X[:2])
    with pytest.raises(NotIdentified, match="two clusters"):
        ordinary(y, X, clusters=np.zeros(60))
    with pytest.raises(InputError, match="Weights"):
        ordinary(y, X, weights=np.zeros(60))
    with pytest.raises(InputError, match="finite"):
        ordinary(y * np.nan, X)
    with pytest.raises(InputError, match="differ in rows"):
        two_stage(y, X, np.ones((60, 1)), Z[:5])
    with pytest.raises(SettingsError, match="correction"):
        ordinary(y, X, correction="hc3")
    with pytest.raises(SettingsError, match="kind"):
        ordinary(y, X, kind="magic")
