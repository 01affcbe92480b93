"""Text and confounders together: identification, categories, penalties, shrinkage."""

import numpy as np
import pyarrow as pa
import pytest

import causalign.deconfound.levels as levels_module
from causalign.deconfound import Additive
from causalign.deconfound.levels import shrinkage
from causalign.errors import InputError, NotIdentified, RoleNotDeclared, SettingsError
from causalign.logs import Logs
from causalign.logs.roles import Roles
from causalign.results import Verdict


def draw(n=400, levels=40, seed=0, **roles):
    rng = np.random.default_rng(seed)
    week = rng.integers(0, levels, n)
    effect = rng.normal(size=levels)
    x = rng.normal(size=(n, 3)) + effect[week][:, None]
    y = x @ [1.0, -1.0, 0.5] + effect[week] + rng.normal(size=n)
    columns = {f"x{i}": x[:, i] for i in range(3)}
    data = pa.table({"text": ["t"] * n, "y": y, "week": week, "half": week // 20, **columns})
    declared = {"confounders": ("week",), "categorical": ("week", "half")} | roles
    return Logs.of(data, Roles("text", "y", **declared)), x, effect - effect[week].mean()


def found(effect, code):
    return next(f for f in effect.findings if f.code == code)


def test_h_is_recovered_although_text_follows_the_week():
    logs, x, truth = draw(n=20_000)
    effect = Additive().fit(logs, text_features=x)
    by_level = effect.terms[0].deviations
    assert max(abs(by_level[str(i)] - truth[i]) for i in range(40)) < 0.25
    assert found(effect, "DE103").verdict is Verdict.PASS


def test_features_come_from_the_role_or_the_argument():
    logs, x, _ = draw(features=("x0", "x1", "x2"))
    np.testing.assert_allclose(
        Additive().fit(logs).estimates, Additive().fit(logs, text_features=x).estimates
    )
    with pytest.raises(RoleNotDeclared, match="text_features"):
        Additive().fit(draw()[0])
    with pytest.raises(InputError, match="text_features"):
        Additive().fit(logs, text_features=x[:5])
    with pytest.raises(InputError, match="constant"):
        Additive().fit(logs, text_features=np.ones_like(x))


def test_redundant_features_change_nothing():
    logs, x, _ = draw()
    doubled = np.column_stack([x, x.sum(axis=1), np.ones(len(x))])
    effect = Additive().fit(logs, text_features=doubled)
    np.testing.assert_allclose(
        effect.estimates, Additive().fit(logs, text_features=x).estimates, atol=1e-10
    )
    assert effect.numbers["redundant_text_features"] == 2


def test_text_that_the_categories_determine_is_not_identified():
    logs, x, _ = draw()
    weekly = logs.numbers("week") % 2
    with pytest.raises(NotIdentified, match="'text feature 3'"):
        Additive().fit(logs, text_features=np.column_stack([x, weekly]))
    with pytest.raises(NotIdentified, match="does not vary within the categories"):
        # Neither feature is constant within a week, but their difference is.
        Additive().fit(logs, text_features=np.column_stack([x, x[:, 0] + weekly]))
    with pytest.raises(NotIdentified, match="'text feature 0'"):
        Additive(penalty=1.0).fit(logs, text_features=weekly[:, None])


def test_a_number_that_the_categories_determine_is_not_identified():
    logs, x, _ = draw(confounders=("week", "half"), categorical=("week",))
    with pytest.raises(NotIdentified, match="'half' does not vary"):
        Additive().fit(logs, text_features=x)


def test_a_number_that_the_text_determines_is_not_identified():
    logs, x, _ = draw(confounders=("x0",))
    with pytest.raises(NotIdentified, match="'x0' is a linear combination of 'text feature 0'"):
        Additive().fit(logs, text_features=x)


def test_nested_categories_cannot_be_split():
    logs, x, _ = draw(confounders=("week", "half"))
    effect = Additive().fit(logs, text_features=x)
    assert found(effect, "DE102").verdict is Verdict.WARN
    assert np.isnan(effect.standard_errors).all()
    # Their sum is what the weeks alone would give.
    alone = Additive().fit(draw()[0], text_features=x)
    np.testing.assert_allclose(effect.predict(logs), alone.predict(logs), atol=1e-10)


def test_rows_alone_in_a_category_have_no_effect_of_their_own():
    logs, x, _ = draw(n=60)
    week = logs.covariate("week")
    single = np.bincount(week.values)[week.values] == 1
    assert single.any()
    effect = Additive().fit(logs, text_features=x)
    assert effect.observations == (~single).sum()
    np.testing.assert_array_equal(effect.predict(logs)[single], 0.0)
    first = np.unique(week.values, return_index=True)[1]
    with pytest.raises(NotIdentified, match="alone"):
        Additive().fit(logs.take(first, "one row of each week"), text_features=x[first])


def test_a_penalty_gives_the_ridge_solution_with_free_confounders():
    logs, x, _ = draw()
    indicators = logs.covariate("week").dummies(drop_first=False)
    within = x - indicators @ np.linalg.lstsq(indicators, x, rcond=None)[0]
    penalty = len(x) * 0.7 * np.mean(within**2, axis=0)
    X = np.hstack([x, indicators])
    gram = X.T @ X
    gram[[0, 1, 2], [0, 1, 2]] += penalty
    expected = np.linalg.solve(gram, X.T @ logs.outcome)[3:]
    effect = Additive(penalty=0.7).fit(logs, text_features=x)
    expected -= indicators.mean(axis=0) @ expected
    np.testing.assert_allclose(effect.estimates, expected, atol=1e-9)


def test_a_penalty_helps_when_features_are_many_and_the_text_is_independent():
    errors = {None: [], 1.0: []}
    for seed in range(8):
        logs, _, _ = draw(n=150, levels=5, seed=seed)
        noise = np.random.default_rng(seed).normal(size=(150, 100))
        for penalty, found_errors in errors.items():
            effect = Additive(penalty=penalty).fit(logs, text_features=noise)
            plain = Additive().fit(
                logs, text_features=np.random.default_rng(0).normal(size=(150, 1))
            )
            found_errors.append(np.mean((effect.predict(logs) - plain.predict(logs)) ** 2))
    assert np.mean(errors[1.0]) < np.mean(errors[None]) / 2
    assert found(Additive().fit(logs, text_features=noise), "DE103").verdict is Verdict.WARN


def test_shrinkage_predicts_better_when_categories_are_small():
    plain, shrunk = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        week = rng.integers(0, 60, 240)
        truth = 0.5 * rng.normal(size=60)[week]
        x = rng.normal(size=(240, 1))
        data = pa.table({"text": ["t"] * 240, "y": truth + rng.normal(size=240), "week": week})
        logs = Logs.of(data, Roles("text", "y", confounders=("week",), categorical=("week",)))
        centred = truth - truth.mean()
        plain.append(np.mean((Additive().fit(logs, text_features=x).predict(logs) - centred) ** 2))
        shrunk.append(
            np.mean((Additive(shrink=True).fit(logs, text_features=x).predict(logs) - centred) ** 2)
        )
    assert np.mean(shrunk) < 0.75 * np.mean(plain)


def test_shrinkage_by_moments():
    # sum n d^2 = 8 * 4, noise 1: t^2 = (32 - 1) / (8 - 32 / 8)
    factor = shrinkage(np.array([-2.0, 2.0]), np.array([4.0, 4.0]), 1.0)
    variance = 31 / 4
    np.testing.assert_allclose(factor, variance / (variance + 0.25))
    np.testing.assert_array_equal(shrinkage(np.zeros(3), np.ones(3), 1.0), 0.0)
    np.testing.assert_array_equal(shrinkage(np.zeros(1), np.ones(1), 1.0), 0.0)


def test_too_many_categories_have_no_standard_error(monkeypatch):
    logs, x, _ = draw()
    monkeypatch.setattr(levels_module, "MOST_LEVELS", 10)
    assert np.isnan(Additive().fit(logs, text_features=x).standard_errors).all()
    assert "nan" in Additive().fit(logs, text_features=x).summary()


@pytest.mark.parametrize("penalty", [-1.0, float("nan"), float("inf")])
def test_a_penalty_must_be_finite_and_not_negative(penalty):
    with pytest.raises(SettingsError, match="penalty"):
        Additive(penalty=penalty)
