"""Findings of a reward: what a confounded one says, and what a right one does."""

import numpy as np
import pytest

from causalign import reward
from causalign.errors import InputError
from causalign.logs.covariates import Covariate
from causalign.results import Result, Verdict
from causalign.stats.folds import group_folds


def log(seed=0, rows=900):
    """Weeks move the outcome and the first feature; only the second feature does anything."""
    rng = np.random.default_rng(seed)
    week = rng.integers(0, 6, rows)
    X = rng.normal(size=(rows, 6))
    X[:, 0] += week - 2.5
    truth = X[:, 1]
    y = truth + 1.0 * week + 0.5 * rng.normal(size=rows)
    covariate = Covariate("week", "categorical", week, tuple("abcdef"))
    return X, y, y - 1.0 * week, covariate


def verdicts(diagnostics):
    return {f.code: f.verdict for f in diagnostics.findings}


def test_naive_reward_is_told_to_follow_the_week_and_the_deconfounded_is_not():
    X, y, adjusted, week = log()
    naive = reward.Ridge().fit_arrays(X, y).out_of_fold
    right = reward.Ridge().fit_arrays(X, adjusted).out_of_fold
    bad = reward.diagnose(naive, y, confounders=[week])
    good = reward.diagnose(right, adjusted, confounders=[week])
    assert verdicts(bad)["RM202"] is Verdict.WARN
    assert verdicts(bad)["RM203"] is Verdict.WARN
    assert set(verdicts(good).values()) == {Verdict.PASS}
    assert isinstance(good, Result)
    assert "dependence" in good.section().tables
    assert good.tables["calibration by week"]["stratum"].to_pylist() == list("abcdef")


def test_exaggerating_and_reversed_rewards_are_found():
    X, _, adjusted, _ = log()
    right = reward.Ridge().fit_arrays(X, adjusted).out_of_fold
    assert verdicts(reward.diagnose(3 * right, adjusted))["RM201"] is Verdict.WARN
    assert verdicts(reward.diagnose(-right, adjusted))["RM201"] is Verdict.FAIL


def test_attributes_of_the_text_are_priced():
    rng = np.random.default_rng(0)
    z = rng.integers(0, 2, (800, 2))
    r = 2.0 * z[:, 0] + 0.1 * rng.normal(size=800)
    diagnostics = reward.diagnose(r, r, attributes={"brave": z[:, 0], "flag": z[:, 1]})
    effects = dict(zip(["brave", "flag"], diagnostics.tables["attributes"]["effect"], strict=True))
    assert effects["brave"].as_py() == pytest.approx(2, abs=0.05)
    assert effects["flag"].as_py() == pytest.approx(0, abs=0.05)
    copied = {"brave": z[:, 0], "flag": np.where(rng.random(800) < 0.8, z[:, 0], z[:, 1])}
    assert verdicts(reward.diagnose(r, r, attributes=copied))["RM206"] is Verdict.WARN


def test_loss_under_shift_and_overlap():
    rng = np.random.default_rng(0)
    away = np.arange(600) < 300
    d = np.where(away, 0.0, 1.0) + rng.normal(size=600)
    diagnostics = reward.diagnose_pairs(d, shifted=away)
    assert verdicts(diagnostics)["RM204"] is Verdict.WARN
    assert verdicts(reward.diagnose_pairs(d + away, shifted=away))["RM204"] is Verdict.PASS
    assert verdicts(reward.diagnose_pairs(d - away, shifted=away))["RM204"] is Verdict.FAIL
    latent = rng.normal(size=(600, 3)) + 20.0 * away[:, None]
    told = reward.diagnose_pairs(d, latent=latent, objective=away.astype(str))
    assert verdicts(told)["RM205"] is Verdict.FAIL
    with pytest.raises(InputError, match="Give shifted"):
        reward.diagnose_pairs(d)
    with pytest.raises(InputError, match="mark some"):
        reward.diagnose_pairs(d, shifted=np.ones(600, dtype=bool))


def test_ranking_picks_what_ranks_inside_weeks_where_the_error_does_not():
    """Weak directions give the week away: a squared error lightens the penalty to use them."""
    right = {"minimum": [], "ranking": []}
    for seed in range(6):
        rng = np.random.default_rng(seed)
        week, places = rng.integers(0, 40, 600), rng.normal(size=(40, 60))
        text = rng.normal(size=(600, 10))
        X = np.column_stack([text, 0.3 * (places[week] + rng.normal(size=(600, 60)))])
        b = 0.3 * rng.normal(size=10)
        y = text @ b + 2.0 * rng.normal(size=40)[week] + rng.normal(size=600)
        new = rng.normal(size=(4000, 70)) * np.repeat([1, 0.3], [10, 60])
        for rule, diagnostics in right.items():
            fit = reward.Ridge(choose=rule).fit_arrays(X, y, environment=week)
            diagnostics.append(np.corrcoef(fit.head(new), new[:, :10] @ b)[0, 1])
            assert ("rank_correlation" in fit.path.column_names) == (rule == "ranking")
    assert np.mean(right["ranking"]) > np.mean(right["minimum"]) + 0.05


def test_ranking_needs_an_environment_and_rules_have_names():
    X, y, _, _ = log(rows=60)
    with pytest.raises(InputError, match="Pass environment"):
        reward.Ridge(choose="ranking").fit_arrays(X, y)
    with pytest.raises(ValueError, match="one-standard-error"):
        reward.Ridge(choose="best")
    same = reward.Ridge(choose="ranking").fit_arrays(X, y, environment=group_folds(60, 2))
    assert same.penalty > 0


def test_diagnostics_are_a_result_with_a_picture():
    random = np.random.default_rng(0)
    r = random.normal(size=200)
    diagnostics = reward.diagnose(r, r + random.normal(size=200))
    assert isinstance(diagnostics, Result)
    assert len(repr(diagnostics).splitlines()) <= 12
    assert diagnostics.table().column_names == ["code", "title", "explanation", "verdict"]
    section = diagnostics.section()
    assert section.figures[0].name == "calibration"
    assert (
        reward.add_diagnostics(section, {"naive": diagnostics}).figures[1].name
        == "calibration-naive"
    )
