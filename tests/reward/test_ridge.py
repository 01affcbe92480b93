import numpy as np
import pytest

from causalign.errors import InputError, SettingsError
from causalign.results import Result, Section, Verdict
from causalign.reward import LinearHead, Pairwise, Ridge, compare


def data(n=300, d=8, noise=1.0, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d))
    return X, 4 + X @ np.linspace(1, -1, d) + noise * rng.normal(size=n)


def verdicts(fit):
    return {finding.code: finding.verdict for finding in fit.findings}


def test_the_head_recovers_the_effect_of_the_features():
    X, y = data(n=5000)
    fit = Ridge().fit_arrays(X, y)
    np.testing.assert_allclose(fit.head.coefficients, np.linspace(1, -1, 8), atol=0.06)
    assert fit.head.intercept == pytest.approx(4, abs=0.06)
    assert fit.head(X[:3]) == pytest.approx(4 + X[:3] @ np.linspace(1, -1, 8), abs=0.3)
    assert verdicts(fit)["RM103"] is Verdict.PASS
    assert np.corrcoef(fit.out_of_fold, y)[0, 1] ** 2 == pytest.approx(
        fit.numbers["cv_r2"], abs=0.01
    )


def test_noise_fails_and_an_edge_warns():
    X, _ = data()
    noise = np.random.default_rng(1).normal(size=300)
    assert verdicts(Ridge(penalties=[1e-3, 1e-2]).fit_arrays(X, noise))["RM103"] is Verdict.FAIL
    X, y = data()
    assert verdicts(Ridge(penalties=[1e4, 1e5]).fit_arrays(X, y))["RM101"] is Verdict.WARN
    only = Ridge(penalties=[1.0]).fit_arrays(X, y)
    assert verdicts(only)["RM101"] is Verdict.NOT_APPLICABLE


def test_one_standard_error_takes_the_heavier_penalty():
    X, y = data(noise=6.0)
    least = Ridge().fit_arrays(X, y)
    heavier = Ridge(choose="one-standard-error").fit_arrays(X, y)
    assert heavier.penalty > least.penalty
    assert heavier.numbers["best_penalty"] == least.penalty
    assert heavier.numbers["cv_r2"] < least.numbers["cv_r2"]
    assert (heavier.out_of_fold != least.out_of_fold).any()


def test_groups_keep_copies_out_of_the_validation():
    rng = np.random.default_rng(2)
    group = np.repeat(np.arange(60), 5)
    X = rng.normal(size=(60, 100))[group]
    y = rng.normal(size=60)[group]
    assert Ridge().fit_arrays(X, y).numbers["cv_r2"] > 0.9
    assert Ridge().fit_arrays(X, y, groups=group).numbers["cv_r2"] < 0.1


def test_weights_move_the_fit():
    X, y = data()
    y[150:] = 10
    w = np.r_[np.ones(150), np.full(150, 1e-9)]
    weighted = Ridge(penalties=[1e-3]).fit_arrays(X, y, weights=w)
    first = Ridge(penalties=[1e-3]).fit_arrays(X[:150], y[:150])
    np.testing.assert_allclose(weighted.head.coefficients, first.head.coefficients, atol=1e-5)


def test_the_result_tells_itself():
    fit = Ridge(seed=3).fit_arrays(*data())
    assert isinstance(fit, Result)
    assert fit.table().column_names == ["penalty", "cv_error", "cv_standard_error", "chosen"]
    assert sum(fit.table()["chosen"].to_pylist()) == 1
    section = fit.section()
    assert isinstance(section, Section)
    assert section.figures[0].svg.lstrip().startswith("<")
    assert "ridge" in fit.summary()
    both = compare({"naive": fit, "deconfounded": fit})
    assert both.tables["fits"].num_rows == 2
    assert len({figure.name for figure in both.figures}) == 2
    assert both.numbers["naive.cv_r2"] == fit.numbers["cv_r2"]


@pytest.mark.parametrize("settings", [{"choose": "least"}, {"penalties": [-1.0]}])
def test_settings_are_checked_when_they_are_made(settings):
    for method in (Ridge, Pairwise):
        with pytest.raises(SettingsError):
            method(**settings)


def test_invalid_input_is_refused():
    X, y = data()
    with pytest.raises(InputError, match="shape"):
        Ridge().fit_arrays(X, y[:-1])
    with pytest.raises(InputError, match="encoder"):
        Ridge().fit_arrays(X, y).head(X[:, :3])
    with pytest.raises(InputError):
        LinearHead(np.array([np.nan]))
